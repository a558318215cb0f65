"""What the tests of the load engine share: short ways to write plans, and to wait."""

from __future__ import annotations

import time
from collections.abc import Callable

from drainproof.load import ledger
from drainproof.load.driver import LoadRun, Progress
from drainproof.load.plan import Expectation, Plan, Request, Stream


def asking(way: str, *, name: str | None = None, method: str = "GET", body: str = "", **expect: object) -> Request:
    """A request that the faulty server answers in this way; right is the answer that contains its token."""
    return Request(
        name=name or way,
        method=method,
        path=f"/{way}?{{token}}",
        body=body,
        expect=Expectation(**({"contains": "{token}"} | expect)),  # type: ignore[arg-type]
    )


def plan_for(port: int, *streams: Stream, requests: tuple[Request, ...] = (), **times: float) -> Plan:
    """A plan whose requests are named by the streams, in the way of their name unless given."""
    given = {r.name for r in requests}
    named = {s.request for s in streams if s.request is not None and s.request not in given}
    return Plan(
        host="127.0.0.1",
        port=port,
        requests=(*requests, *(asking(name) for name in sorted(named))),
        streams=streams,
        **times,  # type: ignore[arg-type]
    )


def finished(run: LoadRun, *, grace: float = 5.0) -> ledger.Ledger:
    """Stops the run and reads its ledger, which must reconcile."""
    run.stop(grace=grace)
    read = ledger.read(run.ledger)
    assert read.problems() == []
    assert read.summary == run.summary
    return read


def in_time(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether `condition` comes true within `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def soon(run: LoadRun, condition: Callable[[Progress], bool], seconds: float = 20.0) -> Progress:
    return run.wait_for(condition, until=time.monotonic() + seconds)
