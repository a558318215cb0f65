"""The model: it takes a while to load, works on each request for as long as it is told, and can break for good."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path


class ModelError(Exception):
    """The model cannot be loaded; the text names the file and the reason."""


class Model:
    """Answers every request with its own token."""

    def __init__(self) -> None:
        self.broken = asyncio.Event()

    @classmethod
    def load(cls, *, path: Path, seconds: float) -> Model:
        """Reads the model's file, and blocks for as long as a big one would take. Raises ModelError."""
        try:
            json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ModelError(f"cannot load the model from {path}: {error}") from error
        time.sleep(seconds)
        return cls()

    async def engine(self) -> None:
        """The task that all answers depend on. It runs for ever, or raises when the model breaks."""
        await self.broken.wait()
        raise RuntimeError("the device fell off the bus")

    async def predict(self, *, token: str, seconds: float) -> str:
        """Works for `seconds` and gives the answer, the token itself."""
        await asyncio.sleep(seconds)
        return token
