"""Removes what a target left in its TMPDIR.

Why not `shutil`: its import would cost the keeper 10 ms at every launch.
"""

from __future__ import annotations

import os
from contextlib import suppress


def remove_folder(path: str) -> None:
    """Removes a folder with all that is in it, also where its owner has locked himself out. Never raises."""
    for _ in range(2):
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        remove_folder(entry.path)
                    else:
                        with suppress(OSError):
                            os.unlink(entry.path)  # noqa: PTH108 (pathlib is not imported in the keeper)
            os.rmdir(path)  # noqa: PTH106
            return
        except FileNotFoundError:
            return
        except OSError:
            with suppress(OSError):
                os.chmod(path, 0o700)  # noqa: PTH101
