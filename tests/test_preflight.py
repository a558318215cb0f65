"""What is said before a run in a container."""

from __future__ import annotations

from pathlib import Path

import pytest
from drainproof import preflight
from drainproof.load.plan import Request
from drainproof.target.container.image import Image
from drainproof.target.container_spec import ContainerSpec
from drainproof.target.description import Policy, Target
from drainproof.target.pod import ExecHook, Pod, SleepHook


def said(*, command=(), entrypoint=(), stop=None, manifest=(), init=False, pod=None, **policy) -> list[str]:
    image = Image(
        id="sha256:1",
        name="mine",
        digest=None,
        entrypoint=tuple(entrypoint),
        command=tuple(command),
        environment={},
        stop_signal=stop,
        user="",
        working_directory="/",
    )
    target = Target(
        name="mine",
        launch="container",
        container=ContainerSpec(image="mine", init=init),
        folder=Path(),
        manifest=None,
        command=tuple(manifest),
        working_directory=Path(),
        readiness="/ready",
        requests=(Request(name="fast", method="GET", path="/"),),
        policy=Policy(**{"grace_period": 5.0, **policy}),
        pod=pod,
    )
    return preflight.of_image(image=image, target=target)


@pytest.mark.parametrize(
    ("hook", "grace", "expected"),
    [
        (SleepHook(seconds=5), 9.5, "a preStop pause of 5 s and the policy's grace period of 5 s do not fit"),
        (None, 4, "the policy's grace period of 5 s does not fit in the pod's of 4 s"),
        (SleepHook(seconds=5), 10, None),
        (ExecHook(command=("sleep", "5")), 5, None),
    ],
)
def test_what_does_not_fit_in_the_pods_grace_period(hook, grace, expected):
    pod = Pod(grace_period=grace, pre_stop=hook, sources={"policy.grace_period": "[policy]"})
    found = said(command=["python3", "server.py"], pod=pod)
    assert [expected in text for text in found] == ([True] if expected else [])
    assert all(f"terminationGracePeriodSeconds: {10 if hook else 5}" in text for text in found)
    derived = Pod(grace_period=grace, pre_stop=hook, sources={"policy.grace_period": "mine.yaml"})
    assert said(command=["python3", "server.py"], pod=derived) == [], "the policy says nothing of its own"


def test_nothing_to_say():
    assert said(command=["python3", "server.py"]) == []


@pytest.mark.parametrize(
    ("script", "exec_form"),
    [
        ("python3 server.py --port 8000", 'CMD ["python3", "server.py", "--port", "8000"]'),
        ("python3 -c 'print(1)'", 'CMD ["program", "argument"]'),
        ("python3 'my server.py'", 'CMD ["python3", "my server.py"]'),
        ("""echo '"'""", r'CMD ["echo", "\""]'),
        ("setup && python3 server.py", 'CMD ["program", "argument"]'),
        ("PORT=1 python3 server.py", 'CMD ["program", "argument"]'),
        ("python3 server.py $ARGS", 'CMD ["program", "argument"]'),
        ("python3 *.py", 'CMD ["program", "argument"]'),
        ("echo it's up", 'CMD ["program", "argument"]'),
        ("", 'CMD ["program", "argument"]'),
    ],
)
def test_shell_form(script, exec_form):
    (text,) = said(command=["/bin/sh", "-c", script])
    assert text.startswith("CMD is in shell form (/bin/sh -c …), so a shell is PID 1")
    assert text.endswith(f"in exec form: {exec_form}")


def test_shell_form_behind_an_init():
    (text,) = said(command=["/bin/sh", "-c", "python3 server.py"], init=True)
    assert "a shell is what the init starts" in text and "PID 1" not in text


def test_shell_form_in_the_entrypoint_or_in_the_manifest():
    assert len(said(entrypoint=["/bin/bash", "-c", "python3 server.py"], command=["ignored"])) == 1
    assert len(said(command=["python3"], manifest=["sh", "-c", "python3 server.py"])) == 1


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "exec python3 server.py"],
        ["python3", "-c", "import server"],
        ["sh", "start.sh"],
        ["sh", "-c"],
    ],
)
def test_what_is_no_shell_form(command):
    assert said(command=command) == []


def test_a_stop_signal_that_the_policy_does_not_have():
    (text,) = said(command=["x"], stop="SIGQUIT")
    assert text.startswith("the image's STOPSIGNAL is SIGQUIT, which policy.stop_signals does not have (SIGTERM")
    (text,) = said(command=["x"], stop="SIGRTMIN+3")
    assert "SIGRTMIN+3" in text
    for same in ("SIGTERM", "TERM", "15"):
        assert said(command=["x"], stop=same) == []


def test_a_grace_period_that_docker_stop_does_not_wait_for():
    assert said(command=["x"], grace_period=10.0) == []
    (text,) = said(command=["x"], grace_period=30.0)
    assert "the policy's grace period is 30 s, but `docker stop` sends SIGKILL after 10 s" in text
    assert "--stop-timeout 30" in text
