"""Whose an object in an engine is, and whether its owner lives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from drainproof.target import tree
from drainproof.target.container import labels, reaper


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


HIDES = """
import os
from drainproof.target import tree
from drainproof.target.container import labels
owner = labels.owner(os.getppid())
machine, pid, birth = owner.split("/")
# Imported before the rights go: the other user may not be able to read the folder that this is installed in.
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
print(tree.read_stat(int(pid)) is None, labels.is_alive(owner), labels.is_alive(f"{machine}/3999999/{birth}"))
"""


def test_an_owner_that_proc_hides_lives():
    """Another user's, where /proc is mounted with `hidepid`: it does not show that one, and the kernel knows it."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("takes root, to mount a /proc, and unshare")
    hidden = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c"]
    if subprocess.run([*hidden, "mount -o remount,hidepid=2 /proc"], capture_output=True, check=False).returncode != 0:
        pytest.skip("takes the right to mount a /proc")
    # The shell stays, as the owner: a lone command would take its place.
    command = 'mount -o remount,hidepid=2 /proc && "$1" -c "$2"; exit $?'
    done = subprocess.run([*hidden, command, "sh", sys.executable, HIDES], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "False"]


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


class Engine:
    """The part of an engine's interface that is used; the real one is asked in `tests/real/test_containers.py`."""

    def __init__(self, **things):
        self.things, self.gone, self.api = things, [], self
        self.busy = {"busy": 10**9}
        """How often each refuses to be removed."""

    def _of(self, kind, filters):
        return [each for each in self.things.get(kind, ()) if filters["label"] in (each["Labels"] or {})]

    def containers(self, *, all, filters):
        return self._of("container", filters)

    def networks(self, *, filters):
        return self._of("network", filters)

    def volumes(self, *, filters):
        return {"Volumes": self._of("volume", filters) or None}

    def images(self, *, all, filters):
        return self._of("image", filters)

    def _remove(self, name, **_):
        if self.busy.get(name):
            self.busy[name] -= 1
            raise RuntimeError("removal of container busy is already in progress")
        self.gone.append(name)
        for kind, found in self.things.items():
            self.things[kind] = [each for each in found if each["Id"] != name]

    remove_container = remove_network = remove_volume = remove_image = _remove


def thing(name, session=None):
    found = None if session is None else {labels.OWNER: "", labels.SESSION: session}
    return {"Id": name, "Name": name, "Labels": found}


def test_only_what_is_wanted_is_removed_and_one_failure_stops_nothing():
    engine = Engine(
        container=[thing("busy", "a"), thing("mine", "a"), thing("other", "b"), thing("foreign")],
        network=[thing("n", "a")],
        volume=[thing("v", "a")],
        image=[thing("i", "a"), thing("j", "b")],
    )
    found = labels.remove(engine, which=lambda found: found.get(labels.SESSION) == "a")
    assert found == ["container busy", "container mine", "network n", "volume v", "image i"]
    assert engine.gone == ["mine", "n", "v", "i"]


def test_a_layer_of_a_build_that_was_broken_off_has_an_owner_and_no_session():
    """The engine sets labels one by one, in the order of their names, each in a layer of its own."""
    assert min(labels.OWNER, labels.SESSION) == labels.OWNER
    engine = Engine(image=[{"Id": "layer", "Labels": {labels.OWNER: "dead"}}])
    assert labels.remove(engine, which=lambda found: found.get(labels.OWNER) == "dead") == ["image layer"]


def test_nothing_to_remove():
    assert labels.remove(Engine(), which=lambda _: True) == []


def test_what_is_busy_is_tried_again():
    engine = Engine(container=[thing("slow", "a"), thing("other", "b")], network=[thing("n", "a")])
    engine.busy = {"slow": 2, "n": 1}
    reaper.remove_all(engine, session="a", quiet=0.0)
    assert sorted(engine.gone) == ["n", "slow"]


def test_what_stays_busy_is_given_up(monkeypatch):
    monkeypatch.setattr(reaper, "BUSY", 0.3)
    engine = Engine(container=[thing("busy", "a"), thing("mine", "a")])
    reaper.remove_all(engine, session="a", quiet=0.0)
    assert engine.gone == ["mine"]
    assert engine.busy["busy"] < 10**9 - 1
