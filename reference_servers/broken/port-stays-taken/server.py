"""Binds its port without SO_REUSEADDR, so that a restart fails for a minute after the last connection (START-7)."""

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Listener(model_server.Listener):
    @classmethod
    def bind(cls, *, host: str, port: int) -> model_server.Listener:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.bind((host, port))
        return cls(sock=sock)


if __name__ == "__main__":
    model_server.main(model_server.Parts(listener=Listener))
