"""`statement.json`: an in-toto Statement about the target, ready to be signed with the user's own tool.

The predicate is https://in-toto.io/attestation/test-result/v0.1 (in-toto/attestation, spec/predicates/test-result.md).
It knows three results. What is not known must not look like what holds, so

| overall | result |
|---|---|
| conforming | PASSED |
| conforming with notes | WARNED |
| not conforming, incomplete | FAILED |

and a check that was inconclusive, or failed by our own fault, is among the failed ones. A rule that does not apply to
the target is in none of the lists.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from drainproof.text import json_value
from drainproof.verdict import RED, Overall, Results, Verdict

from drainproof_reports import files

FILE = "statement.json"
TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"

RESULT: dict[Overall, str] = {
    "conforming": "PASSED",
    "conforming with notes": "WARNED",
    "not conforming": "FAILED",
    "incomplete": "FAILED",
}


def document(results: Results, *, results_json: bytes) -> dict[str, Any] | None:
    """The content of the file; None where there is nothing that a statement could be about.

    `results_json`: what was written to `results.json`, which the statement names the digest of. A run that did not
    reach its end has no statement, and neither has a target without a digest: in-toto matches subjects by it.
    """
    digest = results.target.get("digest")
    if results.aborted or not digest:
        return None
    content = {
        "_type": TYPE,
        "subject": [
            {
                "name": results.target.get("name", ""),
                "digest": {"sha256": digest["sha256"]},
                "annotations": {"of": digest["of"]},
            }
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "result": RESULT[results.overall],
            "configuration": _configuration(results, results_json),
            **_url(),
            "passedTests": [_name(v) for v in results.verdicts if v.verdict == "pass"],
            "warnedTests": [_name(v) for v in results.verdicts if v.verdict == "note"],
            "failedTests": [_name(v) for v in results.verdicts if v.verdict in RED],
        },
    }
    cleaned: dict[str, Any] = json_value(content)
    return cleaned


def _configuration(results: Results, results_json: bytes) -> list[dict[str, Any]]:
    """ResourceDescriptors: what it was judged by, under which declarations, and where each verdict comes from."""
    manifest = results.target.get("manifest", {})
    found: list[dict[str, Any]] = [
        {"name": "specification", "uri": f"urn:drainproof:specification:{results.specification}"},
        {"name": "drainproof", "uri": f"pkg:pypi/drainproof@{results.versions.get('drainproof', '')}"},
        {"name": "manifest", "digest": {"sha256": canonical_digest(manifest)}},
        {"name": "policy", "digest": {"sha256": canonical_digest(manifest.get("policy", {}))}},
        {
            "name": "results.json",
            "digest": {"sha256": hashlib.sha256(results_json).hexdigest()},
            "mediaType": "application/json",
            "annotations": {"overall": results.overall},
        },
    ]
    if results.bundle is not None:
        found.append({"name": results.bundle.folder, "digest": {"sha256": results.bundle.digests}})
    return found


def canonical_digest(value: object) -> str:
    """SHA-256 of a JSON value: keys sorted, no blanks, ASCII."""
    text = json.dumps(json_value(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _name(verdict: Verdict) -> str:
    """Of one check: the requirement first, since a verifier asks for it."""
    return f"{verdict.requirement} {verdict.scenario}::{verdict.check}"


def _url() -> dict[str, str]:
    """The run of GitHub Actions or GitLab CI that this is written in."""
    variables = os.environ
    if "GITHUB_RUN_ID" in variables and "GITHUB_REPOSITORY" in variables:
        server = variables.get("GITHUB_SERVER_URL", "https://github.com")
        return {"url": f"{server}/{variables['GITHUB_REPOSITORY']}/actions/runs/{variables['GITHUB_RUN_ID']}"}
    return {"url": variables["CI_JOB_URL"]} if "CI_JOB_URL" in variables else {}


def write(results: Results, path: Path, *, results_json: Path) -> None:
    """Writes the file in one step, or removes one that is not true any more. Raises OSError."""
    content = document(results, results_json=results_json.read_bytes())
    if content is None:
        path.unlink(missing_ok=True)
        return
    files.replace(path, json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n")
