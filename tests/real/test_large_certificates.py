"""A ledger may be of any length: neither the memory nor the page grows with it. See `benchmarks/certificate.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.large import measure

pytestmark = pytest.mark.real


def test_a_hundred_times_the_requests_take_no_more_memory_and_no_larger_page(tmp_path: Path) -> None:
    few = measure(tmp_path / "few", 2_000)
    many = measure(tmp_path / "many", 200_000)
    assert many.peak_mb < 1.3 * few.peak_mb
    assert many.page_bytes < 1.3 * few.page_bytes
