"""One experiment: launch, load, fault, observation, evidence. The left side of the house; checks are on the right.

Whatever goes wrong on the way is evidence as well: it is written to the timeline (`stopped`), so that judging the saved
evidence again gives the same verdict, and the target is ended in any case.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from drainproof import errors
from drainproof.errors import (
    DrainproofError,
    HarnessError,
    Inconclusive,
    LaunchError,
    NeverReadyNeverExits,
    NotReadyInTime,
    Unsupported,
)
from drainproof.evidence import Evidence
from drainproof.faults.bench import Bench, Fault, Injection, Trigger
from drainproof.faults.signals import SignalFault
from drainproof.fleet import Front
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Plan, Request, SlowWriter, Stream
from drainproof.load.plan import Protocol as Wire
from drainproof.observe import Observer, UntilGone, UntilStarted
from drainproof.probes import environment, sockets
from drainproof.probes.births import BirthWatch
from drainproof.probes.leftovers import Baseline
from drainproof.probes.sampler import Sampler
from drainproof.recorder import LEDGER, OUTPUT, RESTART_OUTPUT, Recorder
from drainproof.redaction import Redactor
from drainproof.target import process
from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.launcher import Launcher
from drainproof.target.ports import reserve
from drainproof.target.readiness import await_ready

FAST, SLOW, ENDLESS = "@fast", "@slow", "@endless"
"""Stand for an HTTP request of the target: its shortest, its longest that ends, and one that never ends."""

GRPC_FAST, GRPC_SLOW, GRPC_ENDLESS = "@grpc-fast", "@grpc-slow", "@grpc-endless"
"""The same for gRPC."""

STREAM, GRPC_STREAM = "@stream", "@grpc-stream"
"""Stand for a request whose answer is a stream that ends by itself: in HTTP, in gRPC."""

_PROTOCOLS: dict[str, Wire] = {
    **dict.fromkeys((FAST, SLOW, ENDLESS, STREAM), "http"),
    **dict.fromkeys((GRPC_FAST, GRPC_SLOW, GRPC_ENDLESS, GRPC_STREAM), "grpc"),
}


ATTEMPTS, PATIENT = 3, 8
"""So often an experiment is made where *our* processes got too little of the machine. The target is never a reason.

The second number holds while the machine is crowded: there each attempt misses its moment with some probability (0.4
was seen with 20 busy processes per core), and nothing but another one tells chance from a target that answers sooner
than it declares. On a quiet machine it is the target's declaration, and three are enough to see that."""

CROWDED = 3.0
"""Processes per core that run or want to, from which on a machine is."""

HOPELESS = 3
"""So many ordinary starts must fail, with none that succeeded, for a target to be given up."""

OUTPUT_PATIENCE = 15.0
"""Seconds that the keeper gets to write what the target printed, once all its processes are gone."""

DISCARDED = "discarded"
"""The folder beside the evidence that keeps attempts which measured nothing."""


class Experiment(Protocol):
    """What the `experiment` fixture gives to a scenario: live, or judged again from saved evidence."""

    @property
    def target(self) -> Target:
        """The target under test."""

    @property
    def folder(self) -> Path | None:
        """The evidence folder; None while there is none."""

    def run(
        self,
        *,
        load: Sequence[Stream] = (),
        faults: Sequence[Injection] = (),
        given: Sequence[Fault] = (),
        workers: int = 1,
        observe: Observer | None = None,
        restart: bool = False,
        behind: Front | None = None,
    ) -> Evidence:
        """Runs the experiment and returns its evidence.

        `load`: streams that run side by side; `faults`: in order, each at its moment; `given`: what holds from the
        launch on (a start method that is set, a failure that waits to be reached) and is proven when the observation is
        over; `workers`: how many the target is started with; `observe`: what happens after the last fault (default:
        until it is gone); `restart`: start it once more on the same ports when it is gone; `behind`: what stands in
        front of two instances of it, and gets the load. Raises Unsupported, Inconclusive, LaunchError or HarnessError.
        """


