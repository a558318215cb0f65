"""Everything that a scenario needs, under short names. See docs/how-to/write-a-scenario.md.

A scenario is a pytest class. Its class-scoped `evidence` fixture runs one experiment; its tests are the checks:

    class TestSigtermUnderLoad:
        \"\"\"SIGTERM to the main process while requests are in flight.\"\"\"

        @pytest.fixture(scope="class")
        @classmethod
        def evidence(cls, experiment):
            return experiment.run(load=[steady(rate=50), hold(8)], faults=[at_steady_state(signal("SIGTERM"))])

        @requirement("DRAIN-1")
        def test_accepted_requests_get_their_answer(self, evidence, facts):
            evidence.require(accepted_at_signal=8)  # else: inconclusive, never green
            accepted = evidence.requests.accepted()
            facts(accepted_before_signal=len(accepted))
            assert not accepted.not_answered()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from drainproof import requirement as _catalogue
from drainproof.errors import HarnessError, Inconclusive, LaunchError, ReadyButNotServing, Unsupported
from drainproof.evidence import Evidence
from drainproof.experiment import (
    ENDLESS,
    FAST,
    GRPC_ENDLESS,
    GRPC_FAST,
    GRPC_SLOW,
    GRPC_STREAM,
    SLOW,
    STREAM,
    Experiment,
)
from drainproof.faults import exceptions
from drainproof.faults.bad_clients.malformed import MalformedRequests
from drainproof.faults.bad_clients.vanishing import VanishingClients
from drainproof.faults.bench import Fault, Injection
from drainproof.faults.container.memory import MemoryLimit, Victim
from drainproof.faults.container.network import NetworkLost
from drainproof.faults.container.pause import Paused
from drainproof.faults.container.restricted import Restricted
from drainproof.faults.container.throttle import Throttled
from drainproof.faults.exceptions import ExceptionFault, Fired
from drainproof.faults.finding import WorkersFound
from drainproof.faults.moments import BeforeLaunch, Delay, Listening, ServersSeen, StartUp, SteadyState
from drainproof.faults.pod import HookState, PodTermination
from drainproof.faults.rolling import RollingRestart
from drainproof.faults.signals import Recipient, SignalFault
from drainproof.faults.start_method import Method, StartMethodSet
from drainproof.faults.startup import FatalRequest, LoadFailure, PortTaken
from drainproof.faults.supervisor_kill import SupervisorKilled
from drainproof.faults.windows import ConsoleEventFault, WindowsLoop
from drainproof.faults.worker_kill import Which, WorkerKilled
from drainproof.faults.worker_load import NextLoadsFail, WorkersNeverLoad
from drainproof.faults.worker_stop import WorkerStopped
from drainproof.fleet import BehindBalancer
from drainproof.load.plan import Closed, Connections, Hold, Idle, Once, Protocol, SlowReader, SlowWriter, Steady, Stream
from drainproof.observe import (
    Observer,
    UntilBackInService,
    UntilGone,
    UntilGoneOrReplaced,
    UntilGoneOrServing,
    UntilGoneWithoutIdle,
    UntilServed,
    UntilStarted,
)
from drainproof.observe_workers import UntilItGivesUp, UntilRecovered, WhileNobodyServes, WhileRestarting
from drainproof.target.description import Policy, Target
from drainproof.target.modes import LaunchMode
from drainproof.target.windows import ConsoleEvent

__all__ = [
    "ENDLESS",
    "FAST",
    "GRPC_ENDLESS",
    "GRPC_FAST",
    "GRPC_SLOW",
    "GRPC_STREAM",
    "SLOW",
    "STREAM",
    "Evidence",
    "Experiment",
    "Fault",
    "HarnessError",
    "Inconclusive",
    "Injection",
    "LaunchError",
    "Observer",
    "Policy",
    "ReadyButNotServing",
    "Recipient",
    "Stream",
    "Target",
    "Unsupported",
    "UntilBackInService",
    "UntilGone",
    "UntilGoneOrReplaced",
    "UntilGoneOrServing",
    "UntilGoneWithoutIdle",
    "UntilItGivesUp",
    "UntilRecovered",
    "UntilServed",
    "UntilStarted",
    "WhileNobodyServes",
    "WhileRestarting",
    "after",
    "as_soon_as_it_listens",
    "at_start_up",
    "at_steady_state",
    "before_launch",
    "behind_balancer",
    "closed",
    "console_event",
    "exception",
    "fatal_request",
    "hold",
    "idle",
    "launched",
    "load_failure",
    "loads_fail",
    "malformed_requests",
    "memory_limit",
    "network_lost",
    "once",
    "own_fail_point",
    "paused",
    "pod_termination",
    "port_taken",
    "requirement",
    "restricted",
    "rolling_restart",
    "sessions",
    "signal",
    "silent",
    "slow_reader",
    "slow_writer",
    "start_method",
    "steady",
    "supervisor_killed",
    "throttled",
    "vanishing_clients",
    "when_every_worker_served",
    "when_workers_are_known",
    "windows_loop",
    "worker_killed",
    "worker_stopped",
    "workers_never_load",
]

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")


def requirement(id: str) -> Callable[[F], F]:
    """Marks a test function as the check of one requirement of the catalogue. Raises UserError for an unknown id."""
    _catalogue.get(id)

    def mark(function: F) -> F:
        function.drainproof_requirement = id  # type: ignore[attr-defined]
        return function

    return mark


def launched(*modes: LaunchMode) -> Callable[[T], T]:
    """Marks a scenario class, or a check, as one that has a meaning in these launch modes only.

    In the others it is not collected: an `unsupported` says that a target lacks something, and this is not its doing.
    """

    def mark(thing: T) -> T:
        thing.drainproof_launched = modes  # type: ignore[attr-defined]
        return thing

    return mark


# Load


def steady(*, rate: float, request: str = FAST, connections: Connections = "reuse", name: str = "steady") -> Steady:
    """Open loop: `rate` requests per second, whatever becomes of the earlier ones."""
    return Steady(name=f"{name}-{connections}", request=request, rate=rate, connections=connections)


def hold(
    in_flight: int, *, request: str = SLOW, connections: Connections = "reuse", stagger: float = 0.0, name: str = "hold"
) -> Hold:
    """Keeps `in_flight` requests in flight, the first ones spread over `stagger` seconds."""
    return Hold(name=name, request=request, in_flight=in_flight, stagger=stagger, connections=connections)


def once(count: int, *, request: str = SLOW, name: str = "once") -> Once:
    """`count` requests at once, and no more."""
    return Once(name=name, request=request, count=count)


def closed(*, users: int, request: str = FAST, think_time: float = 0.0, name: str = "closed") -> Closed:
    """Closed loop: `users` users who wait for their answer, think, and ask again."""
    return Closed(name=name, request=request, users=users, think_time=think_time)


def sessions(users: int, *, request: str = FAST, think_time: float = 0.1, name: str = "sessions") -> Closed:
    """Closed loop: `users` clients, each with a connection and with cookies of its own, which it sends back."""
    return Closed(name=name, request=request, users=users, think_time=think_time, sessions=True)


def idle(count: int, *, request: str = FAST) -> Idle:
    """`count` keep-alive connections, idle after one request each."""
    return Idle(name="idle", request=request, count=count)


def silent(count: int) -> Idle:
    """`count` connections that never send a byte."""
    return Idle(name="silent", request=None, count=count)


def slow_writer(count: int, *, interval: float = 0.25) -> SlowWriter:
    """`count` clients whose request body trickles in and never ends."""
    return SlowWriter(name="slow-writer", request=FAST, count=count, interval=interval)


def slow_reader(count: int, *, request: str = FAST) -> SlowReader:
    """`count` clients that never read their answer."""
    return SlowReader(name=f"slow-reader-{request.lstrip('@')}", request=request, count=count)


# Faults


def signal(name: str, *, to: Recipient = "main") -> SignalFault:
    """The signal `name` ("SIGTERM") to the main process or to its whole process group.

    "STOPSIGNAL" stands for what whoever runs the target sends to stop it: the image's, in a container.
    """
    return SignalFault(signal=name, recipient=to)


def port_taken(port: str = "http") -> PortTaken:
    """Somebody else listens on the port (by its name in the manifest) before the target starts."""
    return PortTaken(port=port)


def load_failure() -> LoadFailure:
    """The model cannot be loaded, by the means that the manifest declares."""
    return LoadFailure()


def malformed_requests(*, examples: int = 15, seed: int = 1) -> MalformedRequests:
    """Malformed input, derived from a request of the target: up to `examples` cases of each class, by this seed."""
    return MalformedRequests(examples=examples, seed=seed)


def vanishing_clients(repetitions: int = 1000, *, rounds: int = 5) -> VanishingClients:
    """Clients that vanish in the middle of their requests, measured after each of `rounds` rounds."""
    return VanishingClients(repetitions=repetitions, rounds=rounds)


def behind_balancer(*, sticky: bool = False) -> BehindBalancer:
    """For `run(behind=…)`: two instances behind HAProxy, which gets the load; `sticky`: with a session cookie."""
    return BehindBalancer(sticky=sticky)


def rolling_restart(signal: str | None = None) -> RollingRestart:
    """Restarts the instances behind the balancer one after the other; by their stop signal, or by `signal`."""
    return RollingRestart(signal=signal)


def fatal_request() -> FatalRequest:
    """The request that the manifest declares as fatal."""
    return FatalRequest()


def exception(
    site: str,
    *,
    raises: str = "RuntimeError",
    shots: int = 1,
    call: int | None = None,
    later: float | None = None,
    probability: float | None = None,
    only_requests: bool = False,
    protocol: Protocol | None = None,
) -> ExceptionFault:
    """An exception inside the target at `site`: a role ("handler", "main", …) or "module:qualified.name".

    `raises`: a built-in exception by name, or "module:Class"; `shots`: how often. Without `call` (at the n-th call
    from the start on), `later` (seconds after the start of the process) and `probability` (of each call) it comes on
    command. `only_requests`: never where a health probe is served; with `protocol`: only where one of its
    requests is.
    """
    return ExceptionFault(
        site=site,
        exception=raises,
        shots=shots,
        call=call,
        later=later,
        probability=probability,
        only_requests=only_requests,
        protocol=protocol,
    )


def start_method(method: Method, *, explicit: bool = True) -> StartMethodSet:
    """The multiprocessing start method is set, or taken implicitly, before the first line of the target."""
    return StartMethodSet(method=method, explicit=explicit)


def memory_limit(victim: Victim) -> MemoryLimit:
    """The container reaches its memory limit, and the kernel kills its main process ("main") or another ("worker")."""
    return MemoryLimit(victim=victim)


def throttled(seconds: float, *, cpus: float = 0.25) -> Throttled:
    """The container has `cpus` of a CPU for `seconds`, and longer where the kernel has not held it back by then."""
    return Throttled(seconds=seconds, cpus=cpus)


def paused(seconds: float) -> Paused:
    """The container is paused, and resumed after `seconds`."""
    return Paused(seconds=seconds)


def network_lost(seconds: float) -> NetworkLost:
    """The container's network is taken away, and given back after `seconds`. Its connections are lost."""
    return NetworkLost(seconds=seconds)


