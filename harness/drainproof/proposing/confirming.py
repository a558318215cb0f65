"""Starts a server once by a proposal, through the launcher and the readiness check of every experiment.

Between the two the server is asked what it offers: an OpenAPI document says more of its paths than decorators do,
KServe says the names of its models. What it says mends the proposal. Then candidates for the request are sent until
one is answered with 200: does the answer hold the token that was sent? A server gets the time that it needs, the
deadline of the proposal; nothing waits longer than a condition asks for.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGTERM
from typing import Any

from drainproof.errors import DrainproofError, LaunchError, NotReadyInTime, Unsupported
from drainproof.laboratory import launcher_for
from drainproof.load.attempt import Attempt, attempt
from drainproof.load.plan import Expectation, Request
from drainproof.probes import health
from drainproof.proposing import endpoints, kserve
from drainproof.proposing.proposal import TOKEN, Ask, Proposal
from drainproof.proposing.writing import guessed_readiness, write
from drainproof.redaction import Redactor
from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.manifest import FILE, parse_target
from drainproof.target.ports import reserve
from drainproof.target.readiness import await_ready, owners_of_listener

OPENAPI = "/openapi.json"
LATER = 15.0
"""Seconds that a candidate may take to be answered, and that a model may still load when the port is open."""
PAUSE = 0.05


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What came of the start."""

    proposal: Proposal
    """As mended by what the server said."""
    confirmed: tuple[str, ...] = ()
    problem: str = ""
    """Why the manifest is not confirmed; empty where it is."""


def confirm(proposal: Proposal, folder: Path) -> Confirmation:
    """Starts it, asks it, ends it. Nothing of it stays."""
    confirmed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="drainproof-init-") as temporary, ExitStack() as cleanup:
        target = _target(proposal, folder)
        launcher = launcher_for(target, lambda _: None, hidden=Redactor.of(target).forms)
        cleanup.callback(launcher.close)
        ports = cleanup.enter_context(reserve(names=target.ports))
        try:
            output = Path(temporary, "output.jsonl")
            instance = launcher.launch(target=target, ports=ports, output=output, workers=min(target.workers))
            cleanup.callback(instance.end)
            _await_listener(target, instance)
            proposal = _ready_path(_mended(proposal, instance), instance)
            proposal = _request(proposal, instance)
            late = time.monotonic() - instance.started + LATER
            target = replace(_target(proposal, folder), start_deadline=max(target.start_deadline, late))
            serving = await_ready(target=target, instance=instance, record=_nowhere)
        except (LaunchError, Unsupported) as error:
            return Confirmation(proposal=proposal, confirmed=tuple(confirmed), problem=str(error))
        except DrainproofError as error:
            return Confirmation(
                proposal=proposal, confirmed=tuple(confirmed), problem=f"{type(error).__name__}: {error}"
            )
        first = proposal.requests[0]
        what = " with the token of its request" if first.token_comes_back else ""
        confirmed += [
            f"started, ready after {serving - instance.started:.1f} s",
            f"GET {target.readiness} answered 2xx",
            f"{first.words} answered 200{what}",
            _end(target, instance),
        ]
    return Confirmation(proposal=proposal, confirmed=tuple(confirmed))


def _nowhere(*_: Any, **__: Any) -> None:
    """What is recorded in an experiment is of no use here."""


def _target(proposal: Proposal, folder: Path) -> Target:
    return parse_target(write(proposal), file=folder / FILE)


def _await_listener(target: Target, instance: Instance) -> None:
    """Waits until its HTTP port is open and HTTP is spoken on it. Raises LaunchError."""
    until = instance.started + target.start_deadline
    while time.monotonic() < until:
        if (status := instance.wait_exit(until=time.monotonic() + PAUSE)) is not None:
            after = status.time - instance.started
            text = f"it ended with status {status.shell_code} after {after:.1f} s, before it listened on its port"
            raise NotReadyInTime(f"{text}\n{instance.tail()}")
        if owners_of_listener(instance, instance.ports["http"]):
            seen = health.probe(host=instance.host, port=instance.ports["http"], path="/")
            if seen is not None and seen.status is not None:
                return
    tail = instance.tail()
    raise NotReadyInTime(f"it did not speak HTTP on its port within {target.start_deadline:g} s\n{tail}")


