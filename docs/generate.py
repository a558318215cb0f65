"""Writes the parts of the reference that are derived from code: the requirements and the kill matrix.

python docs/generate.py            writes them
python docs/generate.py --check    exit status 1 where a file is not up to date
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import drainproof_scenarios
from drainproof.requirement import catalogue

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.real.matrix import declared, defect, servers  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"


def checks() -> dict[str, list[str]]:
    """Requirement id → the scenario classes that check it."""
    found: dict[str, list[str]] = {}
    for module in iter_modules(drainproof_scenarios.__path__):
        if module.name.startswith("_"):
            continue
        for name, scenario in inspect.getmembers(import_module(f"drainproof_scenarios.{module.name}"), inspect.isclass):
            if not name.startswith("Test"):
                continue
            for _, check in inspect.getmembers(scenario, inspect.isfunction):
                if requirement := getattr(check, "drainproof_requirement", None):
                    found.setdefault(requirement, []).append(name)
    return found


def requirements() -> str:
    """The catalogue as Markdown."""
    tested = checks()
    lines = [
        "# Requirements",
        "",
        "What a model server is held to. **MUST** decides the outcome; **SHOULD** becomes a note. Ids are stable: a",
        "rule may be sharpened, an id is never used again. Generated from the catalogue by `docs/generate.py`.",
    ]
    family = None
    for requirement in catalogue().values():
        if requirement.family != family:
            family = requirement.family
            lines += ["", f"## {family}"]
        where = ", ".join(f"`{name}`" for name in dict.fromkeys(tested.get(requirement.id, [])))
        lines += [
            "",
            f"### {requirement.id} · {requirement.title}",
            "",
            f"**{requirement.level}.** {requirement.rule}",
            "",
            f"*Why:* {requirement.source}",
            "",
            f"*Checked by:* {where or 'nothing yet'}",
        ]
    return "\n".join(lines) + "\n"


def kill_matrix() -> str:
    """Which broken reference server fails which requirement, as Markdown."""
    broken = servers()
    lines = [
        "# The kill matrix",
        "",
        "Each broken reference server fails exactly the requirements in its row, and `conforming/` fails none;",
        "`pytest -m real` checks the whole table. Generated from `reference_servers/broken/*/expected.toml` by",
        "`docs/generate.py`.",
        "",
        "| requirement | failed by |",
        "|---|---|",
    ]
    order = list(catalogue())
    rows: dict[str, list[str]] = {}
    for server in broken:
        for requirement in declared(server)["fails"]:
            rows.setdefault(requirement, []).append(f"`{server.name}`")
    lines += [f"| {requirement} | {', '.join(rows[requirement])} |" for requirement in sorted(rows, key=order.index)]
    lines += ["", "## The defects", ""]
    lines += [
        f"* `{server.name}` (fails {', '.join(declared(server)['fails'])}): {defect(server)}" for server in broken
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks the files; returns the exit status."""
    stale = []
    for name, text in (("requirements.md", requirements()), ("kill-matrix.md", kill_matrix())):
        path = REFERENCE / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stdout.write(f"{'not up to date' if '--check' in sys.argv else 'written'}: {', '.join(stale)}\n")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
