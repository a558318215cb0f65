"""What a server says of itself in an OpenAPI document, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest
from drainproof.proposing.endpoints import Endpoint, liveness, of_openapi, readiness, requests


def posted(schema: Any, **components: Any) -> list[Endpoint]:
    operation = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    return of_openapi({"paths": {"/predict": {"post": operation}}, "components": {"schemas": components}})


@pytest.mark.parametrize(
    "schema, body",
    [
        ({"type": "string"}, "{token}"),
        ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 1}),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [1.0, 1.0]),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"enum": ["small", "large"]}, "small"),
        ({"const": 3}, 3),
        ({"example": {"text": "good", "none": None, "braces": "{x}"}}, {"text": "good", "braces": "{{x}}"}),
        ({"allOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/B"}]}, {"a": 1, "b": "{token}"}),
        ({"type": "integer", "minimum": 5}, 5),
    ],
)
def test_a_body_that_the_schema_allows(schema: Any, body: Any) -> None:
    one = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    two = {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}
    assert [endpoint.body for endpoint in posted(schema, A=one, B=two)] == [body]


def test_parameters_are_filled_in() -> None:
    parameters = [
        {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "top", "in": "query", "required": True, "schema": {"type": "integer"}},
        {"name": "other", "in": "query", "schema": {"type": "integer"}},
    ]
    [found] = of_openapi({"paths": {"/models/{model}": {"get": {"parameters": parameters}}}})
    assert (found.path, found.bare) == ("/models/{token}?top=1", False)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"paths": 3},
        {"paths": {"/a": None, "/b": {"get": None, "post": 3}}},
        {"paths": {"/a/{unknown}": {"get": {}}}},
        {"paths": {"/a": {"get": {"parameters": [{"$ref": "#/no/such"}]}}}},
        {"paths": {"/a": {"get": {"parameters": [{"$ref": "#/a"}]}}}, "a": {"$ref": "#/a"}},
        {"paths": {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": {"minItems": "x"}}}}}}}},
    ],
)
def test_what_is_odd_is_left_out(document: Any) -> None:
    assert [endpoint for endpoint in of_openapi(document) if endpoint.method == "GET"] == []


def test_a_type_that_holds_itself_does_not_go_on_for_ever() -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/T"}}, "required": ["child"]}
    assert posted({"$ref": "#/components/schemas/T"}, T=tree) == []


def test_the_likeliest_request_comes_first_and_health_is_none() -> None:
    known = [
        Endpoint(method="GET", path="/health"),
        Endpoint(method="GET", path="/v1/ready"),
        Endpoint(method="GET", path="/livez"),
        Endpoint(method="POST", path="/feedback", body={}),
        Endpoint(method="GET", path="/infer"),
        Endpoint(method="POST", path="/v1/models/x:predict", body={}),
    ]
    ready, live = readiness(known), liveness(known)
    assert (ready, live) == ("/v1/ready", "/livez")
    asked = [ask.path for ask in requests(known, health=(ready, live))]
    assert asked[:2] == ["/v1/models/x:predict", "/infer"]
    assert "/v1/ready" not in asked
