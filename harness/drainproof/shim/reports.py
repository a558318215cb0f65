"""What the shim reported from inside the target, and what follows from it. Pure: a function of the saved file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drainproof.errors import DrainproofError, HarnessError, Inconclusive, Unsupported, UserError
from drainproof.load.ledger import read_lines

REPORTS = "reports.jsonl"

Report = Mapping[str, Any]


@dataclass(frozen=True)
class ShimReports:
    """The reports of one experiment, in the order of their writing."""

    lines: tuple[Report, ...]

    @classmethod
    def read(cls, folder: Path) -> ShimReports:
        """Reads the session folder `folder`; empty where there is none. Raises HarnessError where it is damaged."""
        path = folder / REPORTS
        if not path.exists():
            return cls(())
        lines = tuple(read_lines(path))
        if not all("event" in line and "t" in line and "pid" in line for line in lines):
            raise HarnessError(f"{path} is damaged: it has lines that are no reports")
        return cls(lines)

    def all(self, event: str, *, fault: str | None = None) -> tuple[Report, ...]:
        """The reports of one kind, of one fail point if it is named."""
        return tuple(r for r in self.lines if r["event"] == event and fault in (None, r.get("fault")))

    @property
    def interpreters(self) -> tuple[Report, ...]:
        """Every interpreter that loaded the shim: `pid`, `python`, `executable`, `argv`."""
        return self.all("hello")

    def fired(self, fault: str) -> tuple[Report, ...]:
        """Each time that the fail point fired: `t`, `pid`, `site`, `shot`, `exception`, `where`."""
        return self.all("fired", fault=fault)

    def why_unreachable(self) -> DrainproofError | None:
        """Why no fault inside this target can be made; None where an interpreter of it loaded the shim."""
        trouble = self.all("trouble")
        if trouble:
            return HarnessError(f"the shim failed inside the target: {trouble[0].get('text')}")
        if not self.interpreters:
            return Unsupported(
                "no interpreter of the target loaded drainproof's shim: it is no Python program, or its Python was "
                "started with -I, -E or -S, or with a PYTHONPATH of its own"
            )
        return None

    def why_not_armed(self, fault: str, *, sites: Iterable[str]) -> DrainproofError | None:
        """Why a fail point could not be armed (yet); None where it was."""
        if (why := self.why_unreachable()) is not None or self.all("armed", fault=fault):
            return why
        return self._wrong_site(fault) or _never_imported(fault, tuple(sites))

    def why_not_fired(self, fault: str, *, sites: Iterable[str]) -> DrainproofError:
        """Why a fail point did not fire, in the order in which a user would look for it."""
        why = self.why_not_armed(fault, sites=sites)
        if why is not None:
            return why
        armed = self.all("armed", fault=fault)
        places = ", ".join(sorted({str(r["site"]) for r in armed}))
        pids = ", ".join(str(pid) for pid in sorted({int(r["pid"]) for r in armed}))
        return Inconclusive(f"the fail point {fault!r} was armed at {places} (pid {pids}), but was never reached")

    def _wrong_site(self, fault: str) -> DrainproofError | None:
        """The mistake in a place that somebody wrote; what the shim looks for by itself may be missing."""
        missing = [r for r in self.all("missing", fault=fault) if not r.get("builtin")]
        if not missing:
            return None
        wrong = missing[0]
        near = wrong.get("near") or ()
        hint = f" Did you mean {wrong['module']}:{near[0]}?" if near else ""
        because = wrong.get("because") or f"module {wrong['module']} has no {wrong['name']!r}"
        return UserError(f"the fail point {fault!r} is wrong: {wrong['site']}: {because}.{hint}")


def _never_imported(fault: str, sites: tuple[str, ...]) -> DrainproofError:
    named = [site for site in sites if not site.startswith("@")]
    if named:
        modules = " nor ".join(dict.fromkeys(site.partition(":")[0] for site in named))
        return Inconclusive(f"the fail point {fault!r} was not armed: the target never imported {modules}")
    return Unsupported(
        f"no place for the fault {fault!r} was found in this target; name one in its manifest: "
        f'[fail_points] {fault} = "module:qualified.name"'
    )
