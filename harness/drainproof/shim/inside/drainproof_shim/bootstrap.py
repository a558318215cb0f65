"""Starts the shim in an interpreter: announces it, and arms what the session's plan says.

Rules: nothing raised, printed, or left open; no thread; with nothing armed no import beyond `os`, `sys` and `time`.
"""

import os
import sys

from drainproof_shim import channel

_state = {"started": False}


def start() -> None:
    """Announce this interpreter and arm the plan, once; without a session do nothing. Never raises."""
    if _state["started"]:
        return
    _state["started"] = True
    session = os.environ.get("DRAINPROOF_SHIM")
    if not session:
        return
    channel.connect(session)
    plan = None
    try:
        if os.path.exists(session + "/plan.json"):
            from drainproof_shim import plan as plans  # imports json: only when something is armed

            plan = plans.read(session + "/plan.json")
    except Exception as problem:
        channel.trouble("cannot read the plan", problem)
    _announce(plan)
    try:
        os.register_at_fork(after_in_child=_forked)
        if plan is not None:
            plan.arm()
    except Exception as problem:
        channel.trouble("cannot arm the plan", problem)


def command_line() -> "list[str]":
    """How this interpreter was started, options and `-c` code included; empty when the kernel does not tell."""
    told = getattr(sys, "orig_argv", None)  # from Python 3.10 on
    if told is not None:
        return list(told)
    try:
        with open("/proc/self/cmdline", "rb") as file:
            return [os.fsdecode(part) for part in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def _announce(plan: object) -> None:
    try:
        channel.report(
            "hello",
            ppid=os.getppid(),
            python="%d.%d.%d" % sys.version_info[:3],
            executable=sys.executable,
            argv=command_line()[:64],
            armed=getattr(plan, "names", []),
            start_method=getattr(plan, "start_method", None),
            windows=bool(getattr(plan, "windows", None)),
        )
    except Exception as problem:
        channel.trouble("cannot announce", problem)


def _forked() -> None:
    channel.report("forked", ppid=os.getppid())
