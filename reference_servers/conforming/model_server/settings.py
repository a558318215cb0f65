"""What can be set from outside: the command line, and two environment variables for the model."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

from model_server.restarts import RestartPolicy

MODEL = Path(__file__).with_name("model.json")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One server's settings. Times are seconds."""

    port: int
    grpc_port: int | None = None
    """None: it speaks HTTP alone, and gRPC's library is not even imported."""
    workers: int = 1
    host: str = "127.0.0.1"
    model_path: Path = MODEL
    model_load: float = 0.1
    """How long loading the model takes."""
    lame_duck: float = 0.4
    """How long the server still accepts connections after it has said that it is going."""
    drain_bound: float = 2.5
    """When, counted from the stop signal, whatever is still unfinished is cut."""
    quiet: float = 0.4
    """How long a connection must have been silent before the draining server closes it."""
    restarts: RestartPolicy = field(default_factory=RestartPolicy)
    """What becomes of a worker that dies."""
    listener_fd: int | None = None
    grpc_listener_fd: int | None = None
    channel_fd: int | None = None
    """Given in a worker of several: the inherited listening sockets, and the line to the supervisor."""

    @classmethod
    def read(cls) -> Settings:
        """From the command line and the environment."""
        parser = argparse.ArgumentParser(description="A small model server.")
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--grpc-port", type=int)
        parser.add_argument("--host", default=cls.host)
        parser.add_argument("--workers", type=int, default=cls.workers)
        parser.add_argument("--lame-duck", type=float, default=cls.lame_duck)
        parser.add_argument("--drain-bound", type=float, default=cls.drain_bound)
        parser.add_argument("--listener-fd", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--grpc-listener-fd", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--channel-fd", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--restart-delay", type=float, default=RestartPolicy.first_delay)
        parser.add_argument("--max-restarts", type=int, default=RestartPolicy.max_restarts)
        given = vars(parser.parse_args())
        restarts = RestartPolicy(first_delay=given.pop("restart_delay"), max_restarts=given.pop("max_restarts"))
        return cls(
            **given,
            restarts=restarts,
            model_path=Path(os.environ.get("MODEL_PATH", cls.model_path)),
            model_load=float(os.environ.get("MODEL_LOAD_SECONDS", cls.model_load)),
        )
