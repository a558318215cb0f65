"""The command line options, and how they stay out of other people's way.

Each option has a name that nobody else uses (`--drainproof-target`) and a short one (`--target`). The safe names are
registered as usual. A short name is what others use too: a conftest that adds `--target` where a plugin has it already
ends the whole run with a ValueError. So a short name is registered as late as possible, after the initial conftests
were loaded, and only when it stands on the command line and nobody else knows it: in a run that does not use it, it
does not exist, and no conftest however deep in the tree can collide with it. pytest itself says which arguments nobody
knows (`parse_known_and_unknown_args`), so no other plugin's options have to be looked at.

Considered and lost: registering early and taking our option away when another one comes (argparse can resolve
conflicts, pytest's own bookkeeping of them cannot), and reading `sys.argv` (misses PYTEST_ADDOPTS and `@files`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SAFE = "--drainproof-"
DEFAULT_REPORT_FOLDER = "drainproof-report"

SHORT_NAMES = pytest.StashKey[frozenset[str]]()
"""The short names that are ours in this run."""

SCENARIOS_ONLY = pytest.StashKey[bool]()
"""Whether the command line names no test paths, so that only scenarios run."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option under its two names."""

    name: str
    metavar: str
    help: str

    @property
    def safe(self) -> str:
        """The name that is always there."""
        return SAFE + self.name

    @property
    def short(self) -> str:
        """The name that is there unless somebody else has it."""
        return "--" + self.name

    @property
    def dest(self) -> str:
        """Where the value is, under either name."""
        return "drainproof_" + self.name.replace("-", "_")


TARGET = Option(
    name="target",
    metavar="FOLDER",
    help="Judge the server in FOLDER (or described by this TOML file). Without test paths, only scenarios run.",
)
EVIDENCE = Option(
    name="evidence",
    metavar="DIR",
    help="Judge the saved evidence in DIR (a report folder, or one run in its evidence/) again, without the server.",
)
REPORT_DIR = Option(
    name="report-dir",
    metavar="DIR",
    help=f"Write results.json, junit.xml, certificate.html and the evidence to DIR (default: {DEFAULT_REPORT_FOLDER}).",
)
LAUNCH = Option(
    name="launch",
    metavar="MODE",
    help="Launch the target as a process, in a container, or as a systemd unit (emulated), as its manifest declares.",
)
GATE = Option(
    name="gate",
    metavar="RULE",
    help="What makes the run fail: must (anything red), must+should (notes as well), or no-regression:BASELINE (what "
    "is worse than in this results.json or report folder).",
)
KNOWN_FAILURES = Option(
    name="known-failures",
    metavar="FILE",
    help="Failures that this TOML file declares as known stay failures, and do not make the run fail.",
)
RERUN_FAILED = Option(
    name="rerun-failed",
    metavar="DIR",
    help="Run only the checks that were red in this results.json or report folder.",
)
REPEAT = Option(
    name="repeat",
    metavar="N",
    help="Run each scenario N times, and say how sure the result is.",
)
OPTIONS = (TARGET, EVIDENCE, REPORT_DIR, LAUNCH, GATE, KNOWN_FAILURES, RERUN_FAILED, REPEAT)

MOST_REPETITIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the options ask for. Exactly one of `target` and `evidence` is set; paths are absolute."""

    target: Path | None
    evidence: Path | None
    report_folder: Path
    launch: str | None
    """The launch mode that was asked for."""
    gate: str | None
    """The rule of the gate, as the user wrote it; so are the next two."""
    known_failures: str | None
    rerun_failed: str | None
    repeat: int
    """How often each scenario runs."""
    options: tuple[str, ...]
    """The options that say what is judged, as they are written in this run."""
    given: str
    """The value of `--target` or `--evidence` as the user wrote it."""
    name: str
    """The option's name in this run: the short one where it is ours."""
    scenarios_only: bool


def add_safe_names(parser: pytest.Parser) -> None:
    """Registers the names that nobody else uses."""
    group = parser.getgroup("drainproof", "drainproof: does this server keep its promises when it is killed?")
    for option in OPTIONS:
        note = f" Also {option.short}, unless a conftest or another plugin has an option of that name."
        group.addoption(option.safe, dest=option.dest, metavar=option.metavar, default=None, help=option.help + note)


def are_in_play(config: pytest.Config, args: Sequence[str]) -> bool:
    """Whether any option of ours can be meant at all: if not, the arguments are not even parsed once more."""
    names = [name for option in OPTIONS for name in (option.short, option.safe)]
    return config.known_args_namespace.help or any(
        str(arg).startswith("@") or any(name in str(arg) for name in names) for arg in args
    )


def add_short_names(config: pytest.Config, parser: pytest.Parser, args: Sequence[str]) -> None:
    """Registers each short name that `args` use and nobody knows; for `--help`, each that nobody knows."""
    if config.known_args_namespace.help:
        free = [option for option in OPTIONS if _is_free(config, parser, option.short)]
    else:
        unknown = _unknown(config, parser, args)
        free = [o for o in OPTIONS if any(u == o.short or u.startswith(o.short + "=") for u in unknown)]
    group = parser.getgroup("drainproof")
    for option in free:
        group.addoption(
            option.short, dest=option.dest, metavar=option.metavar, default=None, help=f"Short for {option.safe}."
        )
    config.stash[SHORT_NAMES] = frozenset(option.short for option in free)


