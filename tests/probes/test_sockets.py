"""Sockets: what a snapshot says of real connections in each state."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from drainproof.probes import socket_tables, sockets
from drainproof.probes.sockets import ServerSocket, Snapshot


@pytest.fixture(params=["sock_diag", "proc"], autouse=True)
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything must come out the same from both sources of the kernel."""
    monkeypatch.setattr(socket_tables, "rows", lambda *, port=None, **kw: chosen(port=port, **kw))
    chosen = getattr(socket_tables, request.param)
    return str(request.param)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(stack: ExitStack, *, backlog: int = 8, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    server = stack.enter_context(socket.socket(family))
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("127.0.0.1" if family == socket.AF_INET else "::", 0))
    server.listen(backlog)
    return server


def connect(stack: ExitStack, server: socket.socket, host: str = "127.0.0.1") -> socket.socket:
    return stack.enter_context(socket.create_connection((host, server.getsockname()[1]), timeout=5))


def port_of(a_socket: socket.socket) -> int:
    return int(a_socket.getsockname()[1])


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, "the condition did not come true"
        time.sleep(0.005)


def end_of(client: socket.socket, server: socket.socket) -> ServerSocket | None:
    return sockets.HERE.snapshot(port=port_of(server)).sockets.get(port_of(client))


def test_a_connection_in_the_accept_queue_is_not_accepted(stack: ExitStack) -> None:
    server = listen(stack)
    client = connect(stack, server)
    client.sendall(b"x" * 100)
    wait_until(lambda: (end := end_of(client, server)) is not None and end.unread == 100)
    seen = sockets.HERE.snapshot(port=port_of(server))
    assert seen.backlog == 1
    assert seen.sockets[port_of(client)].accepted is False
    assert seen.sockets[port_of(client)].taken is False
    assert seen.sockets[port_of(client)].state == "ESTABLISHED"


def test_an_accepted_connection_shows_what_the_application_has_not_read(stack: ExitStack) -> None:
    server = listen(stack)
    client = connect(stack, server)
    client.sendall(b"x" * 100)
    end = stack.enter_context(server.accept()[0])
    wait_until(lambda: end_of(client, server).unread == 100)  # type: ignore[union-attr]
    assert len(end.recv(60)) == 60
    seen = end_of(client, server)
    assert seen.inode > 0
    assert seen == ServerSocket(
        client_port=port_of(client), state="ESTABLISHED", accepted=True, unread=40, inode=seen.inode
    )
    end.recv(40)
    assert end_of(client, server).taken  # type: ignore[union-attr]


def test_the_end_of_file_is_not_a_byte(stack: ExitStack) -> None:
    server = listen(stack)
    client = connect(stack, server)
    end = stack.enter_context(server.accept()[0])
    client.sendall(b"x" * 10)
    client.shutdown(socket.SHUT_WR)
    wait_until(lambda: end_of(client, server).state == "CLOSE_WAIT")  # type: ignore[union-attr]
    assert end_of(client, server).unread == 10  # type: ignore[union-attr]
    end.recv(10)
    assert end_of(client, server).taken  # type: ignore[union-attr]
    assert end.recv(10) == b""
    assert end_of(client, server).taken  # type: ignore[union-attr]


def test_an_end_that_the_server_has_closed_had_been_accepted(stack: ExitStack) -> None:
    server = listen(stack)
    client = connect(stack, server)
    server.accept()[0].close()
    seen = end_of(client, server)
    assert seen is not None
    assert seen.state in ("FIN_WAIT1", "FIN_WAIT2")
    assert seen.accepted


def test_connections_that_are_over_are_left_out(stack: ExitStack) -> None:
    server = listen(stack)
    client = connect(stack, server)
    port = port_of(client)
    server.accept()[0].close()
    client.close()
    wait_until(lambda: port not in sockets.HERE.snapshot(port=port_of(server)).sockets)


def test_the_ends_of_an_ipv4_client_at_a_dual_stack_listener(stack: ExitStack) -> None:
    server = listen(stack, family=socket.AF_INET6)
    client = connect(stack, server)
    other = connect(stack, server, host="::1")
    client.sendall(b"abc")
    wait_until(lambda: (end := end_of(client, server)) is not None and end.unread == 3)
    assert port_of(other) not in sockets.HERE.snapshot(port=port_of(server)).sockets
    assert port_of(other) in sockets.HERE.snapshot(port=port_of(server), host="::1").sockets
    (listener,) = sockets.HERE.listeners(ports={port_of(server)})
    assert (listener.address, listener.backlog) == ("::", 2)


def test_a_client_that_found_the_accept_queue_full_has_no_end_at_the_server(stack: ExitStack) -> None:
    server = listen(stack, backlog=0)
    inside = connect(stack, server)
    outside = stack.enter_context(socket.socket())
    outside.setblocking(False)
    outside.connect_ex(("127.0.0.1", port_of(server)))
    seen = sockets.HERE.snapshot(port=port_of(server))
    assert seen.backlog == 1
    assert set(seen.sockets) == {port_of(inside)}


def test_listeners_come_and_go(stack: ExitStack) -> None:
    first, second = listen(stack), listen(stack)
    ports = {port_of(first), port_of(second)}
    found = sockets.HERE.listeners(ports=ports)
    assert {one.port for one in found} == ports
    assert {one.inode for one in found} == {os.fstat(s.fileno()).st_ino for s in (first, second)}
    assert {one.address for one in found} == {"127.0.0.1"}
    assert ports <= {one.port for one in sockets.HERE.listeners(ports=None)}
    first_port = port_of(first)
    first.close()
    assert sockets.HERE.listeners(ports={first_port}) == []


def test_each_socket_of_a_shared_port_is_listed(stack: ExitStack) -> None:
    first = stack.enter_context(socket.socket())
    second = stack.enter_context(socket.socket())
    for one in (first, second):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", port_of(first) if one is second else 0))
        one.listen()
    assert len(sockets.HERE.listeners(ports={port_of(first)})) == 2


def test_the_owner_of_a_listener_is_found_by_its_inode(stack: ExitStack) -> None:
    server = listen(stack)
    inode = os.fstat(server.fileno()).st_ino
    child = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-S", "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[server.fileno()],
        )
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert sockets.owners(inodes={inode, 1}, pids=[os.getpid(), child.pid]) == {
        inode: {os.getpid(), child.pid},
        1: set(),
    }
    child.communicate(b"\n")
    assert sockets.owners(inodes={inode}, pids=[os.getpid(), child.pid]) == {inode: {os.getpid()}}


def test_a_snapshot_survives_json(stack: ExitStack) -> None:
    server = listen(stack)
    connect(stack, server)
    taken = sockets.HERE.snapshot(port=port_of(server))
    assert len(taken.sockets) == 1
    assert taken.t0 <= taken.t
    assert Snapshot.from_json(taken.to_json()) == taken


def test_without_netlink_the_kernel_is_asked_through_proc(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    server = listen(stack)
    monkeypatch.undo()
    monkeypatch.setattr(socket_tables, "_NETLINK_SOCK_DIAG", 31)  # a protocol that no kernel has
    assert [one.port for one in sockets.HERE.listeners(ports={port_of(server)})] == [port_of(server)]
