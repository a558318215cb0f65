"""The manifest of digests: what belongs to the evidence of one run, so that a later change to it is found.

`digests.json` in the evidence folder has the size and the SHA-256 of each other file below it, and beside them what a
run says of itself that no check can find again by judging the evidence: when it began and how long it took, its command
and its versions, whether it reached its end, how many checks were left out, what the gate said, which failures were
declared as known. `results.json` carries the SHA-256 of the manifest (`Results.bundle`), so
that the chain is closed from the verdicts down to the last line of a ledger. It shows changes; who made the bundle, it
cannot show: that is what a signature over `results.json` is for.

Evidence is plain files in plain folders. Anything else in there (a symbolic link, a socket, a device) is no evidence:
it could point to what is not in the bundle, or block whoever reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from drainproof.errors import UserError
from drainproof.text import json_value
from drainproof.verdict import Results

MANIFEST = "digests.json"
FORMAT = 1
BLOCK = 1 << 20

LATER = ("command", "seconds", "versions", "stale", "told")
"""Facts that older manifests do not have."""

Kind = Literal[
    "manifest-missing",
    "manifest-damaged",
    "manifest-changed",
    "results-changed",
    "file-missing",
    "file-changed",
    "file-added",
    "not-a-file",
    "outside",
]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not as the manifest has it."""

    kind: Kind
    path: str
    """Relative to the evidence folder; empty where it is about the whole."""
    text: str
    """For the user, as it is."""


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What the manifest says of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run says of itself, and the evidence does not."""

    drainproof: str
    specification: str
    started: str
    aborted: bool
    deselected: int
    gate: dict[str, Any] | None
    """What was asked of the run, and whether it held; None where nothing was."""
    # These came later: None in the manifest of a run that did not have them.
    command: str | None = None
    seconds: float | None = None
    versions: dict[str, Any] | None = None
    stale: list[Any] | None = None
    told: str | None = None
    """SHA-256 of what the verdicts say of that run alone: how long each took, how to repeat it, what is known of it."""

    @staticmethod
    def of(results: Results) -> RunFacts:
        """Those of `results`, as JSON holds them: `results.json` read back gives the same."""
        told = [
            [v.scenario, v.check, v.duration, v.repeat, None if v.known is None else asdict(v.known)]
            for v in results.verdicts
        ]
        facts = RunFacts(
            drainproof=str(results.versions.get("drainproof", "")),
            specification=results.specification,
            started=results.started,
            aborted=results.aborted,
            deselected=results.deselected,
            gate=None if results.gate is None else asdict(results.gate),
            command=results.command,
            seconds=results.seconds,
            versions=results.versions,
            stale=[asdict(stale) for stale in results.stale],
            told=hashlib.sha256(json.dumps(json_value(told)).encode("ascii")).hexdigest(),
        )
        return RunFacts(**json_value(asdict(facts)))


def write(folder: Path, *, results: Results) -> str | None:
    """Writes the manifest of the evidence in `folder`, and gives its SHA-256; None where there is no evidence.

    Raises OSError where something cannot be read or written, and UserError for what is no plain file.
    """
    files: dict[str, dict[str, Any]] = {}
    for path, kind in _walk(folder):
        if kind != "file":
            raise UserError(f"{folder / path} is {kind}, and evidence is plain files: remove it")
        if path != MANIFEST:
            files[path] = asdict(_digest(folder / path))
    if not files:
        return None
    content = {"format": FORMAT, "run": asdict(RunFacts.of(results)), "files": files}
    data = (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode("ascii")
    temporary = folder / f".{MANIFEST}.tmp"
    try:
        temporary.write_bytes(data)
        temporary.replace(folder / MANIFEST)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return hashlib.sha256(data).hexdigest()


def of_manifest(folder: Path) -> str | None:
    """The SHA-256 of the manifest in `folder`; None where there is none. Raises OSError."""
    try:
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def verify(folder: Path, *, results: Results) -> list[Problem]:
    """What is not as it was when the run ended; empty where all of it is. Reads plain files alone.

    `results.bundle` says which manifest is the right one; without a bundle, that is a problem as well.
    """
    if _kind(folder / MANIFEST) is None:
        text = f"{MANIFEST} is missing: the run did not reach its end, or the file was removed"
        return [Problem(kind="manifest-missing", path=MANIFEST, text=text)]
    if (kind := _kind(folder / MANIFEST)) != "file":
        return [Problem(kind="not-a-file", path=MANIFEST, text=f"{MANIFEST} is {kind}")]
    try:
        data = (folder / MANIFEST).read_bytes()
        content = json.loads(data)
        if content["format"] != FORMAT:
            text = f"{MANIFEST} has format {content['format']!r}, this version reads {FORMAT}"
            return [Problem(kind="manifest-damaged", path=MANIFEST, text=text)]
        run = RunFacts(**content["run"])
        files = {str(path): Digest(**entry) for path, entry in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        text = f"{MANIFEST} cannot be read: {type(error).__name__}: {error}"
        return [Problem(kind="manifest-damaged", path=MANIFEST, text=text)]
    problems = [*_of_bundle(data, run, results)]
    there = dict(_walk(folder))
    problems += [problem for path, digest in files.items() for problem in _of_file(folder, path, digest, there)]
    for path, kind in there.items():
        if kind != "file":
            problems.append(
                Problem(kind="not-a-file", path=path, text=f"{path} is {kind}, and evidence is plain files")
            )
        elif path not in files and path != MANIFEST:
            problems.append(Problem(kind="file-added", path=path, text=f"{path} is not in {MANIFEST}: it was added"))
    return problems


def _of_bundle(data: bytes, run: RunFacts, results: Results) -> Iterator[Problem]:
    if results.bundle is None:
        yield Problem(
            kind="manifest-changed", path=MANIFEST, text=f"the results name no bundle, but there is a {MANIFEST}"
        )
    elif hashlib.sha256(data).hexdigest() != results.bundle.digests:
        yield Problem(
            kind="manifest-changed",
            path=MANIFEST,
            text=f"{MANIFEST} is not the one that the results name: its SHA-256 is {hashlib.sha256(data).hexdigest()}, "
            f"not {results.bundle.digests}",
        )
    said = asdict(RunFacts.of(results))
    for name, value in asdict(run).items():
        if said[name] == value or (value is None and name in LATER):
            continue
        text = f"the results say {name} = {said[name]!r}, the run had {value!r}"
        if name == "told":
            text = "the results say of a verdict another duration, repeat or known than the run had"
        yield Problem(kind="results-changed", path="", text=text)


def _of_file(folder: Path, path: str, digest: Digest, there: dict[str, str]) -> Iterator[Problem]:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        yield Problem(kind="outside", path=path, text=f"{MANIFEST} names {path}, which is outside of the folder")
        return
    if path not in there:
        yield Problem(kind="file-missing", path=path, text=f"{path} is missing")
        return
    if there[path] != "file":
        return  # is told of with everything else that is no file
    try:
        now = _digest(folder / path)
    except OSError as error:
        yield Problem(kind="file-changed", path=path, text=f"{path} cannot be read: {error.strerror}")
        return
    if now.size != digest.size:
        text = f"{path} was changed: it has {now.size} bytes, and had {digest.size}"
        yield Problem(kind="file-changed", path=path, text=text)
    elif now.sha256 != digest.sha256:
        yield Problem(kind="file-changed", path=path, text=f"{path} was changed: it has another SHA-256")


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """What is below `folder`, folders left out, by relative path, with its kind. Follows no links. Raises OSError."""
    for root, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        below = Path(root)
        links = [name for name in folders if (below / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = below / name
            kind = _kind(path)
            if kind is not None:
                yield path.relative_to(folder).as_posix(), kind


def _raise(error: OSError) -> None:
    raise error


def _kind(path: Path) -> str | None:
    """What is at `path`, in words; None where there is nothing."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    kinds = {stat.S_IFREG: "file", stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO"}
    return kinds.get(stat.S_IFMT(mode), "a socket or a device")


def _digest(path: Path) -> Digest:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return Digest(size=size, sha256=digest.hexdigest())
