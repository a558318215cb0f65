"""Names of images, and what an image says of its main process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from docker.errors import BuildError
from drainproof.errors import CommandNotStarted
from drainproof.target.container.engine import Engine
from drainproof.target.container.image import BUILDS, Image, _has_tag, made_layers, obtain
from drainproof.target.container_spec import ContainerSpec


@pytest.mark.parametrize(
    ("name", "tagged"),
    [
        ("mine", False),
        ("mine:1.2", True),
        ("host.example:5000/mine", False),
        ("host.example:5000/group/mine:1", True),
        ("mine@sha256:0123", True),
        ("host.example:5000/mine@sha256:0123", True),
    ],
)
def test_whether_a_name_has_a_tag(name, tagged):
    """Without one, the SDK would pull every tag there is."""
    assert _has_tag(name) is tagged


def image(**more) -> Image:
    values = {
        "id": "sha256:1",
        "name": "mine",
        "digest": None,
        "entrypoint": (),
        "command": (),
        "environment": {},
        "stop_signal": None,
        "user": "",
        "working_directory": "/",
    }
    return Image(**{**values, **more})


def test_a_command_takes_the_place_of_cmd_and_not_of_entrypoint():
    made = image(entrypoint=("/entry", "-v"), command=("serve",))
    assert made.main_command([]) == ["/entry", "-v", "serve"]
    assert made.main_command(["other", "args"]) == ["/entry", "-v", "other", "args"]


REMOVED = "failed to get digest sha256:0d1e: open /data/image/overlay2/imagedb/content/sha256/0d1e: no such file"
"""What an engine said to a build while the end of another session removed the layers that both had in common."""


def built(*failures: str) -> str:
    """The id of what is built where the engine fails with these messages first."""
    left = list(failures)

    def build(**_: object) -> tuple[object, list[object]]:
        if left:
            raise BuildError(left.pop(0), iter([{"stream": "Step 1/2 : FROM x"}]))
        return SimpleNamespace(id="sha256:1"), []

    images = SimpleNamespace(build=build, get=lambda _: SimpleNamespace(attrs={"Id": "sha256:1"}))
    engine = Engine(client=SimpleNamespace(images=images), quick=None, address="here", version="1", cgroups=2)
    spec = ContainerSpec(build=Path("folder"))
    return obtain(spec, engine=engine, name="mine", tags={}, progress=lambda _: None).id


def test_layers_that_somebody_else_removes_are_built_again():
    assert built(REMOVED, REMOVED) == "sha256:1"


def test_a_build_is_not_tried_for_ever():
    with pytest.raises(CommandNotStarted, match="cannot be built from folder: failed to get digest"):
        built(*[REMOVED] * BUILDS)


def test_a_build_that_fails_by_itself_is_tried_once():
    with pytest.raises(CommandNotStarted, match="returned a non-zero code: 3\nStep 1/2 : FROM x"):
        built("The command '/bin/sh -c exit 3' returned a non-zero code: 3")


LOG = """\
Step 1/5 : FROM python:3.11-slim
 ---> 8e0e544aabad
Step 2/5 : RUN echo one
 ---> Using cache
 ---> 000000000002
Step 3/5 : RUN echo two
 ---> Running in be9c166bfa0c
two
Removing intermediate container be9c166bfa0c
 ---> 000000000003
Step 4/5 : COPY server.py .
 ---> 000000000004
Step 5/5 : RUN exit 3
 ---> Running in 5a6beef888ff
Removing intermediate container 5a6beef888ff
"""


def test_the_layers_that_a_build_made_are_neither_its_base_nor_its_cache():
    log = [{"stream": line} for line in LOG.splitlines(keepends=True)]
    assert made_layers([*log, {"error": "returned a non-zero code: 3"}]) == ["000000000003", "000000000004"]
