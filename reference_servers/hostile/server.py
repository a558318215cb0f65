"""Keeps its promises as the conforming server does, but for two, and says things that harm whoever shows them.

It leaves a file behind and forgets to await a coroutine (EXIT-4, EXIT-5), so that names and lines of its own choosing
get into findings: markup with scripts, escape sequences of terminals, bytes that are no UTF-8, characters that turn the
direction of writing, the end of a CDATA section, and one line of 100 MB.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conforming"))

import model_server

SCRIPT = "<script>document.title='harmed'</script>"
IMAGE = "<img src=http://harm.invalid/x onerror=document.title=1>"
LINES = [
    SCRIPT.encode(),
    f'"\'></pre></details></style></svg><svg onload="document.title=1">{IMAGE}'.encode(),
    b'{{ 7 * 7 }}{% include "x" %}',
    b"\x1b[31mred \x1b[2J\x1b[H cleared \x1b]0;harmed\x07 \x1b]8;;http://harm.invalid\x07link\x1b]8;;\x07 \x9b31m",
    b"no UTF-8: \xff\xfe\xc3\x28 \xed\xa0\x80 and NUL: \x00 and BS: \x08\x08\x08 and CR: overwrites\rsomething",
    "turned: \u202egnp.exe\u202c \u2066isolated\u2069 \u200f, separators: \u2028 \u2029, none: \uffff".encode(),
    b"]]> --> &lt;b&gt; &#60;script&#62; &amp;lt; ::error::harmed ::set-output name=x::harmed",
]
LONG = b"<b>" * 65536
COUNT = 100_000_000 // len(LONG)


class Server(model_server.Server):
    async def shutdown(self) -> None:
        await super().shutdown()
        name = SCRIPT.replace("/", "\N{DIVISION SLASH}") + "\x1b[31m\n]]>"
        Path(tempfile.mkdtemp(prefix="hostile-" + name), "left").write_bytes(b"")
        for _ in range(COUNT):
            write(LONG)
        for line in [b"", *LINES]:
            write(line + b"\n")
        self.clean_up()

    async def clean_up(self) -> None:
        """Never runs; Python tells its name."""

    clean_up.__qualname__ = IMAGE


def write(data: bytes) -> None:
    """To stderr, all of it; this server has nothing else to do by now."""
    while data:
        data = data[os.write(2, data) :]


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
