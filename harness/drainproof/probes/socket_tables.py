"""The kernel's table of TCP sockets, row by row: the raw material of `sockets`.

There are two sources with the same rows. The first that works is used:

* `SOCK_DIAG` (netlink): the kernel filters by port and by state and sends nothing but the rows asked for.
* `PROC` (/proc/net/tcp and tcp6): text with every socket of the network namespace.

Why netlink won: under load the table is full of TIME_WAIT rows, and /proc writes each of them out for us to throw away.
With 10,000 of them and 50 live connections (Linux 6.18, 2 cores) a snapshot took 0.5 ms by netlink and 9 ms from /proc,
3 ms of these under Python's lock; a look for one listener took 0.03 ms and 0.22 ms, the latter with a read that stops
at the first row which is no listener. A short look matters twice: a snapshot dates the fault only as precisely
as it is short, and the listener is looked at fifty times a second on the machine that also runs the load.

Why /proc stays: sandboxes exist that have no netlink (gVisor), or a kernel without `tcp_diag`. Linux lists listeners
first, but gVisor does not, so this source always reads to the end: slower and right, where it is the only one there is.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

STATES: dict[int, str] = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN_RECV",  # the kernel's NEW_SYN_RECV: a handshake that is not over yet
}
"""The kernel's numbers and names of TCP states."""

LIVE = frozenset(STATES.values()) - {"LISTEN", "TIME_WAIT"}
"""The states of connections that still have two ends."""


class Row(NamedTuple):
    """One socket. Addresses are text; an IPv4 address that came through an IPv6 socket is written as IPv4."""

    state: str
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    receive_queue: int
    """Bytes not yet read (an unread FIN counts as one); of a listener, the connections waiting in the accept queue."""
    inode: int
    """0 where no process has the socket: not accepted yet, or closed already."""


def rows(*, states: Collection[str], port: int | None = None) -> list[Row]:
    """The rows in one of `states` with this local port (`None`: any), from the first source that works here."""
    try:
        return sock_diag(states=states, port=port)
    except OSError as error:
        if error.errno not in _NO_NETLINK:
            raise
        return proc(states=states, port=port)


_NO_NETLINK = {
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.ENOENT,
    errno.EPERM,
    errno.EACCES,
    errno.EOPNOTSUPP,
    errno.ECONNREFUSED,
}

# --- netlink: see sock_diag(7) ---------------------------------------------------------------------------------------

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states; a socket id follows
_ANY_COOKIE = b"\xff" * 8
_MESSAGE = struct.Struct("=BBBB")  # family, state, timer, retransmits
_PORTS = struct.Struct(">HH")
_NUMBERS = struct.Struct("=IIIII")  # expires, receive queue, send queue, uid, inode
_SOCKET_ID_SIZE = 48
_BUFFER = 1 << 18
_MAPPED = bytes(10) + b"\xff\xff"
_TIMEOUT = 5.0


def netlink_socket() -> socket.socket:
    """A socket to ask for rows: those of the network namespace that the calling thread is in."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    netlink.settimeout(_TIMEOUT)
    return netlink


def sock_diag(*, states: Collection[str], port: int | None, netlink: socket.socket | None = None) -> list[Row]:
    """The rows by netlink. `netlink`: a socket of another namespace; nobody else may use it meanwhile."""
    if netlink is None:
        with netlink_socket() as ours:
            return sock_diag(states=states, port=port, netlink=ours)
    mask = sum(1 << number for number, name in STATES.items() if name in states)
    found: list[Row] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        socket_id = struct.pack(">HH", port or 0, 0) + bytes(36) + _ANY_COOKIE
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, mask) + socket_id
        request = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + body
        netlink.send(request)
        found.extend(_answers(netlink))
    return found


def _answers(netlink: socket.socket) -> Iterator[Row]:
    """The rows of one dump. A dump comes in several datagrams, each with several messages."""
    while True:
        data = netlink.recv(_BUFFER)
        offset = 0
        while offset < len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            start = offset + _HEADER.size
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, start)[0]
                raise OSError(code, os.strerror(code))
            yield _row(data, start)
            offset += (length + 3) & ~3


def _row(data: bytes, start: int) -> Row:
    family, state, _, _ = _MESSAGE.unpack_from(data, start)
    at = start + _MESSAGE.size
    local_port, remote_port = _PORTS.unpack_from(data, at)
    size = 4 if family == socket.AF_INET else 16
    local, remote = data[at + 4 : at + 4 + size], data[at + 20 : at + 20 + size]
    _, receive_queue, _, _, inode = _NUMBERS.unpack_from(data, at + _SOCKET_ID_SIZE)
    return Row(STATES[state], _text(local), local_port, _text(remote), remote_port, receive_queue, inode)


def _text(address: bytes) -> str:
    """An address of 4 or 16 bytes as text."""
    if len(address) == 4:
        return socket.inet_ntop(socket.AF_INET, address)
    if address.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


# --- /proc/net/tcp: see proc(5) --------------------------------------------------------------------------------------


def proc(*, states: Collection[str], port: int | None, folder: Path = Path("/proc/net")) -> list[Row]:
    """The rows from /proc. `folder`: where the tables are; `/proc/PID/net` has those of that process's namespace."""
    wanted = {f"{number:02X}".encode() for number, name in STATES.items() if name in states}
    suffix = b":" if port is None else f":{port:04X}".encode()
    found: list[Row] = []
    for table in (folder / "tcp", folder / "tcp6"):
        try:
            lines = table.read_bytes().splitlines()[1:]
        except FileNotFoundError:
            continue  # a machine without IPv6
        for line in lines:
            if suffix not in line:
                continue
            columns = line.split()
            local, remote, state, queues, inode = columns[1], columns[2], columns[3], columns[4], columns[9]
            if state in wanted and (port is None or local.endswith(suffix)):
                found.append(
                    Row(
                        STATES[int(state, 16)],
                        *_endpoint(local),
                        *_endpoint(remote),
                        int(queues.partition(b":")[2], 16),
                        int(inode),
                    )
                )
    return found


def _endpoint(column: bytes) -> tuple[str, int]:
    """`0100007F:1F90` as address and port. Each group of four bytes is written as a number in the machine's order."""
    digits, _, port = column.partition(b":")
    words = (int(digits[i : i + 8], 16) for i in range(0, len(digits), 8))
    return _text(b"".join(struct.pack("=I", word) for word in words)), int(port, 16)
