"""One experiment's evidence, read back from its folder: what the checks are functions of."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from drainproof import errors
from drainproof.errors import HarnessError, Inconclusive
from drainproof.evidence.briefs import Brief, briefs
from drainproof.evidence.lives import Lives
from drainproof.evidence.output import Output
from drainproof.evidence.requests import Cut, Fate, Judged, RequestSet, judge_fate
from drainproof.load import ledger as ledgers
from drainproof.load.ledger import ConnectionRecord, Ledger, RequestRecord
from drainproof.load.plan import WORTH_HOLDING
from drainproof.probes.history import Change, History, Interval
from drainproof.probes.kin import Kin
from drainproof.recorder import EXPERIMENT, LEDGER, MISSED, OUTPUT, PROBES, SHIM, TIMELINE
from drainproof.shim.reports import ShimReports
from drainproof.target.description import Policy, Target
from drainproof.target.systemd_spec import KILLED

Event = Mapping[str, Any]

STILL_DUE = 0.3
"""The share of its declared duration that one of the requests which are spread should have before it at the fault."""


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How and when the main process ended."""

    t: float
    code: int | None
    signal: int | None

    @property
    def status(self) -> int:
        """The exit status as a shell gives it: the code, or 128 + the signal that killed it."""
        return self.code if self.code is not None else 128 + (self.signal or 0)