def _unknown(config: pytest.Config, parser: pytest.Parser, args: Sequence[str]) -> list[str]:
    """The arguments that no option takes; one with a space in its value passes for a path."""
    known, unknown = parser.parse_known_and_unknown_args(list(args), namespace=copy.copy(config.option))
    return unknown + [path for path in known.file_or_dir if str(path).startswith("--")]


def _is_free(config: pytest.Config, parser: pytest.Parser, name: str) -> bool:
    try:
        return bool(_unknown(config, parser, [f"{name}=x"]))
    except pytest.UsageError:  # somebody knows it, and does not like the value
        return False


def leave_out_addopts(
    config: pytest.Config, parser: pytest.Parser, args: list[str], in_scenarios: Callable[[str], bool]
) -> None:
    """In a run of scenarios alone, takes `addopts` of the user's configuration file out of `args` (in place).

    They are made for the user's own tests: `-m unit` would deselect every scenario, `-n auto` would measure under load,
    `--cov-fail-under=90` would turn a conforming server red. Options of ours among them stay, and so does everything
    from the command line and PYTEST_ADDOPTS. `in_scenarios` tells whether an argument names a scenario, which is no
    path of the user's. Plugins that read their options early see the change in the namespace that they hold.
    """
    addopts = list(config.getini("addopts"))
    ours = args[len(addopts) :] if args[: len(addopts)] == addopts else list(args)
    everything = parser.parse_known_args(args, namespace=copy.copy(config.option))
    if not any(getattr(everything, option.dest) for option in (TARGET, EVIDENCE)):
        return
    without = parser.parse_known_args(ours, namespace=copy.copy(config.option))
    config.stash[SCENARIOS_ONLY] = all(in_scenarios(path) for path in without.file_or_dir)
    if not config.stash[SCENARIOS_ONLY] or len(ours) == len(args):
        return
    for option in OPTIONS:
        value = getattr(everything, option.dest)
        if value is not None and getattr(without, option.dest) is None:
            ours.insert(0, f"{option.safe}={value}")
    args[:] = ours
    known = config.known_args_namespace
    confcutdir = known.confcutdir
    vars(known).update(vars(parser.parse_known_args(ours, namespace=copy.copy(config.option))))
    known.confcutdir = confcutdir


def wanted(config: pytest.Config) -> Wanted | None:
    """What the options ask for; None in a run that has nothing to do with drainproof. Raises UsageError."""
    target, evidence = config.getoption(TARGET.dest), config.getoption(EVIDENCE.dest)
    if target is None and evidence is None:
        _refuse_without_target(config)
        return None
    if target is not None and evidence is not None:
        raise pytest.UsageError(
            f"{name_of(config, TARGET)} and {name_of(config, EVIDENCE)} exclude each other: saved evidence says itself "
            "what the target was. Leave one of them out."
        )
    launch = config.getoption(LAUNCH.dest)
    if evidence is not None and launch is not None:
        raise pytest.UsageError(
            f"{name_of(config, LAUNCH)} has no meaning with {name_of(config, EVIDENCE)}, since nothing is launched. "
            "Leave it out."
        )
    option, given = (EVIDENCE, evidence) if target is None else (TARGET, target)
    if not given:
        raise pytest.UsageError(f"{name_of(config, option)} needs a folder, got an empty value")
    here = config.invocation_params.dir
    return Wanted(
        target=None if target is None else here / target,
        evidence=None if evidence is None else here / evidence,
        report_folder=here / (config.getoption(REPORT_DIR.dest) or DEFAULT_REPORT_FOLDER),
        launch=launch,
        gate=config.getoption(GATE.dest),
        known_failures=config.getoption(KNOWN_FAILURES.dest),
        rerun_failed=config.getoption(RERUN_FAILED.dest),
        repeat=_repetitions(config, evidence),
        options=(
            f"{name_of(config, option)}={given}",
            *([] if launch is None else [f"{name_of(config, LAUNCH)}={launch}"]),
        ),
        given=given,
        name=name_of(config, option),
        scenarios_only=config.stash.get(SCENARIOS_ONLY, False),
    )


def _refuse_without_target(config: pytest.Config) -> None:
    """Raises UsageError where somebody asks for a gate, and for nothing that could be judged.

    Only on the command line: in a configuration file or PYTEST_ADDOPTS, an option is there for other runs as well.
    """
    names = {name_of(config, option) for option in (GATE, KNOWN_FAILURES, RERUN_FAILED, REPEAT)}
    for argument in map(str, config.invocation_params.args):
        if argument.partition("=")[0] in names:
            raise pytest.UsageError(
                f"{argument} is about a server: add {TARGET.short}=FOLDER, or {EVIDENCE.short}=DIR, whose evidence is "
                "judged again. Without one of them nothing is judged."
            )


def _repetitions(config: pytest.Config, evidence: str | None) -> int:
    """How often each scenario runs; saved evidence says itself how often it did. Raises UsageError."""
    given = config.getoption(REPEAT.dest)
    if given is None:
        return 1
    name = name_of(config, REPEAT)
    if evidence is not None:
        raise pytest.UsageError(
            f"{name} has no meaning with {name_of(config, EVIDENCE)}: what was run is judged again, as often as it was "
            "run. Leave it out."
        )
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= MOST_REPETITIONS):
        raise pytest.UsageError(f"{name}={given}: expected a number from 1 to {MOST_REPETITIONS}")
    return int(given)


def name_of(config: pytest.Config, option: Option) -> str:
    """The name under which the option is ours in this run."""
    return option.short if option.short in config.stash.get(SHORT_NAMES, frozenset()) else option.safe