def resolve_load(load: Sequence[Stream], target: Target) -> tuple[Stream, ...]:
    """The streams with `FAST`, `SLOW` and `ENDLESS` replaced by requests of the target. Raises Unsupported."""
    return tuple(
        stream if stream.request is None else replace(stream, request=_request_for(stream, target).name)
        for stream in load
    )


def check(
    target: Target, *, load: Sequence[Stream], faults: Sequence[Fault], behind: Front | None
) -> tuple[Stream, ...]:
    """The load with its requests. Raises Unsupported where something of all this does not apply to the target."""
    for fault in faults:
        fault.check(target)
    streams = resolve_load(load, target)
    if behind is not None:
        behind.check(target, tuple(r for r in target.requests if any(s.request == r.name for s in streams)))
    return streams


def _request_for(stream: Stream, target: Target) -> Request:
    if isinstance(stream, SlowWriter):
        with_body = [r for r in target.requests if r.body and r.protocol == "http"]
        if not with_body:
            raise Unsupported("a slow writer needs a request with a body, and the manifest declares none")
        return min(with_body, key=lambda r: r.duration)
    if stream.request in _PROTOCOLS:
        return _stand_in(stream.request, _PROTOCOLS[stream.request], target)
    found = [r for r in target.requests if r.name == stream.request]
    if not found:
        raise HarnessError(
            f"stream {stream.name} asks for request {stream.request!r}, which the manifest does not have"
        )
    return found[0]


def _stand_in(name: str, protocol: Wire, target: Target) -> Request:
    if name in (ENDLESS, GRPC_ENDLESS):
        endless = target.endless(protocol)
        if endless is None:
            what = "gRPC request" if protocol == "grpc" else "request"
            raise Unsupported(f'the manifest declares no {what} that never ends (duration = "endless")')
        return endless
    if name in (STREAM, GRPC_STREAM):
        stream = target.streaming(protocol)
        if stream is None:
            what = "gRPC" if protocol == "grpc" else "HTTP"
            raise Unsupported(f"the manifest declares no {what} request whose answer is a stream (stream = true)")
        return stream
    if protocol == "grpc" and not target.speaks("grpc"):
        raise Unsupported('the manifest declares no gRPC request ([[request]] with protocol = "grpc")')
    return target.fast(protocol) if name in (FAST, GRPC_FAST) else target.slow(protocol)


@dataclass(kw_only=True)
class Facilities:
    """What live experiments of one session share."""

    engine: LoadEngine
    launcher: Launcher
    usual_start: Callable[[], float]
    ordinary_start: Callable[[int], None]
    """Starts the target once, with so many workers and without any condition. Raises LaunchError."""
    starts: list[float]
    """How long each ordinary start took that succeeded, in seconds."""
    failed_starts: list[LaunchError]
    """Why ordinary starts did not."""
    redactor: Redactor
    """Hides the target's secrets from the evidence."""
    versions: dict[str, Any]
    """What is known of the target's environment; filled by the first experiment that gets it to run."""


