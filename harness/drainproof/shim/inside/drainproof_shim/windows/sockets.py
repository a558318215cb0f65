"""`socket`, `select`, `selectors`: what the target may not use, and the few things that only Windows has."""

from __future__ import annotations

import os
import select
import selectors
import socket
import struct
from typing import Any

from drainproof_shim.windows import names
from drainproof_shim.windows.deafness import uninterrupted
from drainproof_shim.windows.overlay import overlay, public
from drainproof_shim.windows.signals import wakes_up

SO_EXCLUSIVEADDRUSE = -5
PROTOCOL_INFO = 372
"""Bytes of a WSAPROTOCOL_INFOW, which is what `socket.share` returns."""

_setsockopt = socket.socket.setsockopt


def install() -> None:
    """Shows the target the sockets of Windows."""
    missing = [n for n in public(socket) if n.startswith(names.SOCKET_PREFIXES) and n not in names.SOCKET]
    only_here = {
        "SO_EXCLUSIVEADDRUSE": SO_EXCLUSIVEADDRUSE,
        "SIO_RCVALL": 0x98000001,
        "SIO_KEEPALIVE_VALS": 0x98000004,
        "SIO_LOOPBACK_FAST_PATH": 0x98000010,
        "RCVALL_OFF": 0,
        "RCVALL_ON": 1,
        "RCVALL_SOCKETLEVELONLY": 2,
        "MSG_BCAST": 0x400,
        "MSG_MCAST": 0x800,
        "SO_USELOOPBACK": 0x40,
        "fromshare": fromshare,
        "errorTab": {10048: "The network address is in use."},
    }
    overlay(socket, fake=only_here, hidden=[*missing, *names.SOCKET_MORE])
    overlay(
        select,
        fake={"select": uninterrupted(select.select, unless=wakes_up)},
        hidden=[name for name in public(select) if name not in names.SELECT],
    )
    overlay(selectors, fake={"DefaultSelector": selectors.SelectSelector}, hidden=names.SELECTORS)
    selectors.SelectSelector.select = uninterrupted(  # type: ignore[method-assign]
        selectors.SelectSelector.select, unless=wakes_up
    )
    socket.socket.setsockopt = setsockopt  # type: ignore[method-assign, assignment]
    socket.socket.share = share  # type: ignore[attr-defined]
    socket.socket.ioctl = ioctl  # type: ignore[attr-defined]


def setsockopt(self: socket.socket, level: int, optname: int, *value: Any) -> None:
    """`socket.setsockopt`. What is exclusive use there is what SO_REUSEADDR does here: nobody else listens as well."""
    if optname == SO_EXCLUSIVEADDRUSE:
        optname = socket.SO_REUSEADDR
    _setsockopt(self, level, optname, *value)


def ioctl(self: socket.socket, control: int, option: Any) -> None:
    """`socket.ioctl`: everything that it can ask for is taken and has no effect."""


def share(self: socket.socket, process_id: int) -> bytes:
    """`socket.share`: makes the socket available to `process_id`, by the bytes that it returns."""
    if process_id != os.getpid():
        raise OSError(10022, "sharing a socket with another process is not emulated")
    return struct.pack("=ii", os.getpid(), os.dup(self.fileno())).ljust(PROTOCOL_INFO, b"\0")


def fromshare(info: bytes) -> socket.socket:
    """`socket.fromshare`: the socket that was shared."""
    owner, descriptor = struct.unpack_from("=ii", info)
    if len(info) != PROTOCOL_INFO or owner != os.getpid():
        raise OSError(10022, "An invalid argument was supplied")
    return socket.socket(fileno=descriptor)
