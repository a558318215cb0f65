"""The Python files of a server, parsed and never imported: looking at a folder runs nothing of it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

DEEPEST, MOST = 5, 400
"""Levels of folders, and files, that are looked at."""

LEFT_OUT = {"node_modules", "site-packages", "__pycache__", "tests", "test", "docs", "build", "dist"}


@dataclass(frozen=True)
class Module:
    """One file."""

    folder: Path
    """That is looked at."""
    path: Path
    tree: ast.Module

    @property
    def where(self) -> str:
        """Its path as the user sees it."""
        return self.path.relative_to(self.folder).as_posix()

    @cached_property
    def names(self) -> dict[str, str]:
        """What each imported name stands for: `FastAPI` → `fastapi.FastAPI`."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"
        return found

    @cached_property
    def is_program(self) -> bool:
        """Whether it has `if __name__ == "__main__"`."""
        return any(
            isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and "__name__" in ast.dump(node.test)
            for node in self.tree.body
        )

    def meaning(self, node: ast.expr | None) -> str:
        """The full name of what an expression names: `fastapi.FastAPI`; empty for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.names.get(node.id, node.id), *reversed(parts)])

    def calls(self) -> Iterator[ast.Call]:
        """Every call in it."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    @property
    def importable(self) -> tuple[str, str]:
        """The folder to start in, and the dotted name that the module has there.

        The folder is the one above its topmost package. A folder without `__init__.py` is no package, unless the module
        itself imports from it by name.
        """
        parts = [*self.path.relative_to(self.folder).with_suffix("").parts]
        tops = {meaning.partition(".")[0] for meaning in self.names.values()}
        start = len(parts) - 1
        while start and (self.folder.joinpath(*parts[:start]) / "__init__.py").exists():
            start -= 1
        start = next((i for i in range(start) if parts[i] in tops), start)
        if parts[-1] == "__init__":
            parts.pop()
        return "/".join(parts[:start]) or ".", ".".join(parts[start:])


def modules(folder: Path) -> list[Module]:
    """The files below `folder` that can be parsed, those that are nearest first."""
    found: list[Module] = []
    for path in _files(folder):
        try:
            found.append(Module(folder, path, ast.parse(path.read_bytes(), filename=str(path))))
        except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):  # the last for what is too deep
            continue
        if len(found) == MOST:
            break
    return found


def _files(folder: Path) -> list[Path]:
    paths = []
    for root, below, names in os.walk(folder):
        here = Path(root)
        depth = len(here.relative_to(folder).parts)
        if "pyvenv.cfg" in names:
            below.clear()
            continue
        below[:] = [n for n in below if depth < DEEPEST and not n.startswith(".") and n not in LEFT_OUT]
        paths += [here / name for name in names if name.endswith(".py") and not name.startswith(("test_", "conftest"))]
    return sorted(paths, key=lambda path: (len(path.parts), path.as_posix()))


def constant(node: ast.expr | None) -> object:
    """The value of a literal; None for anything else."""
    return node.value if isinstance(node, ast.Constant) else None


def text(node: ast.expr | None) -> str | None:
    """The value of a literal text; None for anything else."""
    value = constant(node)
    return value if isinstance(value, str) else None


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of an argument by name."""
    return next((each.value for each in call.keywords if each.arg == name), None)


def payload_keys(tree: ast.AST) -> list[str]:
    """The texts by which something is looked up (`payload["text"]`): what the server expects to be sent, perhaps."""
    found = [
        node.slice.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ]
    return list(dict.fromkeys(found))


def bodies(keys: Sequence[str], token: str) -> list[dict[str, str]]:
    """JSON objects that could be expected by whom looks up `keys`: all of them together, then each by itself."""
    together = [dict.fromkeys(keys, token)] if len(keys) > 1 else []
    return [*together, *({key: token} for key in keys)]
