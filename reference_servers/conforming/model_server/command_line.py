"""The entry point: puts the parts together."""

from __future__ import annotations

import logging
import socket
import sys
from dataclasses import dataclass
from typing import NoReturn

from model_server.application import Application
from model_server.connection import Connection
from model_server.listener import Listener
from model_server.model import Model, ModelError
from model_server.platforms import choose_event_loop
from model_server.server import Server
from model_server.settings import Settings
from model_server.supervisor import Supervisor

log = logging.getLogger("model_server")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The classes that a server is made of. A broken reference server replaces one of them."""

    application: type[Application] = Application
    connection: type[Connection] = Connection
    listener: type[Listener] = Listener
    model: type[Model] = Model
    server: type[Server] = Server
    supervisor: type[Supervisor] = Supervisor


def main(parts: Parts = Parts()) -> NoReturn:
    """Runs the server that the command line describes, and exits with its status."""
    choose_event_loop()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    sys.exit(run(settings=Settings.read(), parts=parts))


def run(*, settings: Settings, parts: Parts) -> int:
    """Binds first, because a taken port should not cost a model's loading time; then loads, then serves."""
    try:
        if settings.listener_fd is not None:
            listener = parts.listener(sock=socket.socket(fileno=settings.listener_fd), shared=True)
        else:
            listener = parts.listener.bind(host=settings.host, port=settings.port)
        if settings.workers > 1 and settings.channel_fd is None:
            return parts.supervisor(settings=settings, listener=listener).run()
        application = parts.application(model=parts.model.load(path=settings.model_path, seconds=settings.model_load))
        server = parts.server(
            settings=settings, application=application, listener=listener, connection=parts.connection
        )
        server.run()
    except ModelError as error:
        log.error("%s", error)
        return 1
    except OSError as error:
        log.error("cannot listen on %s:%d: %s", settings.host, settings.port, error.strerror or error)
        return 1
    if server.failure is not None:
        log.error("stopped after a fatal error: %r", server.failure)
        return 1
    return 0
