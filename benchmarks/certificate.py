"""What a certificate costs: seconds and memory for ledgers of up to a million requests.

python benchmarks/certificate.py [requests ...]     default: 10000 100000 1000000

The evidence is written first (a drain of which much is lost) and takes about 600 bytes for each request.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.real.large import measure


def main(counts: list[int]) -> None:
    """Prints a line for each count."""
    print(f"{'requests':>10} {'seconds':>8} {'processor':>10} {'MB':>6} {'page':>9}")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            cost = measure(Path(folder), count)
        print(
            f"{count:10} {cost.seconds:8.2f} {cost.processor_seconds:10.2f} {cost.peak_mb:6.0f} {cost.page_bytes:9}",
            flush=True,
        )


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
