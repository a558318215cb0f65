"""Plans are data: they travel as JSON and come back the same."""

from __future__ import annotations

import json

import pytest
from drainproof.errors import UserError
from drainproof.load.plan import STREAM_KINDS, Expectation, Hold, Once, Plan, Request
from hypothesis import given
from hypothesis import strategies as st
from playing import asking

NAMES = ("predict", "slow", "é")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)
moments = st.floats(min_value=0, max_value=1e7)
expectations = st.builds(
    Expectation,
    status=st.lists(st.integers(100, 599), min_size=1, max_size=3).map(tuple),
    contains=st.none() | st.text(),
    json=values,
)
requests = st.tuples(
    *(
        st.builds(
            Request,
            name=st.just(name),
            method=st.sampled_from(["GET", "POST", "HEAD"]),
            path=st.text(),
            headers=st.dictionaries(st.text(), st.text(), max_size=2),
            body=st.text(),
            expect=expectations,
            duration=moments | st.just(float("inf")),
            safe_to_repeat=st.booleans(),
        )
        for name in NAMES
    )
)
counts = st.integers(1, 1000)
fields = {
    "name": st.text(min_size=1),
    "request": st.sampled_from(NAMES),
    "rate": st.floats(min_value=0.1, max_value=1e5),
    "in_flight": counts,
    "users": counts,
    "count": counts,
    "stagger": moments,
    "think_time": moments,
    "interval": st.floats(min_value=0.001, max_value=100),
    "connections": st.sampled_from(["new", "reuse"]),
}
streams = st.one_of(
    *(
        st.builds(cls, **{name: fields[name] for name in cls.__dataclass_fields__ if name in fields})
        for cls in STREAM_KINDS.values()
    )
)
plans = st.builds(
    Plan,
    host=st.just("127.0.0.1"),
    port=st.integers(1, 65535),
    requests=requests,
    streams=st.lists(streams, max_size=4, unique_by=lambda s: s.name).map(tuple),
    connect_timeout=moments,
    deadline=moments,
    start_at=st.none() | moments,
)


@given(plans)
def test_a_plan_survives_its_way_through_json(plan: Plan) -> None:
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_that_cannot_be_played_says_what_is_wrong() -> None:
    def plan(*streams: Hold | Once) -> Plan:
        return Plan(host="127.0.0.1", port=1, requests=(asking("ok"), asking("slow")), streams=streams)

    with pytest.raises(UserError, match=r"stream 'h' sends the request 'sloow'.* 'ok', 'slow'"):
        plan(Hold(name="h", request="sloow", in_flight=1))
    with pytest.raises(UserError, match="two streams are named 'h'"):
        plan(Hold(name="h", request="ok", in_flight=1), Once(name="h", request="ok", count=1))
    with pytest.raises(UserError, match="stream 'h': in_flight must be at least 1, not 0"):
        plan(Hold(name="h", request="ok", in_flight=0))
    with pytest.raises(UserError, match="stream 'h': stagger must be at least 0, not -1"):
        plan(Hold(name="h", request="ok", in_flight=1, stagger=-1))
