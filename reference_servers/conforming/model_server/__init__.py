"""A small model server that keeps the promises of its life cycle. Start reading in `server.py`."""

import signal

# Before anything else: no KeyboardInterrupt anywhere. Until the server handles its signals, there is nothing to drain,
# and Ctrl-C ends the process by the signal's default action, as SIGTERM does.
signal.signal(signal.SIGINT, signal.SIG_DFL)

# ruff: noqa: E402
from model_server.application import Application, Exchange
from model_server.command_line import Parts, main
from model_server.connection import Connection
from model_server.http_service import HttpService
from model_server.listener import Listener
from model_server.model import Model, ModelError
from model_server.platforms import STOP_SIGNALS
from model_server.restarts import Slot
from model_server.server import Server
from model_server.settings import Settings
from model_server.supervisor import Supervisor

__all__ = [
    "STOP_SIGNALS",
    "Application",
    "Connection",
    "Exchange",
    "HttpService",
    "Listener",
    "Model",
    "ModelError",
    "Parts",
    "Server",
    "Settings",
    "Slot",
    "Supervisor",
    "main",
]
