"""Evidence: what one experiment left behind, read-only. Nothing here touches the world beyond reading its folder."""

from drainproof.evidence.bundle import Evidence
from drainproof.evidence.requests import Fate, Judged, RequestSet

__all__ = ["Evidence", "Fate", "Judged", "RequestSet"]
