"""Which permissions a policy needs, how they are printed, and what a missing one does to a step."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from remediator.cli import main
from remediator.core.actions import RollingRestart, RolloutUndo, Scale, Target
from remediator.core.decide import decide
from remediator.core.decisions import Act, Escalate
from remediator.core.facts import Fact
from remediator.core.permissions import (
    CREATE_EVENTS,
    READ_LOGS,
    READ_SCALE,
    READS,
    WRITE_DEPLOYMENT,
    WRITE_SCALE,
    AccessReview,
    Permission,
)
from remediator.core.policy import Mode, Policy, Step
from remediator.core.reasons import Reason
from remediator.core.steps import weigh_steps
from remediator.permissions import Tier, manifests, needed, tier_of
from tests.builders import NOW, RESTART, SCALE, UNDO, a_playbook, a_policy, a_situation, an_observation

from .places import DEPLOY, ROOT, Json

SCALE_DOWN = Step(action=Scale(1, down=True), when=(Fact.UNSCHEDULABLE,))


def granted(text: str) -> set[tuple[str, str, str, str | None]]:
    """Every (verb, group, resource, name) that the Roles of a text grant."""
    return {
        (verb, group, resource, name)
        for role in roles(text)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [None])
    }


def roles(text: str) -> list[Json]:
    return [one for one in yaml.safe_load_all(text) if one["kind"] == "Role"]


def printed(policy: Policy) -> str:
    return manifests(policy, namespace="remediator", account="remediator")


@pytest.mark.parametrize(
    ("policy", "tier", "writes"),
    [
        (a_policy(a_playbook(RESTART, SCALE, UNDO), mode=Mode.OBSERVE), Tier.OBSERVE, ()),
        (a_policy(a_playbook(RESTART, mode=Mode.OBSERVE)), Tier.OBSERVE, ()),
        (a_policy(a_playbook(SCALE)), Tier.SCALE, (READ_SCALE, WRITE_SCALE)),
        (a_policy(a_playbook(SCALE_DOWN)), Tier.SCALE, (READ_SCALE, WRITE_SCALE)),
        (
            a_policy(a_playbook(SCALE), a_playbook(RESTART, alert="Other", mode=Mode.OBSERVE)),
            Tier.SCALE,
            (READ_SCALE, WRITE_SCALE),
        ),
        (a_policy(a_playbook(RESTART)), Tier.CHANGE, (WRITE_DEPLOYMENT,)),
        (a_policy(a_playbook(UNDO)), Tier.CHANGE, (WRITE_DEPLOYMENT,)),
        (a_policy(a_playbook(RESTART), mode=Mode.APPROVE), Tier.CHANGE, (WRITE_DEPLOYMENT,)),
        (a_policy(), Tier.CHANGE, (READ_SCALE, WRITE_SCALE, WRITE_DEPLOYMENT)),
    ],
    ids=["observe", "observing-playbook", "scale", "down", "mixed", "restart", "undo", "approve", "all"],
)
def test_a_policy_needs_the_reads_and_what_its_steps_write(
    policy: Policy, tier: Tier, writes: tuple[Permission, ...]
):
    events = (CREATE_EVENTS,) if writes else ()
    assert needed(policy) == (*READS, *writes, *events)
    assert tier_of(needed(policy)) is tier
    assert f"# Tier {tier}: {tier.sentence}" in printed(policy)


@pytest.mark.parametrize("mode", list(Mode))
def test_logs_may_be_read_only_where_the_policy_wants_them(mode: Mode):
    assert needed(a_policy(logs=True, mode=mode)) == tuple(
        dict.fromkeys((*READS, READ_LOGS, *needed(a_policy(mode=mode))))
    )
    verbs = {(verb, resource) for verb, _, resource, _ in granted(printed(a_policy(mode=mode)))}
    assert ("get", "pods/log") not in verbs
    assert ("get", "", "pods/log", None) in granted(printed(a_policy(mode=mode, logs=True)))


def test_an_observing_policy_is_granted_no_write_verb_at_all():
    verbs = {verb for verb, *_ in granted(printed(a_policy(mode=Mode.OBSERVE)))}

    assert verbs == {"get", "list"}


def test_a_scaling_policy_may_write_replicas_and_not_the_deployment():
    grants = granted(printed(a_policy(a_playbook(SCALE))))

    assert ("patch", "apps", "deployments/scale", "bizra-apex") in grants
    assert not any(verb == "patch" and resource == "deployments" for verb, _, resource, _ in grants)


def test_every_get_and_every_write_names_the_targets_and_nothing_is_a_wildcard():
    for verb, group, resource, name in granted(printed(a_policy())):
        assert (name is None) is (verb in {"list", "create"})
        assert "*" not in (verb, group, resource)


def test_each_namespace_has_one_role_with_its_own_targets_and_one_binding():
    targets = (Target("b", "web"), Target("a", "db"), Target("b", "api"))
    text = printed(a_policy(a_playbook(SCALE), targets=targets))
    documents = list(yaml.safe_load_all(text))

    assert [(one["kind"], one["metadata"]["namespace"]) for one in documents] == [
        ("Role", "a"),
        ("RoleBinding", "a"),
        ("Role", "b"),
        ("RoleBinding", "b"),
    ]
    assert [role["rules"][0]["resourceNames"] for role in roles(text)] == [["db"], ["api", "web"]]
    for binding in documents[1::2]:
        assert binding["roleRef"]["name"] == "remediator"
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "remediator", "namespace": "remediator"}
        ]


def test_names_that_yaml_would_take_for_something_else_stay_names():
    text = printed(a_policy(targets=(Target("123", "on"), Target("1e3", "null"))))

    assert [role["metadata"]["namespace"] for role in roles(text)] == ["123", "1e3"]
    assert [role["rules"][0]["resourceNames"] for role in roles(text)] == [["on"], ["null"]]


def test_the_order_of_targets_and_playbooks_in_the_file_does_not_show():
    targets = (Target("a", "db"), Target("b", "web"))
    there = a_policy(a_playbook(SCALE), a_playbook(UNDO, alert="Other"), targets=targets)
    back = a_policy(a_playbook(UNDO, alert="Other"), a_playbook(SCALE), targets=targets[::-1])

    assert printed(there) == printed(back)


def test_each_rule_says_what_needs_it():
    lines = printed(a_policy()).splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("  - apiGroups")]

    assert len(rules) == len(needed(a_policy()))
    assert [lines[number - 1].strip(" #") for number in rules] == [one.because for one in needed(a_policy())]


@pytest.mark.parametrize("name", ["auto", "observe"])
def test_remediator_rbac_prints_the_roles_that_deploy_has(name: str):
    folder = DEPLOY / "policies" / name

    result = CliRunner().invoke(main, ["rbac", "--policy", str(folder / "policy.yaml")])

    assert result.exit_code == 0, result.output
    assert result.output == (folder / "rbac.yaml").read_text()


def test_the_service_account_can_be_another():
    policy = str(ROOT / "policy.yaml")

    result = CliRunner().invoke(main, ["rbac", "--policy", policy, "--service-account", "oncall/bot"])

    _, binding = yaml.safe_load_all(result.output)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "bot", "namespace": "oncall"}]


@pytest.mark.parametrize("wrong", ["oncall", "a/b/c", "A/b", "/b", ""])
def test_a_service_account_that_is_none_is_a_usage_error(wrong: str):
    policy = str(ROOT / "policy.yaml")

    result = CliRunner().invoke(main, ["rbac", "--policy", policy, "--service-account", wrong])

    assert result.exit_code == 2
    assert "NAMESPACE/NAME" in result.output


@pytest.mark.parametrize(
    ("step", "lacking", "named"),
    [
        (Step(action=RollingRestart()), WRITE_DEPLOYMENT, "patch deployments (apps)"),
        (Step(action=RolloutUndo()), WRITE_DEPLOYMENT, "patch deployments (apps)"),
        (Step(action=Scale(5)), WRITE_SCALE, "patch deployments/scale (apps)"),
        (Step(action=Scale(5)), READ_SCALE, "get deployments/scale (apps)"),
    ],
)
def test_a_step_that_needs_a_missing_permission_is_refused_and_the_verb_named(
    step: Step, lacking: Permission, named: str
):
    situation = a_situation(playbook=a_playbook(step), seen=an_observation(missing_permissions=(lacking,)))

    (verdict,) = weigh_steps(situation)
    decision = decide(situation, a_policy(a_playbook(step)), NOW)

    assert verdict.reason is Reason.FORBIDDEN
    assert verdict.detail == f"we lack {named} on bizra-testnet/bizra-apex: remediator rbac"
    assert isinstance(decision, Escalate)
    assert named in decision.detail


def test_a_step_that_does_not_need_what_is_missing_is_taken():
    playbook = a_playbook(Step(action=Scale(5)), RESTART)
    situation = a_situation(playbook=playbook, seen=an_observation(missing_permissions=(WRITE_SCALE,)))

    decision = decide(situation, a_policy(playbook), NOW)

    assert isinstance(decision, Act)
    assert decision.action == RollingRestart()


def test_why_a_step_does_not_apply_comes_before_what_it_would_lack():
    playbook = a_playbook(UNDO)
    situation = a_situation(playbook=playbook, seen=an_observation(missing_permissions=(WRITE_DEPLOYMENT,)))

    assert [one.reason for one in weigh_steps(situation)] == [Reason.FACT_FALSE]


def test_a_review_says_what_is_missing_where_and_what_it_could_not_ask():
    db, web = Target("a", "db"), Target("b", "web")
    lacking = {web: (READ_SCALE, WRITE_SCALE), db: (READS[2],)}

    assert AccessReview().complaint is None
    assert AccessReview(missing=lacking, unanswered="HTTP 503").complaint == (
        "a/db lacks list pods; b/web lacks get deployments/scale (apps), patch deployments/scale (apps); "
        "the access review is incomplete: HTTP 503"
    )
