"""The way to the target, as a service has it: open until the endpoint is gone from the service."""

from __future__ import annotations

from time import monotonic


class Route:
    """Whether a client that opens a connection gets to the target.

    When an endpoint is taken out of a service, new connections go to the others; those that are open stay (kube-proxy
    changes the rules for the first packet of a connection, and lets the others be). So a closed route ends nothing: it
    is asked in the moment in which a connection would be begun, and never again for that connection.
    """

    def __init__(self) -> None:
        self.closed_at: float | None = None
        """From this moment on no connection is begun; None while the way is open."""

    @property
    def open(self) -> bool:
        """Whether a new connection goes to the target."""
        return self.closed_at is None

    def close(self) -> float:
        """The endpoint is gone. Returns since when; idempotent."""
        if self.closed_at is None:
            self.closed_at = monotonic()
        return self.closed_at
