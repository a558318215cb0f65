"""What stands between the clients and a published port."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from drainproof.probes.sockets import HERE, Namespace
from drainproof.target.container import relays


@pytest.fixture
def proxy(tmp_path):
    """A real process that the machine shows as docker-proxy."""
    program = tmp_path / "docker-proxy"
    program.symlink_to(sys.executable)
    code = "import sys; print(flush=True); sys.stdin.read()"
    words = ["-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", "41234", "-container-port", "8765"]
    process = subprocess.Popen(
        [str(program), "-c", code, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHOME": sys.base_prefix},
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.communicate()


def test_docker_proxy_is_found_by_the_port_outside(proxy):
    assert relays.docker_proxy(port=41234)
    assert not relays.docker_proxy(port=8765), "the port inside may be the same number as another one's outside"
    assert not relays.docker_proxy(port=4123)


def test_a_docker_proxy_that_has_ended(proxy, eventually):
    proxy.communicate()
    assert not relays.docker_proxy(port=41234)


# -- any other ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[int]:
    """The port of something that listens, and never accepts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def relay(server: int) -> Iterator[int]:
    """The port of a relay in front of a server: it makes a connection of its own for each that it takes."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        done, wake = socket.socketpair()
        stack.enter_context(done)

        def run() -> None:
            with selectors.DefaultSelector() as selector:
                selector.register(listener, selectors.EVENT_READ)
                selector.register(done, selectors.EVENT_READ)
                while not any(key.fileobj is done for key, _ in selector.select()):
                    stack.enter_context(listener.accept()[0])
                    stack.enter_context(socket.create_connection(("127.0.0.1", server)))

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        wake.close()
        thread.join()


def test_connections_that_arrive_as_they_were_made(server: int) -> None:
    assert not relays.is_relayed(host="127.0.0.1", port=server, sockets=HERE)


def test_connections_that_another_program_makes_anew(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "ARRIVES_WITHIN", 0.3)
    with relay(server) as port:
        assert relays.is_relayed(host="127.0.0.1", port=port, sockets=Namespace(inside={port: server}, own=True))


def test_where_nobody_listens_or_tells_nothing_is_said(server: int) -> None:
    def forbidden(**_: object) -> list[object]:
        raise PermissionError("not yours")

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert not relays.is_relayed(host="127.0.0.1", port=bound.getsockname()[1], sockets=HERE)
    blind = Namespace(rows=forbidden, inside={server: server})  # type: ignore[arg-type]
    assert not relays.is_relayed(host="127.0.0.1", port=server, sockets=blind)
