"""Unit files as systemd reads them, as far as a stop depends on them."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest
from drainproof.target.unit_file import UnitFileError, parse_unit, read_unit, split_words, time_span

UNIT = """\
# A comment
[Unit]
Description=A model server

[Service]
Type=notify
Environment=PORT=8000 "GREETING=two words" LEVEL=info
Environment=LEVEL=debug
ExecStart=/opt/server --port ${PORT} \\
    ; a comment within a continued line
    --say "a b" $GREETING
WorkingDirectory=/srv/%p
KillMode=mixed
KillSignal=INT
FinalKillSignal=SIGABRT
SendSIGKILL=no
SendSIGHUP=yes
TimeoutStopSec=1min 30s
Restart=on-failure
RestartSec=2
SuccessExitStatus=143 TEMPFAIL SIGUSR1
RestartPreventExitStatus=3
User=model
MemoryMax=2G

[Install]
WantedBy=multi-user.target
"""


def service(*lines: str, name: str = "x.service") -> object:
    return parse_unit("\n".join(["[Service]", "ExecStart=/bin/x", *lines]), name=name)


def mistakes(*lines: str, name: str = "x.service") -> str:
    with pytest.raises(UnitFileError) as caught:
        parse_unit("\n".join(["[Service]", *lines]), name=name)
    return str(caught.value)


def test_a_whole_unit() -> None:
    unit = parse_unit(UNIT, name="model.service")
    assert unit.command_template({}) == ["/opt/server", "--port", "8000", "--say", "a b", "two", "words"]
    assert unit.environment == {"PORT": "8000", "GREETING": "two words", "LEVEL": "debug"}
    assert unit.working_directory == "/srv/model"
    spec = unit.spec
    assert (spec.kill_mode, spec.kill_signal, spec.final_kill_signal) == ("mixed", "SIGINT", "SIGABRT")
    assert (spec.send_sigkill, spec.send_sighup, spec.timeout_stop, spec.restart) == (False, True, 90.0, "on-failure")
    assert (spec.success_codes, spec.success_signals, spec.prevent_codes) == ((143, 75), ("SIGUSR1",), (3,))
    assert spec.not_emulated == ("MemoryMax", "User")


def test_what_is_not_said_is_as_systemd_has_it() -> None:
    unit = service()
    spec = unit.spec
    assert (spec.kill_mode, spec.kill_signal, spec.final_kill_signal) == ("control-group", "SIGTERM", "SIGKILL")
    assert (spec.send_sigkill, spec.send_sighup, spec.timeout_stop, spec.restart) == (True, False, 90.0, "no")
    assert unit.working_directory == "/" and unit.environment == {} and spec.not_emulated == ()


def test_an_empty_value_takes_back_what_stood_before() -> None:
    unit = service("Environment=A=1", "Environment=", "Environment=B=2", "ExecStart=", "ExecStart=/bin/y")
    assert unit.environment == {"B": "2"} and unit.command == ("/bin/y",)
    assert service("SuccessExitStatus=1", "SuccessExitStatus=").spec.success_codes == ()
    assert service("KillMode=mixed", "KillMode=").spec.kill_mode == "control-group"


class TestVariables:
    """The examples of systemd.service(5)."""

    def command(self, start: str, *environment: str, **more: str) -> list[str]:
        text = "\n".join(["[Service]", *(f"Environment={each}" for each in environment), f"ExecStart={start}"])
        return parse_unit(text, name="x.service").command_template(more)

    def test_a_variable_alone_is_split_and_one_in_braces_is_not(self) -> None:
        assert self.command("echo $ONE $TWO ${TWO}", "\"ONE=one\" 'TWO=two two'") == [
            *("echo", "one", "two", "two", "two two"),
        ]

    def test_quotes_within_a_value(self) -> None:
        environment = "ONE='one' \"TWO='two two' too\" THREE="
        assert self.command("/bin/echo ${ONE} ${TWO} ${THREE}", environment)[1:] == ["'one'", "'two two' too", ""]
        assert self.command("/bin/echo $ONE $TWO $THREE", environment)[1:] == ["one", "two two", "too"]

    def test_no_shell(self) -> None:
        assert self.command("echo / >/dev/null & \\; \\\n ls")[1:] == ["/", ">/dev/null", "&", ";", "ls"]

    def test_a_dollar_itself_and_what_is_not_set(self) -> None:
        assert self.command("echo $$HOME a$$b ${NOT_SET}x $NOT_SET") == ["echo", "$HOME", "a$b", "x"]

    def test_variables_of_the_manifest_win_and_are_templates(self) -> None:
        assert self.command("x --port ${PORT} {brace}", "PORT=80", PORT="{port}") == [
            "x",
            "--port",
            "{port}",
            "{{brace}}",
        ]

    def test_a_colon_leaves_variables_alone(self) -> None:
        assert self.command(":/bin/x ${PORT}", "PORT=80") == ["/bin/x", "${{PORT}}"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("\"a b\" 'c d'", ["a b", "c d"]),
        ('a"b c"', ['a"b', 'c"']),
        ("\\x41\\102\\u00e9 \\s", ["ABé", " "]),
        ('"a\\"b" \\\\', ['a"b', "\\"]),
        ("", []),
        ('""', [""]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "complaint"), [('"a', 'a " without'), ('"a"b', "blank is missing"), ("\\q", "unknown")]
)
def test_words_that_are_none(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        split_words(text)


SPANS = {
    "90": 90.0,
    "1min 30s": 90.0,
    "5min20s": 320.0,
    "1.5h": 5400.0,
    "100ms": 0.1,
    "1s500ms": 1.5,
    "5 min": 300.0,
    "2w 3d": 1468800.0,
    "infinity": math.inf,
}


@pytest.mark.parametrize(("text", "seconds"), SPANS.items())
def test_time_spans(text: str, seconds: float) -> None:
    assert time_span(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5 parsecs", "-1", "1,5s", "soon"])
def test_what_is_no_time_span(text: str) -> None:
    assert time_span(text) is None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("text", [text for text in SPANS if text != "infinity"])
def test_systemd_itself_reads_them_alike(text: str) -> None:
    said = subprocess.check_output(["systemd-analyze", "timespan", text], text=True)
    assert int(said.split(": ")[2].split("\n")[0]) == pytest.approx(SPANS[text] * 1e6)


def test_timeout_sec_sets_it_too_and_zero_means_none() -> None:
    assert service("TimeoutStopSec=5", "TimeoutSec=7").spec.timeout_stop == 7
    assert service("TimeoutSec=7", "TimeoutStopSec=5").spec.timeout_stop == 5
    assert service("TimeoutStopSec=0").spec.timeout_stop == math.inf
    assert service("TimeoutStopSec=infinity").spec.timeout_stop == math.inf


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["ExecStart=/bin/x", "ExecStop=/bin/y"], "line 3: ExecStop= is not emulated (a stop by a command of its own)"),
        (["ExecStart=/bin/x", "EnvironmentFile=/etc/x"], "put them into systemd.env"),
        (["ExecStart=/bin/x", "Type=forking"], "line 3: Type=forking is not emulated: expected one of simple"),
        (["ExecStart=/bin/x", "KillMode=none"], "KillMode=none (no process is stopped then): expected one of"),
        (["ExecStart=/bin/x", "KillMode=mixd"], 'Did you mean "mixed"?'),
        (["ExecStart=/bin/x", "KillSignal=SIGNOPE"], "KillSignal=SIGNOPE: expected the name of a signal"),
        (["ExecStart=/bin/x", "SendSIGKILL=maybe"], "expected yes or no"),
        (["ExecStart=/bin/x", "TimeoutStopSec=soon"], "expected seconds, or a time span"),
        (["ExecStart=/bin/x", "Restart=sometimes"], "Restart=sometimes: expected one of no, on-success"),
        (["ExecStart=/bin/x", "SuccessExitStatus=300"], "'300': expected a status from 0 to 255"),
        (["ExecStart=/bin/x", "Environment=1A=2"], "expected NAME=VALUE"),
        (["ExecStart=/bin/x", "WorkingDirectory=~"], "expected an absolute path"),
        (["ExecStart=/bin/x %h"], "line 2: the specifier %h is not emulated; known here: %%, %n"),
        (["ExecStart=bin/x"], "'bin/x' is a relative path"),
        (["ExecStart=$PROGRAM"], "may not be a variable"),
        (["ExecStart=@/bin/x y"], "another argv[0]"),
        (["ExecStart=/bin/x", "ExecStart=/bin/y"], "line 3: a second ExecStart="),
        (["ExecStart=/bin/x ; /bin/y"], "several commands in ExecStart="),
        (["ExecStart="], "[Service] has no ExecStart="),
        (['ExecStart=/bin/x "a'], 'a " without its end'),
        (["ExecStart=/bin/x", "nonsense"], "line 3: 'nonsense' is neither a section nor KEY=VALUE"),
        (["TimeoutStopFailureMode=abort", "ExecStart=/bin/x"], "TimeoutStopFailureMode=abort is not emulated"),
    ],
)
def test_mistakes_say_where_and_what(lines: list[str], said: str) -> None:
    assert said in mistakes(*lines)


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes("ExecStart=/bin/x", "KillMode=a", "Restart=b", "ExecStop=/bin/y").splitlines()) == 3


def test_specifiers() -> None:
    unit = service("Environment=NAME=%n STEM=%N PREFIX=%p INSTANCE=%i RUN=%t/x PERCENT=100%%", name="gpu@1.service")
    assert unit.environment == {
        "NAME": "gpu@1.service",
        "STEM": "gpu@1",
        "PREFIX": "gpu",
        "INSTANCE": "1",
        "RUN": "/run/x",
        "PERCENT": "100%",
    }
    assert "%i needs an instance" in mistakes("ExecStart=/bin/x %i", name="gpu@.service")


def test_no_service_section() -> None:
    with pytest.raises(UnitFileError, match=r"it has no \[Service\] section"):
        parse_unit("[Timer]\nOnBootSec=1\n", name="x.timer")


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "x.service").write_bytes(b"[Service]\nExecStart=/bin/\xff\n")
    with pytest.raises(UnitFileError, match="not UTF-8"):
        read_unit(tmp_path / "x.service")
