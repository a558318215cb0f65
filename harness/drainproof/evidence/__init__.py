"""Evidence: what one experiment left behind, read-only, and the digests of it. Nothing here looks beyond its folder."""

from drainproof.evidence.bundle import Evidence
from drainproof.evidence.requests import Fate, Judged, RequestSet

__all__ = ["Evidence", "Fate", "Judged", "RequestSet"]
