"""Fail points that the shim itself calls: they fail in the target, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shim.programs import MINORS, Program, interpreter

SITES = (
    "os:open",
    "os:close",
    "os:write",
    "os:pread",
    "os:getpid",
    "os:replace",
    "time:clock_gettime",
    "builtins:open",
    "importlib:import_module",
)


@pytest.mark.parametrize("minor", MINORS)
def test_the_targets_calls_fail_and_the_shims_do_not(minor: int, tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        grant="""
        import io, os

        def grant(index, shots=1):
            "What the experiment does."
            with io.open(os.environ["DRAINPROOF_SHIM"] + "/control", "r+b") as control:
                control.seek(index)
                control.write(bytes([shots]))
        """,
        main=f"""
        import asyncio, builtins, importlib, json, os, threading, time
        from grant import grant
        import target

        target.function()  # counts, and is not due: `clock_gettime` must not take that for a call
        arguments = {{
            "os:open": ("main.py", os.O_RDONLY), "os:close": (9999,), "os:write": (1, b""), "os:pread": (0, 0, 0),
            "os:replace": ("a", "b"), "time:clock_gettime": (time.CLOCK_MONOTONIC,), "builtins:open": ("main.py",),
            "importlib:import_module": ("os",),
        }}
        failed = []
        async def calls():
            await asyncio.sleep(0.1)  # the timer looks, and marks were made
            for index, site in enumerate({SITES!r}):
                grant(index)
                module, _, name = site.partition(":")
                try:
                    getattr(importlib.import_module(module) if "import" not in site else importlib, name)(
                        *arguments.get(site, ())
                    )
                except RuntimeError as problem:
                    failed.append(str(problem))
                except OSError as problem:
                    failed.append([site, str(problem)])
        asyncio.run(calls())
        print(json.dumps(failed))
        """,
        target="def function():\n    pass\n",
    )
    for site in SITES:
        program.arm(site, site, when={"command": True}, exception="RuntimeError")
    program.arm("main", "@main", when={"command": True})
    program.arm("function", "target:function", when={"after": 1000})
    assert program.run(interpreter(minor)) == [f"injected: {site}" for site in SITES]
    assert {report["fault"] for report in program.reports().all("fired")} == set(SITES)
    assert not program.reports().all("trouble")
