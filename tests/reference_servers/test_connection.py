"""A connection of the conforming server, in this process, where a socket buffer can be made too small for an answer."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from tests.reference_servers.running import CONFORMING

BYTES = 100_000


@pytest.fixture
def model_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(CONFORMING))
    import model_server

    return model_server


def test_it_is_busy_until_the_end_of_its_answer_has_left(model_server: Any) -> None:
    """Else the draining server would take the client that reads slowly for idle, and close before the end."""

    async def play() -> None:
        listener = model_server.Listener.bind(host="127.0.0.1", port=0)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        service = model_server.HttpService(
            settings=model_server.Settings(port=0),
            application=model_server.Application(model=model_server.Model()),
            listener=listener,
            connection=model_server.Connection,
        )
        await service.start()
        service.open()
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.sock.getsockname())
        client.setblocking(False)
        body = json.dumps({"token": "x", "bytes": BYTES}).encode()
        client.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        while not any(connection.answered for connection in service.connections()):
            await asyncio.sleep(0.01)
        [connection] = service.connections()
        assert connection.busy
        read = 0
        while connection.busy:
            read += len(await asyncio.get_running_loop().sock_recv(client, 65536))
        while read < BYTES:
            read += len(await asyncio.get_running_loop().sock_recv(client, 65536))
        connection.close_unless_something_came()
        client.setblocking(True)
        while data := client.recv(65536):
            read += len(data)
        assert read > BYTES
        client.close()
        await listener.close()

    asyncio.run(asyncio.wait_for(play(), 20))
