"""The policy file: what it means, and every mistake named by line and path."""

import json
from datetime import time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from remediator.core.actions import RollingRestart, RolloutUndo, Scale, Target, Workload
from remediator.core.facts import Fact
from remediator.core.policy import ChangeWindow, Mode, Returns
from remediator.core.verification import Good
from remediator.policy_file import PolicyMistakes, parse_policy, read_policy
from remediator.policy_schema import json_schema
from tests.builders import APEX

ROOT = Path(__file__).parent.parent.parent
SCHEMA_FILE = ROOT / "docs" / "policy.schema.json"

SMALL = """\
version: 1
targets:
  - namespace: bizra-testnet
    deployment: bizra-apex
    replicas: {max: 10}
playbooks:
  - alert: AhsanScoreLow
    steps:
      - restart: {}
    verify:
      query: score{namespace="$namespace",deployment="$deployment"}
      good: '>= 95'
"""


def mistakes(text):
    with pytest.raises(PolicyMistakes) as refusal:
        parse_policy(text)
    return [str(mistake) for mistake in refusal.value.mistakes]


def small(old="", new=""):
    """The small policy with one text replaced, which has to be there."""
    assert old in SMALL
    return SMALL.replace(old, new)


def test_the_small_policy_is_right_and_careful_by_default():
    policy = parse_policy(SMALL)
    assert policy.mode is Mode.OBSERVE
    assert policy.targets[APEX].min_replicas == 1
    assert policy.targets[APEX].max_replicas == 10
    assert policy.change_windows == ()
    playbook = policy.playbooks["AhsanScoreLow"]
    assert playbook.verify.good == Good(">=", 95.0)
    assert (playbook.verify.settle, playbook.verify.samples) == (timedelta(seconds=30), 3)
    assert policy.limits.cooldown == timedelta(minutes=5)


def test_the_policy_of_this_repository_is_right():
    policy = read_policy(ROOT / "policy.yaml")
    assert policy.mode is Mode.AUTO
    assert list(policy.playbooks) == ["AhsanScoreLow", "HiveDown", "HiveErrorRateHigh", "HiveLatencyP99High"]
    low = policy.playbooks["AhsanScoreLow"]
    assert [step.action for step in low.steps] == [RolloutUndo(), Scale(5), RollingRestart()]
    assert low.steps[0].when == (Fact.RECENT_ROLLOUT, Fact.PREVIOUS_REVISION)
    assert policy.playbooks["HiveDown"].steps[2].action == Scale(1, down=True)
    assert policy.playbooks["HiveErrorRateHigh"].verify.good == Good("<=", 0.05)


def test_under_an_autoscaler_a_scale_up_is_refused_unless_the_step_says_otherwise():
    for written, action in (
        ("{to: 2}", Scale(2)),
        ("{to: 2, under_hpa: refuse}", Scale(2)),
        ("{to: 2, under_hpa: raise_min}", Scale(2, raises_minimum=True)),
        ("{to: 2, under_hpa: raise_min, returns: false}", Scale(2, returns=False, raises_minimum=True)),
    ):
        (playbook,) = parse_policy(small("- restart: {}", f"- scale: {written}")).playbooks.values()
        assert playbook.steps[0].action == action


EVERYTHING = small(
    "playbooks:",
    """\
mode: approve
limits:
  per_target: {actions: 1, per: 2h, per_day: 3, cooldown: 0s}
  in_all: {actions: 4, per: 5h, at_once: 6}
  storm: {targets: 7, within: 8m}
  breaker: {not_recovered: 9, within: 10m}
  patience: 11m
  rollout: 12m
facts:
  recent_rollout: 13m
  resource_pressure: 0.5
  usage_query: max(usage{namespace="$namespace",deployment="$deployment"})
returns: {after: 14m, by: 2, every: 15m}
change_windows:
  - {days: [mon, sun], opens: '09:00', closes: '17:30', timezone: Europe/Berlin}
playbooks:""",
)


