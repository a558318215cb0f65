"""The end of a pod, read from the evidence: what the kubelet and the endpoint controller did when, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drainproof.errors import Inconclusive
from drainproof.evidence.bundle import Evidence
from drainproof.evidence.requests import Judged, RequestSet

NO_FAILURE = ("right", "elsewhere", "unfinished", "crossing")
"""Fates that are no failure for a user. `crossing` is the race that no server avoids; clients send such requests again,
since they cannot have been read."""


@dataclass(frozen=True, kw_only=True)
class PodEnd:
    """Moments are CLOCK_MONOTONIC seconds; None where the thing did not happen."""

    deleted: float
    grace_period: float
    hook: str
    """`none`, `done`, `failed` or `hung`."""
    hook_because: str
    hook_seconds: float
    unrouted: float | None
    """From when on no new connection was sent to the pod."""
    due: float
    """When that was to be."""
    signal: str
    stopped: float | None
    """When the stop signal was sent; None where the container had ended before."""
    killed: float | None
    """When SIGKILL was sent."""
    exited: float | None

    @classmethod
    def of(cls, evidence: Evidence) -> PodEnd:
        """The first one in the evidence. Raises Inconclusive where there is none, or it is not proven."""
        evidence.require()
        proof: Any = next((fault for fault in evidence.faults if fault["kind"] == "pod_termination"), None)
        if proof is None:
            raise Inconclusive("no pod was deleted")
        return cls(
            deleted=proof["t"],
            grace_period=proof["grace_period"],
            hook=proof["pre_stop"]["outcome"],
            hook_because=proof["pre_stop"]["because"],
            hook_seconds=proof["pre_stop"]["ended"] - proof["pre_stop"]["started"],
            unrouted=proof["unrouted"],
            due=proof["t"] + proof["endpoint_lag"],
            signal=proof["signal"],
            stopped=proof.get("sent"),
            killed=proof["killed"],
            exited=proof["exited"],
        )

    @property
    def drain(self) -> float | None:
        """Seconds from the stop signal to the end; None where one of the two did not come by itself."""
        if self.stopped is None or self.exited is None or self.killed is not None:
            return None
        return self.exited - self.stopped

    @property
    def spent(self) -> float | None:
        """Seconds of the grace period that hook and drain took together; None where SIGKILL had to end the drain."""
        if self.killed is not None:
            return None
        return self.hook_seconds + (self.drain or 0.0)

    def users(self, evidence: Evidence) -> RequestSet:
        """The requests of users that were under way when the pod was deleted, or came later, and were sent to it.

        What began on a new connection after the endpoint was to be gone was sent only because we were late.
        """

        def counts(judged: Judged) -> bool:
            record = judged.record
            if record.end < self.deleted or judged.fate == "elsewhere":
                return False
            return record.connect_start is None or record.connect_start <= self.due

        return evidence.requests.where(counts)

    def failed(self, evidence: Evidence) -> RequestSet:
        """Those of them that failed, as their users see it: a 503 and a refused connection are failures as well.

        A gRPC call that the server has said not to have looked at is sent again by any gRPC library.
        """
        return self.users(evidence).where(lambda j: j.fate not in NO_FAILURE and j.record.cause != "stream_refused")

    def failed_otherwise(self, evidence: Evidence) -> RequestSet:
        """Those that failed neither because the stop signal came before the endpoint was gone, nor of SIGKILL.

        No longer hook and no longer grace period would have saved them.
        """

        def otherwise(judged: Judged) -> bool:
            record = judged.record
            too_early = self.stopped is not None and record.connect_start is not None and record.end >= self.stopped
            return not too_early and (self.killed is None or record.end < self.killed)

        return self.failed(evidence).where(otherwise)

    def lost_after_stop(self, evidence: Evidence) -> RequestSet:
        """Those that failed on a connection begun after the stop signal: a longer hook would have spared them."""
        stopped = self.stopped
        return self.failed(evidence).where(
            lambda j: stopped is not None and j.record.connect_start is not None and j.record.connect_start > stopped
        )

    def served_after_stop(self, evidence: Evidence) -> float | None:
        """For how many seconds after the stop signal new connections were still served for certain; None: not seen.

        Until the last one before the first that failed. Where none failed, until they were not sent to it any more.
        """
        stopped, unrouted = self.stopped, self.unrouted
        if stopped is None:
            return None
        later = self.users(evidence).where(
            lambda j: j.record.connect_start is not None and j.record.connect_start > stopped
        )
        begun = sorted(
            (j.record.connect_start or 0.0, j.fate) for j in later if j.fate not in ("crossing", "unfinished")
        )
        first_lost = next((t for t, fate in begun if fate != "right"), None)
        if first_lost is not None:
            return max((t for t, _ in begun if t < first_lost), default=stopped) - stopped
        return unrouted - stopped if begun and unrouted is not None else None
