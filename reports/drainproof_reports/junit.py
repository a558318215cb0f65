"""`junit.xml`: one test suite per scenario, one test case per requirement in it, for CI systems.

The format knows failure, error and skipped, so

| verdict | in the file |
|---|---|
| pass | a test case |
| note | a test case with its text as output: a SHOULD must not turn a build red |
| fail | failure |
| inconclusive, error | error |
| unsupported | skipped |
| fail, and declared as known | skipped, with the declaration as its message |

and each test case says its own verdict, its level and its facts as properties. A run that was aborted has one more
test case, an error, because not every reader looks at properties. A run with a gate has a test case `gate` for the same
reason, a failure with every reason where it is closed: what closes it may be no red verdict (a SHOULD, a check that is
not tested any more).

A known failure is skipped, as pytest writes an expected one (xfail): what reads the file (GitLab, Jenkins, the
reporters of GitHub) turns red by `failure` and `error` alone, shows the message of what was skipped, and counts it
apart. Considered and lost: a failure (the build would be red, which is what the declaration is to prevent), and a test
case that passed (nobody would see it any more).
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from drainproof.text import ESCAPE_SEQUENCE
from drainproof.verdict import Gate, Results, Verdict
from junit_xml import TestCase, TestSuite, to_xml_report_string

from drainproof_reports import files

FILE = "junit.xml"

PLANES = "".join(f"{chr(plane << 16)}-{chr((plane << 16) + 0xFFFD)}" for plane in range(1, 17))
NOT_XML = re.compile(f"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd{PLANES}]")
"""Characters that XML does not have, and those that it advises against."""

ABORTED = "The run did not reach its end: what is missing here was not judged."


class Suite(TestSuite):  # type: ignore[misc]  # junit_xml has no types
    """A test suite whose test cases have properties, which junit_xml does not know."""

    def __init__(self, name: str, cases: Sequence[Case], **attributes: object) -> None:
        super().__init__(name, cases, **attributes)

    def build_xml_doc(self, encoding: str | None = None) -> ET.Element:
        """The element, with the properties of each test case put into it, as its first child."""
        root: ET.Element = super().build_xml_doc(encoding)
        for case, element in zip(self.test_cases, root.findall("testcase"), strict=True):
            properties = ET.Element("properties")
            for name, value in case.properties:
                ET.SubElement(properties, "property", {"name": name, "value": value})
            if len(properties):
                element.insert(0, properties)
        return root


class Case(TestCase):  # type: ignore[misc]  # junit_xml has no types
    """A test case with properties."""

    def __init__(
        self, name: str, classname: str, *, properties: Sequence[tuple[str, str]] = (), **rest: object
    ) -> None:
        super().__init__(name, classname, **rest)
        self.properties = properties


def xml_text(text: str) -> str:
    """`text` in characters that XML has: escape sequences go, other foreign characters take their visible form."""
    return NOT_XML.sub(_escaped, ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n")))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def document(results: Results) -> str:
    """The content of the file."""
    by_scenario: dict[str, list[Verdict]] = {}
    for verdict in results.verdicts:
        by_scenario.setdefault(verdict.scenario, []).append(verdict)
    about = {
        "target": xml_text(str(results.target.get("name", ""))),
        "aborted": str(results.aborted).lower(),
        "drainproof": xml_text(str(results.versions.get("drainproof", ""))),
    }
    suites = [
        Suite(xml_text(scenario), _cases(verdicts), timestamp=xml_text(results.started), properties=about)
        for scenario, verdicts in by_scenario.items()
    ]
    own = []
    if results.aborted:
        case = Case("aborted", "drainproof")
        case.add_error_info(message=ABORTED, error_type="aborted")
        own.append(case)
    if results.gate is not None:
        own.append(_gate(results.gate))
    if own:
        suites.append(Suite("drainproof", own, timestamp=xml_text(results.started), properties=about))
    body = to_xml_report_string(suites, prettyprint=False)
    root = ET.fromstring(body)  # our own text, parsed to indent it
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _gate(gate: Gate) -> Case:
    """The test case of the gate; with its remarks as output where it is open."""
    said = xml_text("\n".join(gate.reasons or gate.remarks))
    case = Case("gate", "drainproof", stdout=said if gate.passed and said else None)
    if not gate.passed:
        case.add_failure_info(message=xml_text(f"Gate {gate.rule}: closed"), output=said, failure_type="gate")
    return case


def _cases(verdicts: Sequence[Verdict]) -> list[Case]:
    checks_of = Counter(verdict.requirement for verdict in verdicts)
    return [_case(verdict, alone=checks_of[verdict.requirement] == 1) for verdict in verdicts]


def _case(verdict: Verdict, *, alone: bool) -> Case:
    """One test case; `alone` if no other check of the scenario is about the same requirement."""
    name = verdict.requirement if alone else f"{verdict.requirement} {verdict.check}"
    text = _text(verdict)
    case = Case(
        xml_text(name),
        xml_text(verdict.scenario),
        elapsed_sec=verdict.duration,
        stdout=text if verdict.verdict == "note" else None,
        properties=[(xml_text(name), xml_text(value)) for name, value in _properties(verdict)],
    )
    message = xml_text(verdict.summary) or verdict.verdict
    if verdict.verdict == "fail" and verdict.known is not None:
        known = xml_text(f"known failure: {verdict.known.reason} ({verdict.known.link}); {verdict.summary}")
        case.add_skipped_info(message=known, output=text)
    elif verdict.verdict == "fail":
        case.add_failure_info(message=message, output=text, failure_type="fail")
    elif verdict.verdict in ("inconclusive", "error"):
        case.add_error_info(message=message, output=text, error_type=verdict.verdict)
    elif verdict.verdict == "unsupported":
        case.add_skipped_info(message=message, output=text)
    return case


def _properties(verdict: Verdict) -> list[tuple[str, str]]:
    facts = [(f"fact.{name}", _value(value)) for name, value in verdict.facts.items()]
    about = {
        "verdict": verdict.verdict,
        "level": verdict.level,
        "title": verdict.title,
        "evidence": verdict.evidence or "",
    }
    if verdict.known is not None:
        about |= {
            "known": verdict.known.id,
            "known.reason": verdict.known.reason,
            "known.link": verdict.known.link,
        }
    return [*about.items(), *facts]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(verdict: Verdict) -> str:
    lines = [
        verdict.summary,
        f"rule: {verdict.rule}",
        *(f"{name}: {_value(value)}" for name, value in verdict.facts.items()),
        *([verdict.details] if verdict.details else []),
        *([f"evidence: {verdict.evidence}"] if verdict.evidence else []),
        f"repeat: {verdict.repeat}",
    ]
    return xml_text("\n".join(lines))


def write(results: Results, path: Path) -> None:
    """Writes the file in one step. Raises OSError."""
    files.replace(path, document(results))