def test_every_number_arrives_where_it_belongs():
    policy = parse_policy(EVERYTHING)
    limits, minutes = policy.limits, timedelta(minutes=1)
    assert policy.mode is Mode.APPROVE
    assert (limits.target_actions, limits.target_per, limits.target_per_day) == (1, 120 * minutes, 3)
    assert limits.cooldown == timedelta()
    assert policy.returns == Returns(after=14 * minutes, by=2, every=15 * minutes)
    assert (limits.overall_actions, limits.overall_per, limits.at_once) == (4, 300 * minutes, 6)
    assert (limits.storm_targets, limits.storm_within) == (7, 8 * minutes)
    assert (limits.breaker_not_recovered, limits.breaker_within) == (9, 10 * minutes)
    assert (limits.patience, limits.rollout_within) == (11 * minutes, 12 * minutes)
    assert (policy.facts.recent_rollout, policy.facts.resource_pressure) == (13 * minutes, 0.5)
    assert policy.facts.usage_query == 'max(usage{namespace="$namespace",deployment="$deployment"})'
    assert policy.change_windows == (
        ChangeWindow(
            days=frozenset({0, 6}), opens=time(9), closes=time(17, 30), zone=ZoneInfo("Europe/Berlin")
        ),
    )


def test_a_target_may_be_a_stateful_set():
    policy = parse_policy(small("deployment:", "statefulset:").replace("$deployment", "$statefulset"))
    assert [str(target) for target in policy.targets] == ["bizra-testnet/statefulset/bizra-apex"]


def test_one_name_may_be_of_two_workloads_but_not_twice_of_one():
    both = small(
        "playbooks:",
        "  - {namespace: bizra-testnet, statefulset: bizra-apex, replicas: {max: 3}}\nplaybooks:",
    ).replace("$deployment", "$workload")
    assert set(parse_policy(both).targets) == {
        APEX,
        Target(APEX.namespace, APEX.name, Workload.STATEFUL_SET),
    }
    with pytest.raises(PolicyMistakes, match="the target is listed twice"):
        parse_policy(both.replace("statefulset", "deployment"))


def test_a_target_that_no_playbook_is_for_is_a_mistake():
    text = small("deployment: bizra-apex", "statefulset: bizra-apex")
    (mistake,) = mistakes(text)
    says = "no playbook is for a statefulset: a query has to select by $statefulset or $workload"
    assert mistake == f"line 3: targets[0]: {says}"


def test_the_bounds_of_targets_that_a_playbook_is_not_for_do_not_bind_it():
    text = small(
        "playbooks:",
        "  - {namespace: bizra-testnet, statefulset: bizra-apex, replicas: {max: 3}}\nplaybooks:",
    ).replace("restart: {}", "scale: {to: 5}")
    other = SMALL.split("playbooks:\n")[1].replace("AhsanScoreLow", "HiveDown")
    text += other.replace("$deployment", "$statefulset")
    parse_policy(text)
    with pytest.raises(PolicyMistakes, match="5 is outside the bounds 1 to 3 of bizra-testnet/statefulset/"):
        parse_policy(text.replace("$deployment", "$workload"))


def test_an_outage_is_accepted_by_the_target_that_says_so():
    careful = parse_policy(SMALL)
    bold = parse_policy(small("{max: 10}", "{max: 10}\n    accept_outage: true"))
    assert [one.accept_outage for one in careful.targets.values()] == [False]
    assert [one.accept_outage for one in bold.targets.values()] == [True]


def test_the_digest_tells_policies_apart():
    assert parse_policy(SMALL).digest == parse_policy(SMALL).digest != parse_policy(EVERYTHING).digest
    assert len(parse_policy(SMALL).digest) == 12


MODES = [("observe", "observe"), ("approve", "observe"), ("auto", "approve"), ("auto", "auto")]


@pytest.mark.parametrize(("policy_mode", "playbook_mode"), MODES)
def test_a_playbook_may_be_as_strict_or_stricter(policy_mode, playbook_mode):
    text = small("steps:", f"mode: {playbook_mode}\n    steps:") + f"mode: {policy_mode}\n"
    policy = parse_policy(text)
    assert policy.mode_for(policy.playbooks["AhsanScoreLow"]) is Mode(playbook_mode)