class LiveExperiment:
    """Runs an experiment against the real target."""

    def __init__(
        self,
        *,
        target: Target,
        scenario: str,
        title: str,
        folder: Path,
        facilities: Facilities,
        progress: Callable[[str], None],
    ) -> None:
        self.target = target
        self.folder: Path | None = None
        self._folder = folder
        self._scenario = scenario
        self._title = title
        self._facilities = facilities
        self._progress = progress

    def run(
        self,
        *,
        load: Sequence[Stream] = (),
        faults: Sequence[Injection] = (),
        given: Sequence[Fault] = (),
        workers: int = 1,
        observe: Observer | None = None,
        restart: bool = False,
        behind: Front | None = None,
    ) -> Evidence:
        """See `Experiment.run`."""
        streams = check(self.target, load=load, faults=(*given, *(i.fault for i in faults)), behind=behind)
        observer = observe or UntilGone()
        self.folder = self._folder
        attempt = 0
        while True:
            attempt += 1
            self._attempt(streams, faults, given, workers, observer, restart=restart, behind=behind)
            trouble = Evidence(self._folder)
            if attempt >= _attempts() or not (trouble.missed() or trouble.starvation()):
                break
            self._progress("this machine was too busy to measure; once more")
            self._set_aside(attempt)
        return conclude(self._folder)

    def _set_aside(self, attempt: int) -> None:
        """Keeps the evidence of an attempt that measured nothing, out of the way of the next one."""
        aside = self._folder.parent / DISCARDED
        aside.mkdir(exist_ok=True)
        self._folder.rename(aside / f"{self._folder.name}-{attempt}")

    def _attempt(
        self,
        streams: tuple[Stream, ...],
        faults: Sequence[Injection],
        given: Sequence[Fault],
        workers: int,
        observer: Observer,
        *,
        restart: bool,
        behind: Front | None,
    ) -> None:
        redactor = self._facilities.redactor
        with ExitStack() as cleanup:
            cleanup.callback(redactor.clean, self._folder)  # the last step: nobody writes there any more
            recorder = cleanup.enter_context(Recorder(folder=self._folder, redactor=redactor))
            ports = cleanup.enter_context(reserve(names=self.target.ports))
            bench = Bench(
                target=self.target,
                folder=self._folder,
                workers=workers,
                ports=dict(ports),
                record=recorder.event,
                sample=recorder.sample,
                launcher=self._facilities.launcher,
                usual_start=self._facilities.usual_start,
                streams=streams,
            )
            recorder.describe(
                scenario=self._scenario,
                title=self._title,
                target=self.target.to_json(),
                workers=workers,
                ports=bench.ports,
                load=[{"kind": s.kind, **vars(s)} for s in streams],
                faults=[{"moment": i.moment.describe(), **i.fault.describe()} for i in faults],
                given=[fault.describe() for fault in given],
                observe=observer.describe(),
                behind=None if behind is None else behind.describe(),
                versions=self._facilities.versions,
            )
            try:
                _Run(
                    bench=bench,
                    recorder=recorder,
                    faults=faults,
                    given=given,
                    observer=observer,
                    restart=restart,
                    behind=behind,
                    facilities=self._facilities,
                    progress=self._progress,
                ).go(cleanup)
            except DrainproofError as error:
                recorder.event("stopped", error=type(error).__name__, text=str(error))
            except BaseException as error:
                recorder.event("stopped", error="HarnessError", text=f"aborted by {type(error).__name__}: {error}")
                raise


def _attempts() -> int:
    return PATIENT if os.getloadavg()[0] > CROWDED * (os.cpu_count() or 1) else ATTEMPTS


def conclude(folder: Path) -> Evidence:
    """The evidence in `folder`. Raises the error again that ended the experiment, if one did."""
    evidence = Evidence(folder)
    stopped = evidence.find("stopped")
    if stopped is not None:
        kind = getattr(errors, stopped["error"], HarnessError)
        raise kind(stopped["text"])
    if evidence.find("end") is None:
        raise HarnessError(f"the experiment was interrupted: its evidence in {folder} has no end")
    return evidence


