"""Found first on PYTHONPATH: starts the shim, then becomes the `sitecustomize` that would be imported without it."""

import os
import sys

from drainproof_shim import bootstrap

bootstrap.start()


def _become_the_next() -> None:
    """Import the next `sitecustomize` on `sys.path`; without one, fail as an import of a missing module does.

    `site` takes an ImportError of that name as "there is none", so that whoever imports `sitecustomize` later sees
    exactly what it would see without us; an exception in the other file is its own, too.
    """
    # The import system itself, which is imported already (`importlib.machinery` is not).
    from _frozen_importlib import _load  # type: ignore[attr-defined]
    from _frozen_importlib_external import PathFinder

    here = os.path.realpath(os.path.dirname(__file__))
    others = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != here]
    for finder in list(sys.meta_path):
        find_spec = getattr(finder, "find_spec", None)
        spec = find_spec("sitecustomize", others if finder is PathFinder else None) if find_spec else None
        if spec is not None and spec.loader is not None:
            _load(spec)
            return
    raise ModuleNotFoundError("No module named 'sitecustomize'", name="sitecustomize")


_become_the_next()