VERIFY = "verify:\n      "

ONE = [
    # the shape
    pytest.param(SMALL + "colour: red\n", "line 13: colour: unknown key", id="unknown key"),
    pytest.param(
        small("restart", "restrat"),
        "line 9: playbooks[0].steps[0].restrat: unknown key, did you mean 'restart'?",
        id="did you mean",
    ),
    pytest.param(
        small("    deployment: bizra-apex\n", ""),
        "line 3: targets[0]: a target has exactly one of deployment and statefulset",
        id="missing key",
    ),
    pytest.param(small("version: 1\n", ""), "line 1: version: this key is missing", id="no version"),
    pytest.param(small("version: 1", "version: 2"), "line 1: version: 2 is not one of 1", id="version 2"),
    pytest.param(
        small("version: 1", "version: 1\nmode: yolo"), "line 2: mode: 'yolo' is not one of", id="unknown mode"
    ),
    pytest.param(
        small("version: 1", "version: 1\nmode: off"), "line 2: mode: False is not one of", id="YAML's off"
    ),
    pytest.param(small("{max: 10}", "{max: 0}"), "line 5: targets[0].replicas.max: ", id="zero replicas"),
    pytest.param(
        small("{max: 10}", "{max: '10'}"), "line 5: targets[0].replicas.max: ", id="a count in quotes"
    ),
    pytest.param(
        small("{max: 10}", "{max: true}"), "line 5: targets[0].replicas.max: ", id="true is no count"
    ),
    pytest.param(
        small("restart: {}", "restart: {fast: true}"),
        "line 9: playbooks[0].steps[0].restart.fast: unknown key",
        id="a restart has no options",
    ),
    pytest.param(
        small("restart: {}", "restart: {}\n        when: [mondays]"),
        "line 10: playbooks[0].steps[0].when[0]: 'mondays' is not one of",
        id="unknown fact",
    ),
    pytest.param(
        small("    steps:\n      - restart: {}\n", "    steps: []\n"),
        "line 8: playbooks[0].steps: at least one is needed",
        id="no steps",
    ),
    pytest.param(
        small("alert: AhsanScoreLow", "alert: ''"), "line 7: playbooks[0].alert: ", id="nameless alert"
    ),
    pytest.param(
        small("'>= 95'", "'= 95'"),
        "line 12: playbooks[0].verify.good: '= 95' is not a comparison",
        id="not a comparison",
    ),
    pytest.param(
        small("'>= 95'", "95"),
        "line 12: playbooks[0].verify.good: 95 is not a text",
        id="good without comparison",
    ),
    pytest.param(
        SMALL + "      settle: 30\n",
        "line 13: playbooks[0].verify.settle: 30 is not a text",
        id="duration without unit",
    ),
    pytest.param(
        SMALL + "      settle: '30'\n",
        "line 13: playbooks[0].verify.settle: '30' is not a duration",
        id="quoted, without unit",
    ),
    pytest.param(
        SMALL + "      settle: 99999999999d\n",
        "line 13: playbooks[0].verify.settle: '99999999999d' is longer than",
        id="duration out of bounds",
    ),
    pytest.param(
        SMALL + "      every: 0s\n",
        "line 13: playbooks[0].verify.every: has to be longer than nothing",
        id="samples without pause",
    ),
    *(
        pytest.param(
            SMALL + f"limits:\n  {name}\n", f"line 14: limits.{path}: has to be longer than nothing", id=path
        )
        for name, path in [
            ("per_target: {per: 0s}", "per_target.per"),
            ("in_all: {per: 0ms}", "in_all.per"),
            ("storm: {within: 0m}", "storm.within"),
            ("breaker: {within: 0h}", "breaker.within"),
            ("patience: 0s", "patience"),
            ("rollout: 0s", "rollout"),
        ]
    ),
    pytest.param(
        SMALL + "facts: {resource_pressure: 1.5}\n", "line 13: facts.resource_pressure: ", id="share above 1"
    ),
    pytest.param(
        SMALL + "facts: {resource_pressure: .nan}\n", "line 13: facts.resource_pressure: ", id="share NaN"
    ),
    pytest.param(
        SMALL + 'facts:\n  usage_query: max(usage{namespace="$namespace"})\n',
        "line 14: facts.usage_query: the query has to select one target: $deployment is missing",
        id="usage of every target",
    ),
    pytest.param(
        small("deployment: bizra-apex", "deployment: bizra-apex\n    statefulset: bizra-apex"),
        "line 3: targets[0]: a target has exactly one of deployment and statefulset",
        id="a target of two kinds",
    ),
    pytest.param(
        SMALL + 'facts:\n  usage_query: max(u{namespace="$namespace",a="$deployment",b="$workload"})\n',
        "line 14: facts.usage_query: the query has to select one target: it can have one of $deployment, "
        "$statefulset and $workload",
        id="a query about two kinds",
    ),
    pytest.param("- version: 1\n", "line 1: ", id="a list"),
    pytest.param("just text\n", "line 1: ", id="a text"),
    pytest.param("", "line 1: the file is empty", id="empty"),
    pytest.param("# nothing\n", "line 1: the file is empty", id="only a comment"),
    # YAML
    pytest.param("version: 1\ntargets: [\n", "line 3: ", id="unclosed"),
    pytest.param("version: 1\n\ttargets: []\n", "line 2: ", id="a tab"),
    pytest.param(SMALL + "---\nversion: 1\n", "line 13: but found another document", id="two documents"),
    pytest.param(SMALL + "x: *nobody\n", "line 13: found undefined alias", id="undefined alias"),
    pytest.param(
        small("AhsanScoreLow", "!!python/object:os.system {}"),
        "line 7: could not determine a constructor",
        id="a tag that would run code",
    ),
    pytest.param(
        small("AhsanScoreLow", "2026-99-99"),
        "line 1: a value cannot be read: month must be in 1..12",
        id="an impossible date",
    ),
    pytest.param(small("version: 1", "version: 1\n? [a, b]\n: c"), "line 2: ", id="a list as key"),
    pytest.param(
        small("version: 1", "version: 1\n7: c"), "line 2: 7: a key has to be a text", id="a number as key"
    ),
    pytest.param("version: &a [*a]\n", "line 1: the file refers to itself", id="a file that contains itself"),
    pytest.param("version: \x01\n", "line 1: ", id="a control character"),
    pytest.param(SMALL + "version: 1\n", "line 13: version: the key is given twice", id="twice"),
    pytest.param(
        small("alert: AhsanScoreLow", "alert: A\n    alert: A"),
        "line 8: playbooks[0].alert: the key is given twice",
        id="twice, deep",
    ),
    # the meaning
    pytest.param(
        small("bizra-testnet", "Bizra"),
        "line 3: targets[0]: 'Bizra'/'bizra-apex' is not a Kubernetes name",
        id="no Kubernetes name",
    ),
    pytest.param(
        small("bizra-testnet", "kube-system"),
        "line 3: targets[0].namespace: kube-system is never touched",
        id="system namespace",
    ),
    pytest.param(
        small("{max: 10}", "{min: 11, max: 10}"),
        "line 5: targets[0].replicas: min 11 is above max 10",
        id="min above max",
    ),
    pytest.param(
        small(
            "playbooks:",
            "  - {namespace: bizra-testnet, deployment: bizra-apex, replicas: {max: 2}}\nplaybooks:",
        ),
        "line 6: targets[1]: the target is listed twice",
        id="target twice",
    ),
    pytest.param(
        small("- restart: {}", "- when: []"),
        "line 9: playbooks[0].steps[0]: a step has exactly one of restart, undo, scale; this one has 0",
        id="no action",
    ),
    pytest.param(small("- restart: {}", "- {restart: {}, undo: {}}"), "this one has 2", id="two actions"),
    pytest.param(
        small("- restart: {}", "- scale:"),
        "line 9: playbooks[0].steps[0].scale: a scale has exactly one of",
        id="scale without a count",
    ),
    pytest.param(
        small("- restart: {}", "- scale: {}"),
        "a scale has exactly one of to (up) and down_to",
        id="scale to nothing",
    ),
    pytest.param(
        small("- restart: {}", "- scale: {to: 2, down_to: 1}"),
        "a scale has exactly one of",
        id="scale both ways",
    ),
    pytest.param(
        small("- restart: {}", "- scale: {down_to: 1, returns: true}"),
        "line 9: playbooks[0].steps[0].scale.returns: only a scale-up is given back",
        id="a scale-down that returns",
    ),
    pytest.param(
        small("- restart: {}", "- scale: {down_to: 1, under_hpa: raise_min}"),
        "line 9: playbooks[0].steps[0].scale.under_hpa: only a scale-up can raise the minimum",
        id="a scale-down that raises",
    ),
    pytest.param(
        small("- restart: {}", "- scale: {to: 2, under_hpa: raise}"),
        "line 9: playbooks[0].steps[0].scale.under_hpa: 'raise' is not one of 'refuse' or 'raise_min'",
        id="an unknown way under an autoscaler",
    ),
    pytest.param(
        small("version: 1", "version: 1\nreturns: {after: 0s}"),
        "line 2: returns.after: has to be longer than nothing",
        id="a return at once",
    ),
    pytest.param(
        small("- restart: {}", "- scale: {to: 11}"),
        "line 9: playbooks[0].steps[0].scale: 11 is outside the bounds 1 to 10 of bizra-testnet/bizra-apex",
        id="scale above bounds",
    ),
    pytest.param(
        small("- restart: {}", "- scale: {down_to: 1}").replace("{max", "{min: 2, max"),
        "1 is outside the bounds 2 to 10",
        id="scale below bounds",
    ),
    pytest.param(
        small("version: 1", "version: 1\nmode: approve").replace("steps:", "mode: auto\n    steps:"),
        "line 9: playbooks[0].mode: auto is laxer than the policy's approve",
        id="laxer mode",
    ),
    pytest.param(
        small("score{", 'score{pod="$deployments",'),
        "line 11: playbooks[0].verify.query: $deployments is not substituted",
        id="unknown variable",
    ),
    pytest.param(
        small("$deployment", "$pod").replace("score{", 'score{pod="$deployment",'),
        "$pod is not substituted",
        id="another variable",
    ),
    pytest.param(
        small('"$namespace"', "'x'"),
        "the query has to select one target: $namespace is missing",
        id="no namespace",
    ),
    pytest.param(
        small('"$deployment"', '"x-$deployment"'),
        '$deployment has to stand alone in double quotes: deployment="$deployment"',
        id="not alone",
    ),
    pytest.param(small('"$deployment"', '"${deployment}"'), "$deployment has to stand alone", id="in braces"),
    pytest.param(
        SMALL + "      within: 3h\n",
        "playbooks[0].verify.every: a sample every 10s within 3h is more than 1000",
        id="more samples than can be told",
    ),
    pytest.param(
        SMALL + "      within: 50s\n",
        "line 13: playbooks[0].verify.within: 50s is too short for settle and 3 samples",
        id="too short",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: '17:00', closes: '09:00'}]\n",
        "line 13: change_windows[0]: opens has to be before closes",
        id="across midnight",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: '08:61', closes: '09:00'}]\n",
        "line 13: change_windows[0].opens: ",
        id="minute 61",
    ),
    pytest.param(SMALL + "mode: !!bool maybe\n", "line 1: a value cannot be read", id="no such truth"),
    pytest.param(SMALL + 'mode: !!int ""\n', "line 1: a value cannot be read", id="no such number"),
    pytest.param(SMALL + f"mode: 1{':59' * 300}.5\n", "line 1: a value cannot be read", id="endless"),
    pytest.param(SMALL + "mode: !!timestamp foo\n", "line 1: a value cannot be read", id="no such time"),
    pytest.param(
        SMALL + "change_windows: [{opens: '08:00', closes: '25:00'}]\n",
        "line 13: change_windows[0].closes: ",
        id="hour 25",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: 10:00, closes: '12:00'}]\n",
        "line 13: change_windows[0].opens: 600 is not a text: put it in quotes",
        id="YAML's base 60",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: '8:00', closes: '12:00'}]\n",
        "line 13: change_windows[0].opens: ",
        id="one digit",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: '08:00', closes: '12:00', timezone: Mars/Olympus}]\n",
        "change_windows[0].timezone: 'Mars/Olympus' is not a known time zone",
        id="no such zone",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: '08:00', closes: '12:00', timezone: ../../etc/passwd}]\n",
        "is not a known time zone",
        id="a path as zone",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: '08:00', closes: '12:00', timezone: Europe}]\n",
        "is not a known time zone",
        id="a folder as zone",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: '08:00', closes: '12:00', timezone: ''}]\n",
        "is not a known time zone",
        id="no zone",
    ),
    pytest.param(
        SMALL + "change_windows: [{opens: '08:00', closes: '12:00', days: [noday]}]\n",
        "change_windows[0].days[0]: 'noday' is not one of",
        id="no such day",
    ),
]


