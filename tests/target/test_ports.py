"""Ports for targets."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from drainproof.errors import HarnessError
from drainproof.target import ports
from drainproof.target.ports import candidate_ports, ephemeral_range, reserve


def test_ports_are_distinct_free_and_out_of_the_way_of_outgoing_connections():
    low, high = ephemeral_range()
    with reserve(names=("http", "grpc", "metrics")) as reserved:
        assert list(reserved) == ["http", "grpc", "metrics"]
        assert len(set(reserved.values())) == 3
        for port in reserved.values():
            assert not low <= port <= high
            for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0")):
                with socket.socket(family) as server:
                    server.bind((address, port))
                    server.listen()


def test_a_port_in_use_is_not_given(monkeypatch):
    with reserve() as free, socket.socket() as server:
        server.bind(("127.0.0.1", free["http"]))
        free.release()
        monkeypatch.setattr(ports, "candidate_ports", lambda: [free["http"]])
        with pytest.raises(HarnessError, match=r"no free TCP port .*'http'"):
            reserve()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_a_port_in_use_on_ipv6_is_not_given(monkeypatch):
    with reserve() as free, socket.socket(socket.AF_INET6) as server:
        try:
            server.bind(("::1", free["http"]))
        except OSError:
            pytest.skip("no IPv6 here")
        free.release()
        monkeypatch.setattr(ports, "candidate_ports", lambda: [free["http"]])
        with pytest.raises(HarnessError):
            reserve()


def test_another_process_does_not_get_a_reserved_port(monkeypatch):
    script = """
import sys
from drainproof.errors import HarnessError
from drainproof.target import ports
ports.candidate_ports = lambda: [int(sys.argv[1])]
try:
    print(*ports.reserve().values())
except HarnessError:
    print("taken")
"""

    def ask(port):
        return subprocess.run(
            [sys.executable, "-c", script, str(port)], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    with reserve() as reserved:
        port = reserved["http"]
        assert ask(port) == "taken"
    assert ask(port) == str(port)


def test_a_reserved_port_is_not_given_twice_in_one_process(monkeypatch):
    with reserve() as reserved:
        monkeypatch.setattr(ports, "candidate_ports", lambda: [reserved["http"]])
        with pytest.raises(HarnessError):
            reserve()
        reserved.release()
        reserved.release()
        with reserve() as again:
            assert again == reserved


def test_an_ephemeral_range_that_covers_everything_leaves_a_choice(monkeypatch, tmp_path):
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_RANGE", tmp_path / "range")
    assert ephemeral_range() == (1024, 65535)
    assert len(candidate_ports()) > 50_000