@dataclass(kw_only=True)
class _Run:
    """The steps of one live experiment, in order."""

    bench: Bench
    recorder: Recorder
    faults: Sequence[Injection]
    given: Sequence[Fault]
    observer: Observer
    restart: bool
    behind: Front | None
    facilities: Facilities
    progress: Callable[[str], None]

    def go(self, cleanup: ExitStack) -> None:
        """Runs all steps. `cleanup` outlives them and ends whatever they started, in reverse order."""
        bench, record = self.bench, self.recorder.event
        cleanup.callback(self._release)
        self._require_what_it_takes()
        for fault in (*self.given, *(injection.fault for injection in self.faults)):
            fault.prepare(bench)
        bench.install_shim()
        if any(i.moment.before_ready for i in self.faults):
            bench.usual_start()  # may have to find out, which must not happen while the target starts
        tmp = process.fresh_tmp()
        baseline = Baseline.take(tmp=tmp)
        instance = self._launch(tmp, cleanup)
        sampler = Sampler(instance=instance, target=bench.target, write=self.recorder.sample, note=baseline.note)
        cleanup.enter_context(sampler)
        bench.sampler = sampler
        conditions = [fault.arm(bench) for fault in self.given]
        try:
            if self._expects_to_serve:
                self._serve(cleanup)
            self._inject()
            self.progress("observing")
            self.observer.observe(bench, since=bench.last)
            record("observed")
        finally:
            self._prove(conditions)
        self._stop_load()
        if instance.wait_gone(until=time.monotonic()) is None:
            record("ended_by_harness")
            instance.end_processes()
        sampler.stop()
        if not instance.wait_output(until=time.monotonic() + OUTPUT_PATIENCE):
            raise HarnessError("the target's output could not be read to its end")
        if instance.problems:
            raise HarnessError(f"the target could not be watched properly: {'; '.join(instance.problems)}")
        left = baseline.leftovers()
        record("leftovers", **left.to_json())
        left.remove()
        instance.end()
        if self.restart:
            self._start_again(cleanup)
        record("end")

    def _require_what_it_takes(self) -> None:
        """Raises what says that this experiment cannot be made."""
        if self.behind is not None:
            self.behind.require()
        if self._ordinary_start:
            self._spare_a_hopeless_start()
        if self.given:
            self._require_an_ordinary_start()

    def _serve(self, cleanup: ExitStack) -> None:
        """Waits until it serves, behind what it is to serve, and puts the load on it."""
        self._start_up()
        if self.bench.streams and (why := self.bench.running.obscured) is not None:
            raise Inconclusive(why)
        if self.behind is not None:
            self.progress("starting a second one, and the load balancer")
            self.bench.fleet = self.behind.set_up(self.bench)
        self._load(cleanup)

    def _stop_load(self) -> None:
        bench = self.bench
        if bench.load is not None:
            bench.load.stop(grace=1.0 if bench.running.exit_status() is not None else 0.0)
            self.recorder.event("load_stopped")
        if bench.fleet is not None:
            bench.fleet.end()

    @property
    def _expects_to_serve(self) -> bool:
        watches_the_start = isinstance(self.observer, UntilStarted)
        return not watches_the_start and not any(i.moment.before_ready for i in self.faults)

    @property
    def _ordinary_start(self) -> bool:
        return self._expects_to_serve and not self.given

    def _require_an_ordinary_start(self) -> None:
        """A start under a condition says something about the condition only where the target starts without it."""
        try:
            self.bench.usual_start()
        except LaunchError as error:
            raise Inconclusive(f"the target does not start without the condition either: {error}") from error

    def _require_that_it_starts_now(self) -> None:
        """A start that takes too long may be the machine's doing (some supervisors kill workers that are slow)."""
        self.progress("not ready in time; starting once without the condition")
        try:
            self.facilities.ordinary_start(self.bench.workers)
        except LaunchError as error:
            raise Inconclusive(
                f"not ready in time, but just now the target does not start without the condition either: {error}"
            ) from error

    def _prove(self, conditions: Sequence[Trigger]) -> None:
        """Records the proofs of what was given from the launch on: only now everything that could happen has.

        What dies from here on dies by our hand, so births and deaths are watched no longer.
        """
        for prove in conditions:
            self.recorder.event("given", **prove())
        if self.bench.births is not None:
            self.bench.births.stop()

    def _spare_a_hopeless_start(self) -> None:
        """A target that never came up is not started for every scenario, each time until its deadline."""
        failed = self.facilities.failed_starts
        if len(failed) >= HOPELESS and not self.facilities.starts:
            raise type(failed[-1])(
                f"not started again after {len(failed)} starts that failed; the last one: {failed[-1]}"
            )

    def _release(self) -> None:
        for step in reversed(self.bench.cleanup):
            step()

    def _launch(self, tmp: Path, cleanup: ExitStack) -> Instance:
        self.progress("starting")
        instance = self.bench.launch(output=self.recorder.folder / OUTPUT, tmp=tmp)
        cleanup.callback(instance.end)
        self.bench.instance = instance
        if self.bench.watches_births:
            self.bench.births = BirthWatch(instance=instance, record=self.recorder.event)
            self.bench.births.start()
            cleanup.callback(self.bench.births.stop)
        self.recorder.event("launch", t=instance.started, pid=instance.pid, **instance.describe())
        self.bench.last = instance.started
        if self.facilities.versions:  # known from an earlier start, so that what never serves has them too
            self.recorder.event("environment", **self.facilities.versions)
        return instance

    def _start_up(self) -> None:
        bench = self.bench
        try:
            serving = await_ready(target=bench.target, instance=bench.running, record=self.recorder.event)
        except LaunchError as error:
            if self._ordinary_start:
                self.facilities.failed_starts.append(error)
            elif isinstance(error, NotReadyInTime | NeverReadyNeverExits):
                self._require_that_it_starts_now()
            raise
        seconds = serving - bench.running.started
        if self._ordinary_start:
            self.facilities.starts.append(seconds)
        self.progress(f"ready after {seconds:.1f} s")
        if not self.facilities.versions:
            self.facilities.versions.update(environment.describe_python(pid=_serving_pid(bench)))
            self.recorder.event("environment", **self.facilities.versions)

    def _load(self, cleanup: ExitStack) -> None:
        bench = self.bench
        if not bench.streams:
            return
        policy = bench.target.policy
        longest = max((r.duration for r in bench.target.requests if r.duration != float("inf")), default=0.0)
        plan = Plan(
            host=bench.running.host if bench.fleet is None else bench.fleet.balancer.host,
            port=bench.port if bench.fleet is None else bench.fleet.port,
            ports=bench.ports if bench.fleet is None else {"http": bench.fleet.port},
            requests=bench.target.requests,
            streams=bench.streams,
            deadline=policy.grace_period + policy.settle_time + longest + 30.0,
        )
        bench.load = self.facilities.engine.run(plan=plan, ledger=self.recorder.folder / LEDGER)
        cleanup.callback(bench.load.end)
        self.recorder.event("load")

    def _inject(self) -> None:
        bench = self.bench
        armed = [(injection, injection.fault.arm(bench)) for injection in self.faults]
        for injection, trigger in armed:
            injection.moment.wait(bench)
            proof = trigger()
            bench.last = max(bench.last, proof["t"])
            bench.proofs.append(proof)
            self.recorder.event("fault", moment=injection.moment.describe(), **proof)
            self.progress(injection.fault.signal if isinstance(injection.fault, SignalFault) else proof["kind"])

    def _start_again(self, cleanup: ExitStack) -> None:
        """Launches the target once more on the same ports, waits until it serves, and ends it."""
        record = self.recorder.event
        if self.bench.running.exit_status() is None:
            record("restart", ready=None, because="the first instance did not end by itself")
            return
        self.progress("starting again on the same port")
        again = self.bench.launch(output=self.recorder.folder / RESTART_OUTPUT)
        cleanup.callback(again.end)
        try:
            serving = await_ready(target=self.bench.target, instance=again, record=_nowhere)
        except errors.LaunchError as error:
            record("restart", ready=False, because=str(error), seconds=time.monotonic() - again.started)
        else:
            record("restart", ready=True, because="", seconds=serving - again.started)
        again.end()


def _nowhere(_event: str, **_values: Any) -> None:
    """A record for what only has to succeed."""


def _serving_pid(bench: Bench) -> int:
    """A process that listens on the HTTP port: behind a shell or a wrapper that is not the main process."""
    inodes = [listener.inode for listener in bench.running.sockets.listeners(ports=[bench.port])]
    pids = [member.pid for member in bench.running.processes()]
    owners = sockets.owners(inodes=inodes, pids=pids)
    return min(set().union(*owners.values()), default=bench.running.pid)
