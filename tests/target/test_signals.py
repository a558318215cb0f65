"""Signals as images write them."""

from __future__ import annotations

import signal

import pytest
from drainproof.target.signals import name_of, number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        (" sigint ", 2),
        ("15", 15),
        ("3", 3),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMIN+3", signal.SIGRTMIN + 3),
        ("37", 37),
        ("SIGRTMAX", signal.SIGRTMAX),
        ("SIGRTMAX-2", signal.SIGRTMAX - 2),
        ("SIGRTMAX+1", None),
        ("SIGRTMIN-1", None),
        ("SIGRTMIN+99", None),
        ("SIGNONE", None),
        ("SIG_DFL", None),
        ("0", None),
        ("65", None),
        ("-1", None),
        ("²", None),
        ("", None),
    ],
)
def test_the_number_of_a_signal(text, expected):
    assert number(text) == expected


def test_every_signal_of_this_machine_has_a_name_that_is_read_again():
    for each in signal.valid_signals():
        assert number(name_of(int(each))) == each


def test_what_is_no_signal():
    assert name_of(99) == "signal 99"