def _mended(proposal: Proposal, instance: Instance) -> Proposal:
    """With what the server says of itself in the place of what its code says."""
    if proposal.kind == "KServe":
        names = _get(instance, "/v1/models")
        names = names.get("models") if isinstance(names, dict) else None
        if isinstance(names, list) and names and not any(f"/{name}:" in proposal.requests[0].path for name in names):
            asks = kserve.requests([str(name) for name in names], [])
            found = (*proposal.found, f"the models that it says it has: {', '.join(map(str, names))}")
            return replace(proposal, requests=asks, found=found, todo={**proposal.todo, "request": ()})
        return proposal
    known = endpoints.of_openapi(_get(instance, OPENAPI))
    if not known:
        return proposal
    ready = endpoints.readiness(known) or proposal.readiness
    live = endpoints.liveness(known) or proposal.liveness
    return replace(
        proposal,
        found=(*proposal.found, f"{len(known)} endpoints in its {OPENAPI}", *endpoints.not_sent(known)),
        readiness=ready,
        liveness=None if live == ready else live,
        requests=endpoints.requests(known, health=(ready, live)) or proposal.requests,
    )


def _ready_path(proposal: Proposal, instance: Instance) -> Proposal:
    """With a readiness path that is there: what nobody knows is asked for by the names that people give to it."""
    if proposal.readiness is not None:
        return proposal
    for name in (*endpoints.READINESS, *endpoints.LIVENESS):
        if _positive(f"/{name}", instance):
            return replace(proposal, readiness=f"/{name}", found=(*proposal.found, f"/{name}, which answers 2xx"))
    for path in (guessed_readiness(proposal), "/", OPENAPI, "/docs"):
        if _positive(path, instance):
            told = f"the path that the platform asks before it sends traffic: {path} only shows that it answers at all"
            return replace(proposal, readiness=path, todo=proposal.with_todo("health", told))
    return proposal


def _positive(path: str, instance: Instance) -> bool:
    seen = health.probe(host=instance.host, port=instance.ports["http"], path=path)
    return seen is not None and seen.status is not None and 200 <= seen.status < 300


def _request(proposal: Proposal, instance: Instance) -> Proposal:
    """With the first candidate that is answered rightly in front, and with what was seen of its answer.

    A server may open its port before its model is loaded: as long as it answers nothing, or 5xx, it is asked again.
    """
    until = time.monotonic() + LATER
    answers: dict[str, int | None] = {}
    while True:
        for ask in proposal.requests:
            status, seen = _sent(ask, instance)
            if seen is not None:
                return replace(proposal, requests=(seen, *(other for other in proposal.requests if other is not ask)))
            answers[ask.words] = status
            if status is None:
                break
        loading = any(status is None or status >= 500 for status in answers.values())
        if not loading or time.monotonic() > until or instance.exit_status() is not None:
            break
        instance.wait_exit(until=time.monotonic() + PAUSE)
    told = "; ".join(f"{words} {'is not answered' if s is None else f'answered {s}'}" for words, s in answers.items())
    text = f"it started, but no request that could be guessed was answered with 200: {told or 'none was found'}"
    raise NotReadyInTime(f"{text}\n{instance.tail()}")


def _sent(ask: Ask, instance: Instance) -> tuple[int | None, Ask | None]:
    """The status of the answer, and the request with what was seen of it; None where that was not 200."""
    has_token = TOKEN in json.dumps(ask.json) or TOKEN in ask.path
    first = _attempt(ask, instance, Expectation(status=(200,), contains=TOKEN if has_token else None))
    if first.status != 200:
        return first.status, None
    seconds = max(0.01, round(first.t - first.t0, 2))
    return 200, replace(ask, token_comes_back=has_token and first.right, duration=seconds)


def _attempt(ask: Ask, instance: Instance, expect: Expectation) -> Attempt:
    body = "" if ask.json is None else json.dumps(ask.json)
    request = Request(
        name="candidate",
        method=ask.method,
        path=ask.path,
        headers={} if ask.json is None else {"content-type": "application/json"},
        body=body,
        expect=expect,
        duration=0.0,
    )
    token = f"init-{uuid.uuid4().hex[:12]}"
    return attempt(request=request, host=instance.host, port=instance.ports["http"], token=token, timeout=LATER)


def _get(instance: Instance, path: str) -> Any:
    """The JSON that the server answers with; None where it does not."""
    connection = http.client.HTTPConnection(instance.host, instance.ports["http"], timeout=LATER)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()


def _end(target: Target, instance: Instance) -> str:
    """Stops it as a platform would, and says what was seen."""
    sent = time.monotonic()
    try:
        instance.send(SIGTERM)
    except ProcessLookupError:
        return "it has ended by itself"
    grace = target.policy.grace_period
    status = instance.wait_exit(until=sent + grace)
    if status is None:
        return f"SIGTERM did not end it within {grace:g} s: it was killed"
    return f"SIGTERM ended it after {status.time - sent:.1f} s, with status {status.shell_code}"
