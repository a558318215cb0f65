"""Whose an object in an engine is, and whether its owner lives."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from drainproof.target import tree
from drainproof.target.container import labels


def test_the_owner_is_this_process():
    assert labels.of("abc")[labels.SESSION] == "abc"
    assert labels.is_alive(labels.of("abc")[labels.OWNER])


def test_a_process_that_has_ended_owns_nothing():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    value = labels.owner(child.pid)
    assert labels.is_alive(value)
    child.communicate()
    assert not labels.is_alive(value)


def test_a_zombie_owns_nothing(eventually):
    """A killed pytest whose parent (a CI runner) has not asked after it yet."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    value = labels.owner(child.pid)
    child.kill()
    eventually(lambda: (stat := tree.read_stat(child.pid)) is not None and stat.state == "Z")
    assert not labels.is_alive(value)
    child.communicate()


def test_a_pid_that_is_used_again_is_somebody_else():
    machine, pid, birth = labels.owner(os.getpid()).split("/")
    assert not labels.is_alive(f"{machine}/{pid}/{int(birth) - 1}")


@pytest.mark.parametrize(
    "value",
    [
        "another-boot.4026531836/1/5",
        labels.owner(os.getpid()).replace(".", ".9", 1),
        "",
        "?",
        f"{labels.owner(os.getpid()).partition('/')[0]}/x/1",
        labels.owner(os.getpid()).partition("/")[0],
    ],
    ids=["another boot", "another PID namespace", "none", "unknown", "no pid", "machine alone"],
)
def test_what_cannot_be_seen_from_here_is_left_alone(value):
    assert labels.is_alive(value)


class Thing:
    def __init__(self, name, tags, *, fails=False):
        self.name, self.labels, self.attrs, self.id, self.short_id = name, tags, {"Labels": tags}, name, name
        self.fails, self.gone = fails, False

    def remove(self, **_):
        if self.fails:
            raise RuntimeError("removal of container x is already in progress")
        self.gone = True


class Collection:
    def __init__(self, *things):
        self.things = things

    def list(self, *, filters, **_):
        return [thing for thing in self.things if filters["label"] in (thing.labels or {})]

    def remove(self, identity, **_):
        next(thing for thing in self.things if thing.id == identity).remove()


def client(**collections):
    """What `labels.remove` uses of the SDK's client; the real one is asked in `tests/real/test_containers.py`."""
    kinds = ("containers", "networks", "volumes", "images")
    return SimpleNamespace(**{kind: Collection(*collections.get(kind, ())) for kind in kinds})


def test_only_what_is_wanted_is_removed_and_one_failure_stops_nothing():
    ours, theirs = {labels.SESSION: "a"}, {labels.SESSION: "b"}
    busy, mine, other = Thing("busy", ours, fails=True), Thing("mine", ours), Thing("other", theirs)
    network, volume, image = Thing("n", ours), Thing("v", ours), Thing("i", ours)
    foreign = Thing("foreign", {})
    engine = client(
        containers=[busy, mine, other, foreign],
        networks=[network],
        volumes=[volume],
        images=[image, Thing("j", theirs)],
    )
    removed = labels.remove(engine, which=lambda found: found.get(labels.SESSION) == "a")
    assert removed == ["container mine", "network n", "volume v", "image i"]
    assert not other.gone and not foreign.gone