class Evidence:
    """Read-only. Moments are CLOCK_MONOTONIC seconds; `None` means that the thing did not happen in this experiment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.experiment: Mapping[str, Any] = json.loads((folder / EXPERIMENT).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise HarnessError(f"{folder} holds no evidence: {EXPERIMENT} is missing") from error
        except ValueError as error:
            raise HarnessError(f"{folder / EXPERIMENT} is damaged: {error}") from error
        if not isinstance(self.experiment, dict) or "target" not in self.experiment:
            raise HarnessError(f"{folder / EXPERIMENT} is damaged: it does not describe an experiment")
        self.target = Target.from_json(self.experiment["target"])
        self._closings: dict[int, list[Interval]] = {}
        self.events: tuple[Event, ...] = tuple(_lines(folder / TIMELINE))
        if not all("t" in event and "event" in event for event in self.events):
            raise HarnessError(f"{folder / TIMELINE} is damaged: it has lines that are no events")

    # What was done

    @property
    def policy(self) -> Policy:
        """What the target promises."""
        return self.target.policy

    @property
    def workers(self) -> int:
        """How many workers the target was started with."""
        return int(self.experiment["workers"])

    def find(self, event: str) -> Event | None:
        """The first event of that name."""
        return next((e for e in self.events if e["event"] == event), None)

    def all(self, event: str) -> tuple[Event, ...]:
        """All events of that name, in order."""
        return tuple(e for e in self.events if e["event"] == event)

    def moment(self, event: str) -> float | None:
        """When the first event of that name happened."""
        found = self.find(event)
        return None if found is None else float(found["t"])

    @cached_property
    def faults(self) -> tuple[Event, ...]:
        """The proofs of the injected faults, in order."""
        return self.all("fault")

    @property
    def fault(self) -> Event:
        """The proof of the first fault, or of what was given. Raises Inconclusive where there was neither."""
        if not self.faults and not self.given:
            raise Inconclusive("no fault was injected")
        return (*self.faults, *self.given)[0]

    @cached_property
    def given(self) -> tuple[Event, ...]:
        """The proofs of what held from the launch on."""
        return self.all("given")

    @cached_property
    def shim(self) -> ShimReports:
        """What was reported from inside the target; empty where no fault was made there."""
        return ShimReports.read(self.folder / SHIM)

    @cached_property
    def lives(self) -> Lives:
        """The lives of its processes, and of the workers among them; empty where they were not watched."""
        found, pattern, launch = self.find("workers"), self.target.workers_are.command, self.find("launch")
        kin = None if found is None else Kin.from_json(found["kin"])
        if kin is None and pattern is not None and launch is not None:
            kin = Kin(main=launch["pid"], pattern=pattern)
        return Lives(self.events, kin=kin)

    @property
    def launch_failure(self) -> str | None:
        """Why the target did not come up, with the kind of failure in front; None where it did."""
        stopped = self.find("stopped")
        return None if stopped is None else f"{stopped['error']}: {stopped['text']}"

    # What came of it

    @cached_property
    def exit(self) -> Exit | None:
        """The end of the main process by itself or by the fault; None where drainproof (or systemd) had to end it."""
        found = self.find("exit")
        if self.unit_killed is not None and self.unit_killed["main"]:
            return None
        return None if found is None else Exit(t=found["t"], code=found["code"], signal=found["signal"])

    @property
    def exit_after(self) -> float | None:
        """Seconds from the first fault to the exit."""
        return None if self.exit is None else self.exit.t - float(self.fault["t"])

    @property
    def gone(self) -> float | None:
        """When the last process of the target was gone, without our help, or systemd's."""
        return self.moment("gone") if self.unit_killed is None else None

    @property
    def unit_killed(self) -> Event | None:
        """What systemd (emulated) had to kill when the time for the stop was over; None where there was nobody left."""
        return next((event for event in self.all(KILLED) if event["timeout"]), None)

    @property
    def survivors(self) -> list[Mapping[str, Any]]:
        """The processes that outlived the main process until the end of the observation: pid and command line."""
        found = self.find("survivors") or self.unit_killed
        return list(found["processes"]) if found else []

    def still_works(self) -> str | None:
        """What survivors of the main process still did at the end: listen, or hold requests. None if nothing."""
        if not self.survivors:
            return None
        if self.listener_closed is None:
            return "still listen on its port"
        readers = {s["name"] for s in self.experiment["load"] if s["kind"] == "slow_reader"}  # these cannot see an end
        held = sum(
            j.record.cause == "aborted" and j.record.phase != "connect" and j.record.stream not in readers
            for j in (*self.requests, *self.slow_clients)
        )
        return f"still hold {held} requests" if held else None

    @property
    def observed_until(self) -> float:
        """When the observation ended."""
        return float(self.events[-1]["t"]) if (end := self.moment("observed")) is None else end

    @cached_property
    def ledger(self) -> Ledger:
        """The load engine's ledger. Raises HarnessError where it cannot be the ground of a verdict."""
        path = self.folder / LEDGER
        if not path.exists():
            if self.find("load") is not None:
                raise HarnessError(f"{path} is missing, although there was a load")
            return Ledger(requests=(), connections=(), summary=None)
        ledger = ledgers.read(path)
        if problems := ledger.problems(since=self._measured_since):
            raise HarnessError("; ".join(problems))
        return ledger

    def starvation(self) -> list[str]:
        """What says that this machine was too busy to measure; empty where it was not."""
        path = self.folder / LEDGER
        return ledgers.read(path).starvation(since=self._measured_since) if path.exists() else []

    def missed(self) -> list[str]:
        """The streams whose requests were to be in flight, and of which too many had been answered when the fault came.

        A busy machine brings our fault too late, and lets requests that are held come and go together; the target is
        not the reason. Only what was there at the fault counts, and nothing that became of it: how many there were,
        and where they are to be spread, whether one of them at least had much of its declared time before it.
        """
        if (event := self.find(MISSED)) is not None:
            return list(event["streams"])
        path = self.folder / LEDGER
        if not self.faults or not self.faults[0].get("sockets") or not path.exists():
            return []
        if ledgers.read(path).problems(since=self._measured_since):
            return []
        accepted = Counter(j.record.stream for j in (*self.requests.accepted(), *self.slow_clients.accepted()))
        wanted = {s["name"]: 1 for s in self.experiment["load"] if s["kind"] == "once"}
        wanted |= {s["name"]: max(1, s["in_flight"] // 2) for s in self.experiment["load"] if s["kind"] == "hold"}
        return sorted(name for name, least in wanted.items() if accepted[name] < least or name in self._nearly_over())

    def _nearly_over(self) -> set[str]:
        """The streams whose requests are spread over time, and were all due to be answered right after the fault.

        By when they were sent and how long they are declared to take, so the target has no part in it.
        """
        t = float(self.faults[0]["t"])
        durations = {request.name: request.duration for request in self.target.requests}
        held = {
            s["name"]: durations[s["request"]]
            for s in self.experiment["load"]
            if s["kind"] == "hold" and s["stagger"] and WORTH_HOLDING <= durations[s["request"]] < math.inf
        }
        left = dict.fromkeys(held, 0.0)
        for judged in self.requests.accepted():
            name, sent = judged.record.stream, judged.record.sent
            if name in held and sent is not None:
                left[name] = max(left[name], sent + held[name] - t)
        return {name for name, duration in held.items() if left[name] < STILL_DUE * duration}

    @property
    def _measured_since(self) -> float:
        return float(self.faults[0]["t"]) if self.faults else 0.0

    @cached_property
    def history(self) -> History:
        """What the probes saw. Raises HarnessError where their record is damaged."""
        path = self.folder / PROBES
        if self.find("launch") is not None and not path.exists():
            raise HarnessError(f"{path} is missing")
        try:
            return History(_lines(path))
        except (KeyError, TypeError, AttributeError) as error:
            raise HarnessError(f"{path} is damaged: {type(error).__name__}: {error}") from error

    @cached_property
    def output(self) -> Output:
        """What the target printed. Raises HarnessError where its record is not complete."""
        lines = _lines(self.folder / OUTPUT)
        if self.find("launch") is not None and not {"stdout", "stderr"} <= {line.get("end") for line in lines}:
            raise HarnessError(f"{self.folder / OUTPUT} is not complete: it has no end of stdout and stderr")
        return Output(lines)

    @cached_property
    def listener_closed(self) -> Change | None:
        """When the HTTP port stopped listening after the fault: by a close, or with the last process that held it."""
        return self.listener_closed_on("http")

    def listener_closed_on(self, name: str) -> Change | None:
        """The same for the port of that name."""
        port = int(self.experiment["ports"][name])
        change = self.history.listener_closed(port=port, after=float(self.fault["t"]))
        # What was still open when the observation ended was closed by us, when we ended the target.
        if change is not None and self.unit_killed is not None and change.latest > float(self.unit_killed["t"]):
            return None  # a look takes time: it may have begun right before the kill
        return None if change is not None and change.earliest >= self.observed_until else change

    @property
    def port(self) -> int:
        """The HTTP port."""
        return int(self.experiment["ports"]["http"])

    @cached_property
    def requests(self) -> RequestSet:
        """All requests of clients that behave; see `slow_clients` for the others."""
        return self._judged(slow=False)

    @cached_property
    def slow_clients(self) -> RequestSet:
        """The requests of slow writers and slow readers, and those that never end."""
        return self._judged(slow=True)

    @property
    def connections(self) -> tuple[ConnectionRecord, ...]:
        """The connections that were held open without a request."""
        return self.ledger.connections

    def cut(self) -> Cut | None:
        """The first fault as the moment that divides the requests."""
        if not self.faults:
            return None
        proof = self.faults[0]
        table = proof.get("sockets") or {"t0": proof["t"], "read": [], "accepted": []}
        grpc = table.get("grpc")
        return _cut(table, t=proof["t"], grpc=None if grpc is None else _cut(grpc, t=proof["t"]))

    def each_request(self) -> Iterator[Brief]:
        """All requests in brief, one at a time, slow clients included: for a ledger that is too large to be held.

        Whether the ledger reconciles is not looked at. Raises HarnessError where it is damaged.
        """
        path = self.folder / LEDGER
        if path.exists():
            yield from briefs(ledgers.each_request(path), fate_of=self._fate_of, cut=self.cut())

    def _fate_of(self, record: RequestRecord) -> Fate:
        port = self._port_of.get(record.request, self.port)
        if port not in self._closings:
            cut = self.cut()
            self._closings[port] = self.history.listener_losses(port=port, after=cut.t) if cut else []
        duration = min(self._durations.get(record.request, 0.0), 1e6)
        return judge_fate(record, duration=duration, closings=self._closings[port])

    @cached_property
    def _durations(self) -> dict[str, float]:
        return {request.name: request.duration for request in self.target.requests}

    @cached_property
    def _port_of(self) -> dict[str, int]:
        return {r.name: int(self.experiment["ports"].get(r.port, self.port)) for r in self.target.requests}

    def _judged(self, *, slow: bool) -> RequestSet:
        streams = {s["name"]: s for s in self.experiment["load"]}

        def is_slow(stream: str, request: str) -> bool:
            kind = streams.get(stream, {}).get("kind")
            return kind in ("slow_writer", "slow_reader") or self._durations.get(request) == float("inf")

        return RequestSet(
            (
                Judged(record=r, fate=self._fate_of(r), duration=self._durations.get(r.request, 0.0))
                for r in self.ledger.requests
                if is_slow(r.stream, r.request) == slow
            ),
            self.cut(),
        )

    # What a check may ask for

    def require(
        self, *, fault: bool = True, in_flight_at_signal: int = 0, accepted_at_signal: int = 0, idle_at_signal: int = 0
    ) -> None:
        """Raises Inconclusive unless the situation arose, and HarnessError unless the ledger is sound.

        `fault`: a fault was injected and is proven · `in_flight_at_signal`: so many requests were in flight ·
        `accepted_at_signal`: so many were proven to be accepted and read by the server ·
        `idle_at_signal`: so many connections were open and idle.
        """
        if fault:
            self._require_fault()
        elif not self.faults:
            return
        t = float(self.fault["t"])
        missing = [
            f"{wanted} requests {what}, there were {len(seen())}"
            for wanted, what, seen in (
                (in_flight_at_signal, "in flight", self.requests.in_flight),
                (accepted_at_signal, "accepted and read by the server", self.requests.accepted),
            )
            if wanted and len(seen()) < wanted
        ]
        if idle_at_signal:
            idle = sum(c.ended_by != "failed" and c.opened < t < c.end for c in self.connections)
            if idle < idle_at_signal:
                missing.append(f"{idle_at_signal} idle connections open, there were {idle}")
        if missing:
            raise Inconclusive(f"at the moment of the fault the check needs {'; '.join(missing)}")

    def _require_fault(self) -> None:
        self.require_given()
        _require_proven(self.faults or (self.fault,))

    def require_given(self) -> None:
        """Raises Inconclusive (or what is known to be the reason) unless all that was given is proven."""
        _require_proven(self.given)


def _require_proven(proofs: Iterable[Event]) -> None:
    for proof in proofs:
        if not proof["proven"]:
            known: type[Exception] | None = getattr(errors, proof.get("error", ""), None)
            raise known(proof["because"]) if known else Inconclusive(f"the fault is not proven: {proof['because']}")


def _cut(table: Mapping[str, Any], *, t: float, grpc: Cut | None = None) -> Cut:
    return Cut(table=table["t0"], t=t, read=frozenset(table["read"]), accepted=frozenset(table["accepted"]), grpc=grpc)


def _lines(path: Path) -> list[dict[str, Any]]:
    return list(ledgers.read_lines(path)) if path.exists() else []
