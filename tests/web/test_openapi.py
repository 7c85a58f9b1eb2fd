"""The description says what the routes do: nothing undocumented, and no answer that it does not name."""

from __future__ import annotations

import re

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from remediator.openapi import openapi
from tests.builders import an_alert
from tests.web.conftest import TOKEN

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FUZZ = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
WORDS = [
    "version",
    "4",
    "alerts",
    "labels",
    "alertname",
    "status",
    "firing",
    "startsAt",
    "groupKey",
    "receiver",
]
OPERATIONS = [(method, path) for path, item in openapi()["paths"].items() for method in item]


def routes(house):
    """Method and path of each route, the static files aside, as OpenAPI writes them."""
    return {
        (method.lower(), re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in house.client.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if not rule.endpoint.endswith("static")
    }


def test_what_is_served_is_described_and_what_is_described_is_served(house):
    assert set(OPERATIONS) == routes(house)
    assert house.client.get("/openapi.json").json == openapi()


def fuzzed():
    """Each operation with what fits its description, and with what does not where anything may be sent."""
    for method, path in OPERATIONS:
        yield pytest.param(method, path, GenerationMode.POSITIVE, id=f"{method} {path}")
        if {"parameters", "requestBody"} & openapi()["paths"][path][method].keys():
            yield pytest.param(method, path, GenerationMode.NEGATIVE, id=f"{method} {path}, misfitting")


@pytest.mark.parametrize(("method", "path", "mode"), list(fuzzed()))
def test_no_request_brings_an_answer_that_is_not_described_or_an_action(house, method, path, mode):
    house.drama.receive(an_alert())
    schema = schemathesis.openapi.from_wsgi("/openapi.json", house.client.application)
    operation = schema[path][method]
    answered = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @FUZZ
    def fuzz(case):
        answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"})
        case.validate_response(answer, checks=CHECKS)
        answered.add(answer.status_code)

    fuzz()

    assert answered
    assert house.drama.cluster.asked == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_is_said_to_need_a_token_needs_one_and_nothing_else_does(house, method, path):
    answer = house.client.open(path.replace("{number}", "1"), method=method)

    assert (answer.status_code == 401) == ("security" in openapi()["paths"][path][method])
    assert house.untouched


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner),
        max_leaves=60,
    )
)
@FUZZ
def test_any_json_whatever_is_stored_or_refused_and_nothing_is_done(house, body):
    answer = house.post(body)

    assert answer.status_code in (202, 400)
    assert house.drama.cluster.asked == []
