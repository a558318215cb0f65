"""Names of images, and what an image says of its main process."""

from __future__ import annotations

import pytest
from drainproof.target.container.image import Image, _has_tag


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
