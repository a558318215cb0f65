"""Which evidence may be read for a certificate, and whether it is what the run left.

A results.json may come from anybody. What it names as evidence is read only inside of the report folder; or outside of
it, as when saved evidence is judged into another folder, only where the results name the digest of the manifest that
lies with it: whoever can name that has seen the evidence before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from drainproof.errors import HarnessError
from drainproof.evidence import digests
from drainproof.text import shortened
from drainproof.verdict import Results

ABOUT_FILES = frozenset({"file-missing", "file-changed", "file-added", "not-a-file", "outside"})
ABOUT_MANIFEST = frozenset({"manifest-missing", "manifest-damaged", "manifest-changed"})
"""What the results say of the run is left to `drainproof check`: judged again, they are of another run rightly."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The evidence of one report."""

    report: Path
    bundle: Path | None
    """The folder that the manifest is about; None where the results name none."""
    manifest: tuple[str, ...] = ()
    """What is wrong with the manifest itself."""
    changed: tuple[tuple[Path, str], ...] = field(default=())
    """Files that are not what the run left, and what is to be said of each."""

    def locate(self, evidence: str) -> Path:
        """The folder of an experiment. Raises HarnessError where it may not be read."""
        folder = (self.report / evidence).resolve()
        if folder.is_relative_to(self.report.resolve()):
            return folder
        if self.bundle is not None and not self.manifest and folder.is_relative_to(self.bundle):
            return folder
        raise HarnessError(
            f"{shortened(evidence, 120)} is outside of the report folder, and no manifest vouches for it"
        )

    def problems(self, folder: Path) -> list[str]:
        """What was changed in the folder of an experiment."""
        return [text for path, text in self.changed if path.is_relative_to(folder)]

    @property
    def elsewhere(self) -> list[str]:
        """What is wrong, whatever experiment it is about."""
        return [*self.manifest, *(text for _, text in self.changed)]


def establish(results: Results, report: Path) -> Provenance:
    """Reads all files of the evidence once, where the results name its manifest; damage is told and not raised."""
    if results.bundle is None:
        return Provenance(report=report, bundle=None)
    try:
        bundle = (report / results.bundle.folder).resolve()
        problems = digests.verify(bundle, results=results)
    except (OSError, ValueError, RecursionError) as error:
        return Provenance(report=report, bundle=None, manifest=(f"the evidence cannot be compared: {error}",))
    return Provenance(
        report=report,
        bundle=bundle,
        manifest=tuple(problem.text for problem in problems if problem.kind in ABOUT_MANIFEST),
        changed=tuple((bundle / p.path, p.text) for p in problems if p.kind in ABOUT_FILES),
    )