def restricted() -> Restricted:
    """The container runs as a user who is not root, on a read-only root file system with a writable /tmp."""
    return Restricted()


def windows_loop() -> WindowsLoop:
    """The target's own code and the frameworks under test see Windows (emulated), an event loop as there included."""
    return WindowsLoop()


def pod_termination(*, endpoint_lag: float = 0.0, hook: HookState = "declared") -> PodTermination:
    """The pod is deleted: preStop hook, stop signal, SIGKILL; its endpoint leaves the service `endpoint_lag` s later.

    `hook`: the declared one, or one that hangs or fails in its place.
    """
    return PodTermination(endpoint_lag=endpoint_lag, hook=hook)


def console_event(event: ConsoleEvent) -> ConsoleEventFault:
    """Ctrl-C or Ctrl-Break to every process on the target's console. Only with `windows_loop()` given."""
    return ConsoleEventFault(event=event)


def worker_killed(signal: str = "SIGKILL", *, which: Which = "one", at_birth: int = 0) -> WorkerKilled:
    """The worker that holds most requests, or "all" at once, by a signal; then so many successors at their birth."""
    return WorkerKilled(signal=signal, which=which, at_birth=at_birth)


def worker_stopped(seconds: float) -> WorkerStopped:
    """The worker that holds most requests stands still for so long."""
    return WorkerStopped(seconds=seconds)