@pytest.mark.parametrize(("text", "says"), ONE)
def test_a_mistake_is_named_by_line_and_path(text, says):
    (mistake,) = mistakes(text)
    assert says in mistake


def test_two_playbooks_for_one_alert_are_a_mistake_that_names_the_first():
    second = SMALL.split("playbooks:\n")[1]
    assert mistakes(SMALL + second) == [
        "line 13: playbooks[1].alert: 'AhsanScoreLow' already has a playbook (playbooks[0])"
    ]


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file():
    text = (
        small("version: 1", "version: 1\nversion: 1").replace("restart", "restrat").replace("'>= 95'", "95")
    )
    assert [said.split(":")[0] for said in mistakes(text)] == [
        "line 2",
        "line 10",
        "line 13",
    ]


def test_mistakes_of_meaning_are_also_reported_at_once():
    text = small("{max: 10}", "{min: 11, max: 10}").replace("- restart: {}", "- {restart: {}, undo: {}}")
    assert len(mistakes(text)) == 2


def test_the_message_names_the_file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(SMALL + "colour: red\n")
    with pytest.raises(PolicyMistakes, match=r"policy\.yaml: line 13: colour: unknown key"):
        read_policy(path)


def test_a_file_that_is_not_utf_8_is_a_mistake(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"version: 1 # \xff\n")
    with pytest.raises(PolicyMistakes, match="not UTF-8"):
        read_policy(path)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_policy(tmp_path / "nowhere.yaml")


def test_an_anchor_may_be_used_twice():
    again = "  - {alert: B, steps: *steps, verify: *verify}\n"
    text = small("steps:", "steps: &steps").replace("verify:", "verify: &verify") + again
    assert parse_policy(text).playbooks["B"].steps == parse_policy(text).playbooks["AhsanScoreLow"].steps


# The schema for editors


def test_the_schema_accepts_what_we_accept():
    validator = Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    for text in (SMALL, EVERYTHING, (ROOT / "policy.yaml").read_text()):
        validator.validate(yaml.safe_load(text))


@pytest.mark.parametrize("text", [SMALL + "colour: red\n", small("{max: 10}", "{max: 0}"), "version: 2\n"])
def test_the_schema_refuses_the_wrong_shape(text):
    with pytest.raises(ValidationError):
        Draft202012Validator(json_schema()).validate(yaml.safe_load(text))


def test_the_schema_in_the_docs_is_this_builds():
    regenerate = (
        "python -c 'import json; from remediator.policy_schema import json_schema; "
        "print(json.dumps(json_schema(), indent=2))' > docs/policy.schema.json"
    )
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema(), f"regenerate it: {regenerate}"
