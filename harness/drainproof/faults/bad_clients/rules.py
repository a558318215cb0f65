"""What malformed input is, what it may be answered, and what is wrong with an answer to it. Pure.

Which answers are wrong?
    A 5xx blames the server for the client's mistake, and is what an exception that nobody expected looks like from
    outside. So it is wrong to every class, except 501 and 505 where HTTP itself asks for them. No answer and no close
    is wrong everywhere as well. Beyond that the classes differ, because "malformed" has degrees:

    * A success is wrong where HTTP says that there is no complete message (`success="never"`).
    * Broken JSON is not forbidden to succeed (RFC 8259 lets a parser accept extensions, and an endpoint may take any
      bytes), but a success has to be one: the answer that the manifest declares as right (`success="right"`). A server
      that catches everything and answers 200 with an error inside fails.
    * Where the input may well be valid to this server (a value of another type, a content type that it ignores), only
      5xx, silence and damage are wrong (`success="any"`).

    A close without an answer is right for a message that cannot be delimited: RFC 9112 asks for 400 *and* a close, and
    a close over unread bytes is a reset that may overtake the 400 in the client's kernel, so that from outside the two
    cannot be told apart. For a well-formed HTTP message (`framed`) it is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Success = Literal["never", "right", "any"]
"""When a 2xx or 3xx is accepted: never, only with the right answer, or always."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One class of malformed input."""

    name: str
    what: str
    source: str
    """Where it says that this is malformed, or what a server may do with it."""
    framed: bool
    """The HTTP message around it is well-formed, so that an answer must come."""
    success: Success
    allowed: tuple[int, ...] = ()
    """Answers from 500 on that are right."""


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            name="json-syntax",
            what="a body that is no JSON: cut, a bracket or quote too many or too few, something behind it, any text",
            source="RFC 8259, 2",
            framed=True,
            success="right",
        ),
        Rule(
            name="json-nesting",
            what="50,000 brackets that open and never close",
            source="RFC 8259, 9 (a parser may limit the depth)",
            framed=True,
            success="right",
        ),
        Rule(
            name="json-numbers",
            what="`NaN` and `Infinity` in place of a value",
            source="RFC 8259, 6 (not permitted), 9 (a parser may accept extensions)",
            framed=True,
            success="any",
        ),
        Rule(
            name="json-shape",
            what="JSON of another shape: another type at the top or inside, a key that is missing",
            source="the manifest's own request; RFC 9110, 15.5.1 and 15.5.21",
            framed=True,
            success="any",
        ),
        Rule(
            name="utf-8",
            what="bytes in the body that are no UTF-8",
            source="RFC 8259, 8.1; RFC 3629, 3",
            framed=True,
            success="right",
        ),
        Rule(
            name="content-type",
            what="the right body with another content type, with none, or with one that does not parse",
            source="RFC 9110, 8.3 and 15.5.16 (415 is possible, not demanded)",
            framed=True,
            success="any",
        ),
        Rule(
            name="content-encoding",
            what="a content coding that the body does not have, or that nobody knows",
            source="RFC 9110, 8.4",
            framed=True,
            success="any",
        ),
        Rule(
            name="large-body",
            what="megabytes of white space in front of the right body",
            source="RFC 9110, 15.5.14 (413 and a close are possible; reading it is as well)",
            framed=False,
            success="any",
        ),
        Rule(
            name="large-head",
            what="a header line, a target, or a number of header lines beyond any use",
            source="RFC 9110, 5.4 and 15.5.15; RFC 6585, 5",
            framed=False,
            success="any",
        ),
        Rule(
            name="truncated-body",
            what="fewer bytes, or chunks, than announced, then the client's end of the stream",
            source="RFC 9112, 6.3 and 8 (incomplete: the server must close)",
            framed=False,
            success="never",
        ),
        Rule(
            name="content-length",
            what="a length that is no number, or two different ones",
            source="RFC 9112, 6.3 (must be answered 400 and closed)",
            framed=False,
            success="never",
        ),
        Rule(
            name="length-and-chunks",
            what="a chunked body that has a length as well",
            source="RFC 9112, 6.1 and 6.3 (an error, or the chunks count)",
            framed=False,
            success="right",
        ),
        Rule(
            name="transfer-coding",
            what="a transfer coding that nobody knows, or chunked that is not the last one",
            source="RFC 9112, 6.1 (501) and 6.3 (must be answered 400 and closed)",
            framed=False,
            success="never",
            allowed=(501,),
        ),
        Rule(
            name="chunks",
            what="a chunk size that is no hexadecimal number, or is not the size of the chunk",
            source="RFC 9112, 7.1 and 6.3 (never complete)",
            framed=False,
            success="never",
        ),
        Rule(
            name="field-name-space",
            what="white space between a field's name and its colon",
            source="RFC 9112, 5.1 (must be rejected with 400)",
            framed=False,
            success="never",
        ),
        Rule(
            name="header-line",
            what="a header line without colon or name, or with bytes that have no place in it",
            source="RFC 9112, 2.2, 5.2 (should be 400; some may be replaced); RFC 9110, 5.5",
            framed=False,
            success="any",
        ),
        Rule(
            name="request-line",
            what="a request line that breaks the grammar, or a version that does not exist",
            source="RFC 9112, 2.2, 2.3, 3 (should be 400); RFC 9110, 15.6.6 (505)",
            framed=False,
            success="any",
            allowed=(501, 505),
        ),
        Rule(
            name="method",
            what="a method that nobody knows",
            source="RFC 9110, 9.1 (501 or 405)",
            framed=False,
            success="any",
            allowed=(501,),
        ),
        Rule(
            name="not-http",
            what="a TLS handshake, or any bytes, then the client's end of the stream",
            source="RFC 9112, 2.2 (should be 400)",
            framed=False,
            success="any",
            allowed=(501, 505),
        ),
    )
}
"""All classes, in the order in which they are sent."""


def what_is_wrong(line: Mapping[str, Any]) -> str | None:
    """What is wrong with what came of one case (a line of `bad-clients.jsonl`), as a phrase; None if nothing is."""
    rule, outcome = RULES[line["class"]], line["outcome"]
    if outcome == "answered":
        return _of_answer(rule, status=line["status"], wrong=line["wrong"], token=line["token"])
    if outcome == "hung":
        return "neither answered nor closed"
    if outcome == "refused":
        return "no connection any more"
    if rule.framed:
        return {"closed": "closed without an answer", "reset": "reset without an answer"}.get(
            outcome, "answered not in HTTP"
        )
    return None


def _of_answer(rule: Rule, *, status: int, wrong: str | None, token: bool) -> str | None:
    if status >= 500:
        return None if status in rule.allowed else f"answered {status}"
    if status >= 400 or rule.success == "any":
        return None
    if rule.success == "never":
        return f"answered {status}, although there is no complete request"
    # Without the token in it, no answer could be the right one.
    return f"answered {status}, and not with what would be right: {wrong}" if wrong is not None and token else None


def failing(lines: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The classes with a wrong outcome: what is wrong, and the smallest case of it, as the last one to be shrunk to."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for line in lines:
        wrong = what_is_wrong(line) if line["counts"] else None
        if wrong is None:
            continue
        first = found.get(line["class"])
        if first is None or (wrong == first[0] and _size(line) <= _size(first[1])):
            found[line["class"]] = (wrong, line)
    return found


def _size(line: Mapping[str, Any]) -> int:
    return sum(len(piece) * times for piece, times in line["parts"])
