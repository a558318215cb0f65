"""The entry point: puts the parts together."""

from __future__ import annotations

import gc
import logging
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from model_server.application import Application
from model_server.connection import Connection
from model_server.http_service import HttpService
from model_server.listener import Listener
from model_server.model import Model, ModelError
from model_server.platforms import choose_event_loop
from model_server.server import Server
from model_server.settings import Settings
from model_server.supervisor import Supervisor

if TYPE_CHECKING:
    from model_server.grpc_service import GrpcService

log = logging.getLogger("model_server")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The classes that a server is made of. A broken reference server replaces one of them."""

    application: type[Application] = Application
    connection: type[Connection] = Connection
    grpc: type[GrpcService] | None = None
    """None: the ordinary one, imported only where gRPC is spoken."""
    http: type[HttpService] = HttpService
    listener: type[Listener] = Listener
    model: type[Model] = Model
    server: type[Server] = Server
    supervisor: type[Supervisor] = Supervisor


def main(parts: Parts = Parts()) -> NoReturn:
    """Runs the server that the command line describes, and exits with its status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    choose_event_loop()
    status = run(settings=Settings.read(), parts=parts)
    gc.freeze()  # else the interpreter looks through all objects once more: most of the time that it needs to end
    sys.exit(status)


def run(*, settings: Settings, parts: Parts) -> int:
    """Binds first, because a taken port should not cost a model's loading time; then loads, then serves."""
    try:
        listeners = bind(settings=settings, parts=parts)
    except OSError as error:
        log.error("%s", error)
        return 1
    if settings.workers > 1 and settings.channel_fd is None:
        return parts.supervisor(settings=settings, listeners=listeners).run()
    try:
        model = parts.model.load(path=settings.model_path, seconds=settings.model_load)
    except ModelError as error:
        log.error("%s", error)
        return 1
    except BaseException as error:
        log.error("cannot load the model: %r", error, exc_info=error)
        return 1
    application = parts.application(model=model)
    application.restarts = settings.restarts.describe()
    http = parts.http(settings=settings, application=application, listener=listeners[0], connection=parts.connection)
    others = [
        grpc_service(parts)(settings=settings, application=application, listener=listener) for listener in listeners[1:]
    ]
    server = parts.server(settings=settings, application=application, http=http, others=others)
    server.run()
    for name, failure in server.failures.items():
        log.error("stopped because %s failed: %r", name, failure)
    return 1 if server.failures else 0


def bind(*, settings: Settings, parts: Parts) -> list[Listener]:
    """The listening socket of each protocol, HTTP first. Raises OSError that names the port."""
    ports = [(settings.port, settings.listener_fd), (settings.grpc_port, settings.grpc_listener_fd)]
    listeners = []
    for port, fd in ports:
        if port is None:
            continue
        try:
            if fd is not None:
                listeners.append(parts.listener(sock=socket.socket(fileno=fd), shared=True))
            else:
                listeners.append(parts.listener.bind(host=settings.host, port=port))
        except OSError as error:
            why = error.strerror or error
            raise OSError(f"cannot listen on {settings.host}:{port}: {why}") from error
    return listeners


def grpc_service(parts: Parts) -> type[GrpcService]:
    """The class that serves gRPC."""
    if parts.grpc is not None:
        return parts.grpc
    from model_server.grpc_service import GrpcService  # noqa: PLC0415

    return GrpcService
