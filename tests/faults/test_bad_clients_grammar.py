"""Every generated case is malformed in its own way, and only in that way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.faults.bad_clients.cases import TOKEN, Case
from drainproof.load.plan import Request

REQUEST = Request(
    name="predict",
    method="POST",
    path="/v1/{token}",
    headers={"Content-Type": "application/json", "X-Id": "{token}"},
    body='{"instances": [{"token": "{token}", "n": 1}], "stream": false}',
)

GENERATE = """
import json, sys
from hypothesis import HealthCheck, Phase, given, seed, settings
from drainproof.faults.bad_clients.base import Base
from drainproof.faults.bad_clients.grammar import strategies
from drainproof.load.plan import Request
base = Base.of(Request(**json.load(sys.stdin)), host="127.0.0.1", port=80)
found = []
for name, strategy in strategies(base).items():
    quick = settings(max_examples=20, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    seed(1)(quick(given(strategy)(lambda case: found.append(case.to_json()))))()
print(json.dumps(found))
"""


def generated(folder: Path, *, body: str = REQUEST.body) -> dict[str, list[Case]]:
    """Cases of each class, from a process of its own, as the fuzzer makes them."""
    values = {**vars(REQUEST), "body": body}
    del values["expect"]
    done = subprocess.run(
        [sys.executable, "-c", GENERATE],
        input=json.dumps(values),
        env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    cases: dict[str, list[Case]] = {}
    for line in json.loads(done.stdout):
        cases.setdefault(line["class"], []).append(Case.from_json(line))
    return cases


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Case]]]:
    yield generated(tmp_path_factory.mktemp("hypothesis"))


def split(case: Case) -> tuple[bytes, dict[str, str], bytes]:
    """Request line, fields and body of a well-formed message, whose length is checked."""
    head, _, body = b"".join(case.stream()).partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = dict(line.decode().split(": ", 1) for line in lines)
    assert int(fields["content-length"]) == len(body)
    return first, fields, body


def no_json(body: bytes) -> bool:
    try:
        json.loads(body.decode())
    except (ValueError, RecursionError):
        return True
    return False


def test_every_class_has_cases(cases: dict[str, list[Case]]) -> None:
    from drainproof.faults.bad_clients.rules import RULES

    assert list(cases) == list(RULES)
    assert all(len(of_class) >= 2 for of_class in cases.values()), {k: len(v) for k, v in cases.items()}


def test_broken_json_is_broken_within_a_good_message(cases: dict[str, list[Case]]) -> None:
    for case in (*cases["json-syntax"], *cases["json-nesting"]):
        first, fields, body = split(case)
        assert first == f"POST /v1/{TOKEN} HTTP/1.1".encode()
        assert fields["content-type"] == "application/json" and fields["x-id"] == TOKEN
        assert no_json(body), body[:100]


def test_bad_utf8_is_no_utf8(cases: dict[str, list[Case]]) -> None:
    for case in cases["utf-8"]:
        with pytest.raises(UnicodeDecodeError):
            split(case)[2].decode()


def test_another_shape_is_json_of_another_shape(cases: dict[str, list[Case]]) -> None:
    declared = json.loads(REQUEST.body.replace("{token}", TOKEN))
    for case in cases["json-shape"]:
        assert json.dumps(json.loads(split(case)[2])) != json.dumps(declared)  # to Python, True is 1


def test_the_right_body_stays_right(cases: dict[str, list[Case]]) -> None:
    declared = json.loads(REQUEST.body.replace("{token}", TOKEN))
    for case in cases["content-type"]:
        _, fields, body = split(case)
        assert json.loads(body) == declared and fields.get("content-type") != "application/json"
    for case in cases["large-body"]:
        body = split(case)[2]
        assert len(body) > 1_000_000 and json.loads(body) == declared
        assert len(json.dumps(case.to_json())) < 2000, "megabytes stay a short line"


def test_a_truncated_body_is_shorter_than_announced(cases: dict[str, list[Case]]) -> None:
    for case in cases["truncated-body"]:
        head, _, body = b"".join(case.stream()).partition(b"\r\n\r\n")
        assert case.ends == "now"
        if b"content-length" in head:
            assert len(body) < int(head.rpartition(b"content-length: ")[2].split(b"\r\n")[0])
        else:
            assert not body.endswith(b"0\r\n\r\n")


def test_a_length_is_never_a_good_one(cases: dict[str, list[Case]]) -> None:
    for case in cases["content-length"]:
        head = b"".join(case.stream()).partition(b"\r\n\r\n")[0]
        values = [line.partition(b":")[2].strip() for line in head.split(b"\r\n") if line.startswith(b"content-length")]
        assert len(set(values)) > 1 or not (values[0].isascii() and values[0].isdigit()), values


def test_the_same_seed_gives_the_same_bytes(cases: dict[str, list[Case]], tmp_path: Path) -> None:
    assert generated(tmp_path) == cases


def test_without_json_the_classes_of_json_are_left_out(tmp_path: Path) -> None:
    names = set(generated(tmp_path, body="text {token}"))
    assert "truncated-body" in names and "chunks" in names
    assert not {name for name in names if name.startswith("json") or name in ("utf-8", "content-type", "large-body")}
