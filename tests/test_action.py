"""The composite action for GitHub: its steps are run as a runner would run them, on servers that are really started."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from drainproof.gate import parse
from drainproof.plugin.options import OPTIONS

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
ONE = "-p no:cacheprovider -k 'drain.TestStopUnderLoad[SIGTERM-main-1w] and EXIT-1'"
"""Selects one check, by arguments with quotes in them."""


class Ran(NamedTuple):
    status: int
    outputs: dict[str, str]
    text: str


def run(step: str, folder: Path, *, path: str = "", **inputs: str) -> Ran:
    """Runs a step with these inputs, the others with their defaults, in the shell that the runner takes."""
    values = {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()}
    values |= {name.replace("_", "-"): value for name, value in inputs.items()}
    given = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], text)
        for name, text in STEPS[step]["env"].items()
    }
    script = folder / "script.sh"
    script.write_text(STEPS[step]["run"])
    output = folder / "output"
    output.touch()
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "GITHUB"))},
            "PATH": f"{path}{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_ACTION_PATH": str(ROOT),
            **given,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return Ran(done.returncode, outputs, done.stdout)


def judge(folder: Path, **inputs: str) -> Ran:
    return run("Judge the server", folder, **inputs)


def test_no_input_is_part_of_a_script():
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert "run" not in step or step["shell"] == "bash"


def test_every_input_is_used_and_every_one_that_is_used_exists():
    text = json.dumps(ACTION["runs"]) + json.dumps(ACTION["outputs"])
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    assert set(re.findall(r"steps\.(\w+)\.", text)) == {step["id"] for step in STEPS.values() if "id" in step}
    for each in ACTION["inputs"].values():
        assert each["description"]
        assert ("default" in each) != each.get("required", False)


def test_a_server_that_conforms(tmp_path):
    ran = judge(tmp_path, target=str(ROOT / "reference_servers" / "conforming"), arguments=ONE)
    assert ran.status == 0, ran.text
    assert "Gate must: open" in ran.text
    assert ran.outputs == {"overall": "incomplete", "report": "drainproof-report"}  # one check of hundreds
    results = json.loads((tmp_path / "drainproof-report" / "results.json").read_text())
    assert [verdict["requirement"] for verdict in results["verdicts"]] == ["EXIT-1"]


def test_a_server_that_does_not_and_the_failure_is_known_then(tmp_path):
    broken = {"target": str(ROOT / "reference_servers" / "broken" / "exits-1-on-sigterm"), "arguments": ONE}
    ran = judge(tmp_path, **broken)
    assert ran.status == 1, ran.text
    assert ran.outputs["overall"] == "not conforming"
    known = '[[failure]]\nid = "EXIT-1"\nreason = "it always did"\nlink = "https://example.com/7"\n'
    (tmp_path / "known failures.toml").write_text(known)
    ran = judge(tmp_path, **broken, known_failures="known failures.toml", report_dir="a folder")
    assert ran.status == 0, ran.text
    assert ran.outputs == {"overall": "not conforming", "report": "a folder"}


def test_a_mistake_leaves_the_outputs_set(tmp_path):
    ran = judge(tmp_path, target="nowhere")
    assert (ran.status, ran.outputs) == (4, {"overall": "", "report": "drainproof-report"})
    assert "nowhere: there is no such file or folder" in ran.text
    ran = judge(tmp_path, target=".", arguments="-k 'open")
    assert ran.status == 4
    assert '::error::drainproof: the quotes in the input "arguments" do not match' in ran.text


@pytest.mark.parametrize("name", ["target", "gate", "known_failures", "report_dir", "arguments"])
def test_nothing_in_an_input_is_run(tmp_path, name):
    nasty = 'x"; touch pwned; echo "$(touch pwned)`touch pwned`\' \noverall=conforming'
    ran = judge(tmp_path, **{"target": "nowhere", name: nasty})
    assert ran.status == 4, ran.text
    assert not (tmp_path / "pwned").exists()
    assert ran.outputs.get("overall", "") == ""


@pytest.mark.parametrize(
    ("version", "what"),
    [("", str(ROOT)), ("1.2.3", "drainproof==1.2.3"), ("1; touch pwned", "drainproof==1; touch pwned")],
)
def test_what_is_installed(tmp_path, version, what):
    """pip needs a network: what it would be called with is shown by a command of its name."""
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    stub.chmod(0o755)
    ran = run("Install drainproof", tmp_path, path=f"{stub.parent}:", version=version)
    assert ran.text.splitlines()[-2:] == ["--", what]
    assert not (tmp_path / "pwned").exists()


EXAMPLES = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "how-to" / "gate-a-release.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_say_what_exists(text):
    example = yaml.safe_load(text)
    jobs = example.get("jobs", {"gitlab": example.get("conformance")})
    commands = []
    for job in jobs.values():
        commands += job.get("script", [])
        for step in job.get("steps", []):
            commands += [step["run"]] if "run" in step else []
            if "/drainproof@" in step.get("uses", ""):
                assert set(step["with"]) <= set(ACTION["inputs"])
                commands += ["pytest --gate=" + step["with"]["gate"]]
    assert all("${{" not in command for command in commands)
    given = [word for command in commands if command.startswith("pytest") for word in shlex.split(command)[1:]]
    assert given
    for word in given:
        name, _, value = word.partition("=")
        assert name in {option.short for option in OPTIONS}
        if name == "--gate":
            parse(value)


def test_the_inputs_are_described():
    text = (ROOT / "docs" / "how-to" / "gate-a-release.md").read_text()
    described = dict(re.findall(r"^\| `([\w-]+)` \| (?:`([^`]*)`)? ?\| ", text, re.MULTILINE))
    assert {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()} == described


def test_the_report_is_kept_whatever_came_out():
    step = STEPS["Keep the report"]
    assert step["if"] == "always()"
    assert step["with"]["path"] == "${{ inputs.report-dir }}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("-k ''", ["-k", ""]),
        ("''", [""]),
        ("-k 'a\n or b' -x", ["-k", "a\n or b", "-x"]),
        ("", []),
        ("  \n ", []),
        ("'*' \"$HOME\" `id`", ["*", "$HOME", "`id`"]),
    ],
)
def test_the_words_of_the_arguments(tmp_path, given, expected):
    """What pytest gets, shown by a command of Python's name."""
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\nprintf \'%s\\0\' "$@" >given\n')
    stub.chmod(0o755)
    ran = run("Judge the server", tmp_path, path=f"{stub.parent}:", target="x", arguments=given)
    assert ran.status == 0, ran.text
    words = (tmp_path / "given").read_text().split("\0")[:-1]
    assert words[words.index("--gate=must") + 1 :] == expected


def test_the_results_of_an_earlier_run_are_not_given_out_as_those_of_this_one(tmp_path):
    folder = tmp_path / "drainproof-report"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({"overall": "conforming"}))
    gate = "no-regression:drainproof-report"
    ran = judge(tmp_path, target=str(ROOT / "reference_servers" / "conforming"), gate=gate)
    assert (ran.status, ran.outputs["overall"]) == (4, ""), ran.text
    assert (folder / "results.json").exists()