def supervisor_killed() -> SupervisorKilled:
    """SIGKILL to the parent of the workers."""
    return SupervisorKilled()


def loads_fail(attempts: int) -> NextLoadsFail:
    """From the moment on, an exception in the next so many loads of the model, of whichever worker."""
    return NextLoadsFail(attempts=attempts)


def workers_never_load() -> WorkersNeverLoad:
    """No worker can load its model, as `[provoke.worker_failure]` says."""
    return WorkersNeverLoad()


# Moments


def before_launch(fault: Fault) -> Injection:
    """The fault exists before the target does."""
    return Injection(moment=BeforeLaunch(), fault=fault)


def at_start_up(fraction: float, fault: Fault) -> Injection:
    """At `fraction` (0 to 1) of the time that the target usually takes to become ready."""
    return Injection(moment=StartUp(fraction=fraction), fault=fault)


def as_soon_as_it_listens(fault: Fault) -> Injection:
    """As soon as the HTTP port listens, whether the target is ready or not."""
    return Injection(moment=Listening(), fault=fault)


def at_steady_state(fault: Fault) -> Injection:
    """When every stream of the load runs as asked, and the server has read every request that is held in flight."""
    return Injection(moment=SteadyState(), fault=fault)


def when_every_worker_served(fault: Fault) -> Injection:
    """When as many processes as workers are declared have been seen to serve, or after ten seconds."""
    return Injection(moment=ServersSeen(), fault=fault)


def when_workers_are_known(fault: Fault) -> Injection:
    """At steady state, when the workers are known: by what `[workers]` declares, or by having been seen to serve."""
    return Injection(moment=WorkersFound(), fault=fault)


def after(seconds: float, fault: Fault) -> Injection:
    """So many seconds after the previous fault."""
    return Injection(moment=Delay(seconds=seconds), fault=fault)


def own_fail_point(target: Target, name: str) -> Injection:
    """The exception that the manifest declares under that name in `[[fail_points.own]]`, at its own time or at once."""
    fault = exceptions.own(next(point for point in target.own_fail_points if point.name == name))
    return Injection(moment=SteadyState() if fault.on_command else Fired(fault=fault), fault=fault)
