"""The keeper's handling of output, first through real targets, then of what takes a target too long to show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import drainproof
from drainproof.target.output import LONGEST_LINE, OutputLog


def soon() -> float:
    return time.monotonic() + 20.0


def lines(records, stream="stdout"):
    """The text of a stream, with the pieces of long lines joined."""
    found, piece = [], ""
    for record in records:
        if record.get("stream") == stream and "text" in record:
            piece += record["text"]
            if not record.get("cut"):
                found.append(piece)
                piece = ""
    assert piece == ""
    return found


def peak_memory(pid: int) -> int:
    """The most bytes of real memory that the process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


# -- what comes out is what went in ------------------------------------------------------------------------------------


def test_lines_are_stamped_on_arrival_and_keep_their_order(start, output):
    before = time.monotonic()
    instance = start(
        "import os, time\nos.write(1, b'one\\ntwo\\n'); time.sleep(0.3); os.write(2, b'three'); os.write(1, b'\\nfive')"
    )
    assert instance.wait_output(until=soon())
    records = output()
    assert lines(records) == ["one", "two", "", "five"]
    assert lines(records, "stderr") == ["three"]
    assert {record["end"] for record in records if "end" in record} == {"stdout", "stderr"}
    stamps = {record["text"]: record["t"] for record in records if "text" in record}
    assert before < stamps["one"] == stamps["two"]
    assert stamps["three"] - stamps["two"] > 0.25


def test_every_byte_survives(start, output):
    whole = bytes(range(256)).replace(b"\n", b"") + "Grüße \u2028 🎉".encode() + b" \x1b[31m \xe2\x82 \xff"
    instance = start(f"import os; os.write(1, {whole!r} + b'\\r\\n')")
    instance.wait_output(until=soon())
    (line,) = lines(output())
    assert line.encode("utf-8", "surrogateescape") == whole + b"\r"
    assert "\\x1b" in instance.tail()
    assert "\\xff" in instance.tail()
    assert instance.tail().replace("\t", "").isprintable()


def test_a_line_without_an_end_comes_in_pieces(start, output):
    size = 5 * LONGEST_LINE + 77
    instance = start(f"import os\nos.write(1, b'start\\n')\nfor _ in range({size}): os.write(1, '€'.encode())")
    instance.wait_output(until=soon())
    records = output()
    assert lines(records) == ["start", "€" * size]
    assert max(len(record.get("text", "").encode()) for record in records) <= LONGEST_LINE


def test_an_unfinished_line_reaches_the_file_while_the_target_hangs(start, output, eventually):
    instance = start("import os, time; os.write(1, b'Loading \\xe2\\x82'); time.sleep(600)")
    eventually(lambda: any("Loading" in record.get("text", "") for record in output()), within=5.0)
    assert "Loading" in instance.tail()
    assert output()[0]["cut"] is True


def test_the_tail_shows_the_newest_lines_of_both_streams(start, eventually):
    instance = start("import os, time\nfor i in range(100): os.write(1 + i % 2, b'%d\\n' % i)\ntime.sleep(600)")
    eventually(lambda: {"98", "99"} <= set(instance.tail(100).split()))
    assert "9" in instance.tail(3)
    assert len(instance.tail(3).split()) == 3
    instance.end()
    assert len(instance.tail(3).split()) == 3  # from the file, now
    assert instance.tail(0) == ""


def test_who_holds_a_pipe_from_outside_of_the_tree_does_not_hold_us(start, output, eventually):
    instance = start("import time; print('up', flush=True); time.sleep(600)")
    eventually(lambda: "up" in instance.tail())
    with Path(f"/proc/{instance.pid}/fd/1").open("w"):
        instance.send(signal.SIGKILL)
        assert instance.wait_output(until=soon())
    assert [record["end"] for record in output() if "end" in record] == ["stdout", "stderr"]


# -- floods ------------------------------------------------------------------------------------------------------------


def test_a_flood_neither_fills_memory_nor_holds_up_the_target(start, output):
    total = 64_000_000
    instance = start(
        "import os\nos.write(1, b'the first line\\n')\nblock = (b'x' * 79 + b'\\n') * 800\n"
        f"for i in range({total} // len(block)):\n    os.write(1, block)\n"
        f"    if i == {total} // len(block) // 2:\n"
        "        os.write(1, b'Exception ignored in: <f>\\nTraceback (most recent call last):\\n')\n"
        "        os.write(1, b'  File\\nOSError: y\\n')\n"
        "os.write(2, b'a line on stderr\\n'); os.write(1, b'the last line\\n')"
    )
    status = instance.wait_exit(until=time.monotonic() + 60)
    assert status is not None, "the target was held up"
    assert instance.wait_output(until=soon())
    assert peak_memory(instance._link.keeper_pid) < 150_000_000
    records = output()
    shown = lines(records)
    assert (shown[0], shown[-1]) == ("the first line", "the last line")
    assert lines(records, "stderr") == ["a line on stderr"]
    kept = [record["text"] for record in records if record.get("kept")]
    assert kept == ["Exception ignored in: <f>", "Traceback (most recent call last):", "  File", "OSError: y"]
    dropped = sum(record["dropped_lines"] for record in records if "dropped_lines" in record)
    assert dropped + len(shown) == total // 64000 * 800 + 6
    stamps = [record["t"] for record in records if record.get("stream") == "stdout"]
    assert stamps == sorted(stamps)
    assert instance.output.stat().st_size < 100_000_000


