"""Whether Prometheus evaluates rules that the policy was made for: asked for by /readyz?verbose."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
import responses

from remediator.serve import Process
from remediator.settings import Settings
from remediator.wiring import build

URL = "http://prometheus.test:9090"
ASKED = 'count(remediator_rules_info{version!="1.1.0",version!="1.2.0"})'
SOME = [{"metric": {}, "value": [1_780_000_000, "1"]}]


@pytest.fixture
def rules(home):
    """What /readyz?verbose says of the rules, and what was asked, when Prometheus answers with `result`."""

    def told(result, *, listed="[1.1.0, 1.2.0]", status=200):
        policy = home / "policy.yaml"
        policy.write_text(policy.read_text().replace("rules_versions: [1.2.0]", f"rules_versions: {listed}"))
        settings = Settings(
            policy=policy,
            database=f"sqlite:///{home}/journal.db",
            kubeconfig=home / "kubeconfig",
            prometheus=URL,
            insecure=True,
        )
        answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
        with responses.RequestsMock(assert_all_requests_are_fired=False) as web:
            web.get(f"{URL}/-/ready", body="ready")
            web.post(f"{URL}/api/v1/query", json=answer, status=status)
            process = Process(build(settings))
            trouble = process.app.test_client().get("/readyz?verbose").get_json()["trouble"]
            process.stop()
            asked = [call.request.body for call in web.calls if call.request.method == "POST"]
        return trouble.get("rules"), [parse_qs(str(body))["query"] for body in asked]

    return told


def test_rules_of_another_version_are_told(rules):
    said = "Prometheus evaluates rules that the policy does not know; it knows 1.1.0, 1.2.0"
    assert rules(SOME) == (said, [[ASKED]])


def test_no_other_version_is_no_trouble(rules):
    assert rules([]) == (None, [[ASKED]])


def test_a_policy_that_lists_no_versions_asks_nothing(rules):
    assert rules(SOME, listed="[]") == (None, [])