def log(path, **limits):
    return OutputLog(str(path), streams=("stdout", "stderr"), literals=["LOOK"], **limits)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_the_bounds_hold_whatever_the_lines_look_like(tmp_path):
    for number, block in enumerate([b"\n" * 400, b"y\n" * 400, b"z" * 4000, b"\0\n" * 400, b"LOOK\n" * 400]):
        path = tmp_path / str(number)
        one = log(path, head=50_000, tail=50_000, keep=10_000)
        for _ in range(500):
            one.feed("stdout", time.monotonic(), block)
            one.work(until=time.monotonic() + 0.001)
        one.finish(time.monotonic())
        records = read(path)
        assert path.stat().st_size < 250_000, block[:4]
        seen = sum(len(r["text"]) + (not r.get("cut")) for r in records if "text" in r)
        dropped = sum(r.get("dropped_bytes", 0) for r in records)
        # A last line without a line feed looks as if it had one.
        assert seen + dropped - len(block) * 500 in (0, 1)


def test_what_is_looked_for_is_found_where_reads_cut_it(tmp_path):
    one = log(tmp_path / "o", head=100, tail=100)
    filler = b"." * 99 + b"\n"
    for _ in range(10):
        one.feed("stdout", 1.0, filler)
    for piece in (b"here: LO", b"OK", b" at this\n  and that\nError: x\nmore\n"):
        one.feed("stdout", 2.0, piece)
    for _ in range(10):
        one.feed("stdout", 3.0, filler)
    one.finish(4.0)
    kept = [record for record in read(tmp_path / "o") if record.get("kept")]
    assert [record["text"] for record in kept] == ["here: LOOK at this", "  and that", "Error: x"]
    assert {record["t"] for record in kept} == {2.0}


def test_a_crash_of_the_keeper_loses_at_most_the_last_second(start, output, eventually):
    instance = start("import time\nfor i in range(10**6): print(i, flush=True); time.sleep(0.001)")
    newest = eventually(lambda: int(tail) if (tail := instance.tail(1)).isdigit() and int(tail) > 300 else 0)
    seen = time.monotonic()
    eventually(lambda: time.monotonic() > seen + 0.6)
    os.kill(instance._link.keeper_pid, signal.SIGKILL)
    assert newest <= int(lines(output())[-1])


# -- a disk that is full -----------------------------------------------------------------------------------------------


def test_a_full_disk_costs_the_output_and_nothing_else(start):
    instance = start(
        "import os, sys\nfor _ in range(1000): os.write(1, b'x' * 79 + b'\\n')\nsys.exit(7)", output=Path("/dev/full")
    )
    assert instance.wait_exit(until=soon()).code == 7
    assert instance.wait_gone(until=soon())
    assert instance.wait_output(until=soon())
    assert instance.problems == ["output could not be written: No space left on device"]


def test_writing_goes_on_when_there_is_room_again(tmp_path):
    script = f"""
import resource, signal, time
from drainproof.target.output import OutputLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = OutputLog({str(tmp_path / "o")!r}, streams=("stdout",))
def say(text):
    log.feed("stdout", time.monotonic(), (text + "\\n").encode())
    log.work(until=time.monotonic() + 1)
    log.flush()
say("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
say("x" * 1000)
assert "File too large" in log.problem, log.problem
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
say("after")
log.finish(time.monotonic())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    records = read(tmp_path / "o")
    assert [record.get("text") for record in records] == ["before", None, "after", None]
    assert records[1]["why"] == "output could not be written: File too large"
    assert records[1]["dropped_bytes"] > 1000


# -- the keeper itself -------------------------------------------------------------------------------------------------


def test_the_keeper_imports_nothing_slow_and_nothing_foreign():
    root = str(Path(drainproof.__file__).parent.parent)
    script = f"import sys; sys.path.append({root!r}); import drainproof.target.keeper; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & {
        "subprocess",
        "dataclasses",
        "pathlib",
        "psutil",
        "pydantic",
        "shutil",
        "threading",
        "asyncio",
    }


def test_the_keeper_runs_apart_from_terminal_and_folder(start):
    instance = start("import time; time.sleep(600)")
    keeper = instance._link.keeper_pid
    assert os.getsid(keeper) == keeper
    assert Path(f"/proc/{keeper}/cwd").readlink() == Path("/")
    assert Path(f"/proc/{keeper}/comm").read_text().strip() == "drainproof-keep"


def test_modules_of_the_user_do_not_get_into_the_keeper(start, tmp_path, monkeypatch):
    for name in ("json", "sitecustomize", "usercustomize", "drainproof"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert start(["true"]).wait_exit(until=soon()).code == 0
