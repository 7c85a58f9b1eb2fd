"""One thing broken in a copy of the shipped files: one mistake, with file, line and what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from remediator.cli import main
from tests.alignment.conftest import POLICY, ROUTING, RULES, RUNBOOK, SERIES

HIVE_DOWN = "- alert: HiveDown"
LATENCY = "- alert: HiveLatencyP99High"
WEBHOOK = "webhook_configs:"
GROUP_BY = "group_by: [alertname, namespace, deployment, statefulset]"


def test_the_shipped_files_fit_together(shipped):
    assert shipped.mistakes() == []


# Alerts and playbooks


def test_an_automatic_alert_without_a_playbook_is_named_where_it_is_defined(shipped):
    shipped.edit(POLICY, LATENCY, "- alert: Another")
    mistakes = shipped.mistakes(without=("series",))

    message = (
        'HiveLatencyP99High is remediation="auto" and has no playbook:'
        ' add one to the policy, or make it remediation="none"'
    )
    assert (RULES, shipped.line(RULES, LATENCY), message) in mistakes


def test_a_playbook_without_an_alert_is_named_in_the_policy(shipped):
    line = shipped.line(POLICY, LATENCY)
    shipped.edit(POLICY, LATENCY, "- alert: HiveLatencyHigh")

    message = "no rule defines HiveLatencyHigh: remove the playbook, or write the alert"
    assert (POLICY, line, message) in shipped.mistakes()


def test_a_playbook_for_an_alert_that_is_not_automatic_is_named_in_the_policy(shipped):
    shipped.edit(RULES, "remediation: auto", "remediation: none", after=HIVE_DOWN)

    where = f"{RULES}:{shipped.line(RULES, HIVE_DOWN)}"
    message = f'HiveDown is not remediation="auto" ({where}): give it that label, or remove the playbook'
    assert shipped.mistakes() == [(POLICY, shipped.line(POLICY, HIVE_DOWN), message)]


def test_a_rule_file_that_cannot_be_read_does_not_make_its_alerts_seem_missing(shipped):
    text = Path(RULES).read_text()
    Path(RULES).write_text(text + "  - [\n")

    mistakes = shipped.mistakes()

    assert len(mistakes) == 1
    assert mistakes[0][0] == RULES
    assert mistakes[0][1] > text.count("\n") - 1
    assert mistakes[0][2].startswith("not YAML: ")


# Routing


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            """matchers: ['remediation="auto"']""",
            """matchers: ['remediation="auto"', 'severity="critical"']""",
        ),
        ("""matchers: ['remediation="auto"']""", """match: {remediation: auto, alertname: HiveDown}"""),
        ("""matchers: ['remediation="auto"']""", """matchers: ['namespace="elsewhere"']"""),
        ("routes:\n", """routes:\n    - {receiver: devops-lead, match_re: {alertname: 'Hive.*'}}\n"""),
    ],
    ids=["severity", "alertname", "namespace", "taken by an earlier route"],
)
def test_an_automatic_alert_that_no_route_sends_to_the_webhook_is_named_where_it_is_defined(
    shipped, old, new
):
    shipped.edit(ROUTING, old, new)

    message = (
        "HiveLatencyP99High reaches devops-lead and not remediator: add a route for it, with continue: true,"
        " before any that takes it without continue"
    )
    assert (RULES, shipped.line(RULES, LATENCY), message) in shipped.mistakes()


def test_an_automatic_alert_that_reaches_no_person_is_named(shipped):
    shipped.edit(ROUTING, "continue: true", "continue: false")

    message = "HiveDown reaches remediator only and no person: add continue: true and a route to one"
    mistakes = shipped.mistakes()
    assert (RULES, shipped.line(RULES, HIVE_DOWN), message) in mistakes
    assert len(mistakes) == 4


@pytest.mark.parametrize("group_by", ["[alertname]", "[alertname, namespace]", "[deployment]"])
def test_a_route_that_mixes_targets_is_named_once(shipped, group_by):
    shipped.edit(ROUTING, GROUP_BY, f"group_by: {group_by}", after="- receiver: remediator")

    message = (
        "the route to remediator puts several targets into one notification:"
        " group_by [alertname, namespace, deployment]"
    )
    line = shipped.line(ROUTING, "group_by", after="- receiver: remediator")
    assert shipped.mistakes() == [(ROUTING, line, message)]


@pytest.mark.parametrize("group_by", ["['...']", "[]"])
def test_a_route_may_group_by_every_label_or_inherit_its_grouping(shipped, group_by):
    shipped.edit(ROUTING, GROUP_BY, f"group_by: {group_by}", after="- receiver: remediator")

    assert shipped.mistakes() == []


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        (
            "send_resolved: true",
            "send_resolved: false",
            "send_resolved: false",
            "set send_resolved: true; without it the remediator cannot see that an alert is over",
        ),
        (
            "max_alerts: 0",
            "max_alerts: 5",
            "max_alerts: 5",
            "set max_alerts: 0; a cut-off notification hides alerts from the remediator",
        ),
        (
            "follow_redirects: false",
            "follow_redirects: true",
            "follow_redirects: true",
            "set follow_redirects: false; a followed redirect loses the body and counts as delivered",
        ),
        (
            "follow_redirects: false",
            "proxy_from_environment: false",
            "http_config:",
            "set follow_redirects: false; a followed redirect loses the body and counts as delivered",
        ),
        (
            "type: Bearer",
            "type: Basic",
            "authorization:",
            "set authorization with type Bearer and credentials_file; the webhook asks for a token",
        ),
        (
            "authorization:",
            "tls_config:",
            "http_config:",
            "set authorization with type Bearer and credentials_file; the webhook asks for a token",
        ),
    ],
    ids=["not resolved", "truncated", "redirects", "redirects by default", "not a bearer", "no token"],
)
def test_a_webhook_that_loses_something_is_named_at_its_setting(shipped, old, new, at, message):
    shipped.edit(ROUTING, old, new, after=WEBHOOK)

    assert shipped.mistakes() == [(ROUTING, shipped.line(ROUTING, at, after=WEBHOOK), message)]


def test_the_settings_for_all_receivers_count_for_a_webhook_without_its_own(shipped):
    text = Path(ROUTING).read_text()
    start, end = text.index("        http_config:"), text.index("  - name: heartbeat")
    own = "".join(line.removeprefix("      ") + "\n" for line in text[start:end].splitlines())
    Path(ROUTING).write_text((text[:start] + text[end:]).replace("global:\n", f"global:\n{own}"))

    assert shipped.mistakes() == []


def test_a_routing_without_a_receiver_for_the_remediator_is_named_once(shipped):
    shipped.edit(ROUTING, "/webhook", "/hook")

    message = (
        "no webhook's url ends in /webhook: add one that posts to the remediator, or name it by --receiver"
    )
    assert shipped.mistakes() == [(ROUTING, shipped.line(ROUTING, "\nreceivers:") + 1, message)]
    assert shipped.mistakes(receiver="remediator") == []
    assert "no receiver nobody has a webhook" in shipped.mistakes(receiver="nobody")[0][2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'remediation=\"auto\"'", "remediation auto", "'remediation auto' is no matcher: write e.g."),
        ("'remediation=\"auto\"'", "'remediation=~\"(\"'", "mend the regular expression '(': "),
    ],
)
def test_a_matcher_that_cannot_be_read_is_named(shipped, old, new, message):
    shipped.edit(ROUTING, old, new, after="- receiver: remediator")

    mistakes = shipped.mistakes()

    assert [mistake[:1] for mistake in mistakes] == [(ROUTING,)]
    assert mistakes[0][1] - shipped.line(ROUTING, "- receiver: remediator") in {0, 1}
    assert mistakes[0][2].startswith(message)


# Series


def test_a_verification_query_that_names_an_unknown_series_is_named_at_its_line(shipped):
    shipped.edit(POLICY, "hive_operation_duration_seconds_count", "hive_operations_total")

    line = shipped.line(POLICY, "hive_operations_total")
    message = (
        "the verification of HiveErrorRateHigh reads hive_operations_total, which no rule records and no job"
        f" exports: record it, or list it in {SERIES}"
    )
    mistakes = shipped.mistakes()
    assert [mistake[:2] for mistake in mistakes] == [(POLICY, line)]
    assert re.sub(r"did you mean \w+\? If not, ", "", mistakes[0][2]) == message


@pytest.mark.parametrize(
    ("old", "new", "unknown", "close"),
    [
        (":ahsan_score:avg < 95", ":ahsan_score:mean < 95", "namespace_deployment:ahsan_score:mean", ":avg"),
        ("(ahsan_score{", "(ahsan_scores{", "ahsan_scores", "ahsan_score"),
        ("0 * up{", "0 * upp{", "upp", "up"),
    ],
    ids=["an alert", "a record", "in the middle of a block"],
)
def test_a_rule_that_names_an_unknown_series_is_named_at_its_line(shipped, old, new, unknown, close):
    shipped.edit(RULES, old, new)

    mistakes = shipped.mistakes()

    assert (RULES, shipped.line(RULES, new)) in [mistake[:2] for mistake in mistakes]
    assert f" reads {unknown}, which no rule records and no job exports: did you mean " in mistakes[0][2]
    assert f"{close}? If not, record it, or list it in {SERIES}" in mistakes[0][2]


def test_an_expression_that_is_no_promql_is_named(shipped):
    shipped.edit(RULES, "avg < 95", "avg << 95")
    shipped.edit(POLICY, "avg(ahsan_score", "avg((ahsan_score")

    assert [(file, line, message[:40]) for file, line, message in shipped.mistakes()] == [
        (
            POLICY,
            shipped.line(POLICY, "query:", after="AhsanScoreLow"),
            "the verification of AhsanScoreLow is no ",
        ),
        (RULES, shipped.line(RULES, "avg << 95"), "AhsanScoreLow is no PromQL (invalid prom"),
    ]


def test_a_selector_without_a_name_is_named(shipped):
    shipped.edit(RULES, 'ahsan_score{job="hive"}', '{job="hive"}')

    message = "namespace_deployment:ahsan_score:avg selects series without naming them: write the name"
    assert shipped.mistakes() == [(RULES, shipped.line(RULES, '{job="hive"}'), message)]


def test_rules_without_a_list_of_what_is_exported_are_told_to_write_one(shipped):
    Path(SERIES).unlink()

    message = "list here, under series, by job, what is exported; or --without series"
    assert shipped.mistakes() == [(SERIES, 1, message)]
    assert shipped.mistakes(without=("series",)) == []


# Runbook


def test_a_runbook_link_of_the_policy_to_no_heading_is_named(shipped):
    shipped.edit(POLICY, "#hivedown", "#hive-down")

    message = f"{RUNBOOK} has no heading #hive-down, did you mean #hivedown?"
    assert shipped.mistakes() == [(POLICY, shipped.line(POLICY, "#hive-down"), message)]


def test_a_heading_renamed_breaks_every_link_to_it(shipped):
    shipped.edit(RUNBOOK, "## HiveDown", "## A pod is gone")

    message = f"{RUNBOOK} has no heading #hivedown: write that section, or mend the link"
    assert shipped.mistakes() == [
        (POLICY, shipped.line(POLICY, "#hivedown"), message),
        (RULES, shipped.line(RULES, "#hivedown"), message),
    ]


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("docs/nowhere.md#hivedown", "there is no docs/nowhere.md: write it, or mend the link"),
        ("policy.yaml#hivedown", "policy.yaml#hivedown leads past docs: link to a heading in there"),
        (
            "https://wiki.example/runbook#hivedown",
            "https://wiki.example/runbook#hivedown leads past docs: link to a heading in there",
        ),
        ("docs/runbook.md", "docs/runbook.md leads to a whole document: add the #heading"),
        ("docs/../../x.md#a", "docs/../../x.md#a leads past docs: link to a heading in there"),
        ("http://[/docs/runbook.md#a", "http://[/docs/runbook.md#a is no link: mend it"),
    ],
)
def test_a_runbook_link_to_nowhere_is_named(shipped, link, message):
    shipped.edit(POLICY, "docs/runbook.md#hivedown", f"'{link}'")

    assert shipped.mistakes() == [(POLICY, shipped.line(POLICY, f"'{link}'"), message)]


def test_an_alert_whose_runbook_link_is_a_template_is_named(shipped):
    shipped.edit(RULES, "#hivedown", "#{{ $labels.alertname }}", after=HIVE_DOWN)

    [(file, line, message)] = shipped.mistakes()

    assert (file, line) == (RULES, shipped.line(RULES, "#{{ $labels.alertname }}"))
    assert message.endswith("without a template: only a fixed link can be checked")


# What an alert carries


def test_lacking_labels_and_annotations_are_named_together(shipped):
    shipped.edit(RULES, "          severity: critical\n          service: hive\n", "", after=HIVE_DOWN)
    shipped.edit(RULES, "summary: A pod", "sumary: A pod", after=HIVE_DOWN)

    assert shipped.mistakes() == [
        (
            RULES,
            shipped.line(RULES, "labels:", after=HIVE_DOWN),
            "give HiveDown the labels severity, service",
        ),
        (
            RULES,
            shipped.line(RULES, "annotations:", after=HIVE_DOWN),
            "give HiveDown the annotations summary",
        ),
    ]


def test_a_mistyped_remediation_is_named(shipped):
    shipped.edit(RULES, "remediation: auto", "remediation: atuo", after=HIVE_DOWN)

    message = "HiveDown: remediation is 'atuo'; write auto or none"
    assert (RULES, shipped.line(RULES, "remediation: atuo"), message) in shipped.mistakes()


@pytest.mark.parametrize(
    ("expr", "lacking"),
    [
        ("sum(ahsan_score) < 95", "namespace and deployment or statefulset"),
        ("sum by (namespace) (ahsan_score) < 95", "deployment or statefulset"),
        ("avg without (deployment) (namespace_deployment:ahsan_score:avg) < 95", "deployment or statefulset"),
        ("vector(1)", "namespace and deployment or statefulset"),
        ("absent(ahsan_score)", "namespace and deployment or statefulset"),
    ],
)
def test_an_automatic_alert_that_cannot_name_its_target_is_named(shipped, expr, lacking):
    shipped.edit(RULES, "namespace_deployment:ahsan_score:avg < 95", expr)

    message = (
        f"AhsanScoreLow is automatic and its series have no {lacking}:"
        " keep it in the aggregation, or write it as a label"
    )
    assert shipped.mistakes() == [(RULES, shipped.line(RULES, f"expr: {expr}"), message)]


STATEFUL = "namespace: bizra-testnet\n    statefulset: bizra-ledger"


def test_an_alert_about_a_kind_that_its_playbook_cannot_select_is_named(shipped):
    expr = "min by (namespace, statefulset) (ahsan_score) < 95"
    shipped.edit(RULES, "namespace_deployment:ahsan_score:avg < 95", expr)

    message = (
        "AhsanScoreLow names a statefulset, and its playbook's query selects a deployment:"
        " write $statefulset or $workload there"
    )
    assert (RULES, shipped.line(RULES, f"expr: {expr}"), message) in shipped.mistakes()


def test_a_route_has_to_tell_apart_the_kind_of_workload_that_a_playbook_is_for(shipped):
    shipped.edit(POLICY, "namespace: bizra-testnet\n    deployment: bizra-apex", STATEFUL)
    policy = (
        Path(POLICY).read_text().replace("$deployment", "$statefulset").replace("deployment=", "statefulset=")
    )
    Path(POLICY).write_text(policy)

    def mixed():
        wanted = "group_by [alertname, namespace, statefulset]"
        return [line for file, line, message in shipped.mistakes() if file == ROUTING and wanted in message]

    assert not mixed()
    shipped.edit(ROUTING, ", statefulset]", "]", after="- receiver: remediator")
    assert mixed() == [shipped.line(ROUTING, "group_by", after="- receiver: remediator")]
    shipped.edit(ROUTING, "deployment]", "...]", after="- receiver: remediator")
    assert not mixed()


def test_an_automatic_alert_may_write_its_target_as_labels(shipped):
    shipped.edit(RULES, "namespace_deployment:ahsan_score:avg < 95", "sum(ahsan_score) < 95")
    labels = "{namespace: bizra-testnet, deployment: bizra-apex, "
    shipped.edit(
        RULES,
        "labels:\n          severity: critical\n          service: hive\n          remediation: auto",
        f"labels: {labels}severity: critical, service: hive, remediation: auto}}",
        after="- alert: AhsanScoreLow",
    )

    assert shipped.mistakes() == []


# Versions


def test_rules_of_another_version_are_named(shipped):
    version = re.findall(r"rules_version: (\S+)", Path(RULES).read_text())[0]
    shipped.edit(RULES, f"rules_version: {version}", "rules_version: 0.9.0", after=LATENCY)

    where = f"{RULES}:{shipped.line(RULES, '- alert: AhsanScoreLow')}"
    message = (
        f"HiveLatencyP99High is of rules version 0.9.0, and {where} of {version}:"
        " all rules of a release carry one version"
    )
    assert shipped.mistakes() == [(RULES, shipped.line(RULES, "rules_version: 0.9.0"), message)]


def test_two_rule_files_of_different_versions_are_named(shipped):
    text = Path(RULES).read_text()
    [alert] = re.findall(rf"      {LATENCY}\n(?:(?:        .*)?\n)+", text)
    Path(RULES).write_text(text.replace(alert, ""))
    Path("prometheus-rules/more.yml").write_text(
        "groups:\n  - name: more\n    rules:\n" + re.sub(r"(rules_version:) \S+", r"\1 0.9.0", alert)
    )

    assert [(file, message[:48]) for file, _, message in shipped.mistakes()] == [
        ("prometheus-rules/more.yml", "HiveLatencyP99High is of rules version 0.9.0, an")
    ]


def test_rules_of_a_version_that_the_policy_does_not_list_are_named_in_the_policy(shipped):
    shipped.edit(POLICY, "rules_versions: [1.2.0]", "rules_versions: [1.0.0, 1.1.0]")
    where = f"{RULES}:{shipped.line(RULES, '- alert: AhsanScoreLow')}"
    message = (
        f"the rules are of version 1.2.0 ({where}), which is not listed here:"
        " see that the playbooks still fit, then list it"
    )
    assert shipped.mistakes() == [(POLICY, shipped.line(POLICY, "rules_versions:"), message)]


@pytest.mark.parametrize("listed", ["rules_versions: [1.2.0, 1.3.0]", "", "rules_versions: []"])
def test_a_policy_may_list_several_versions_or_none(shipped, listed):
    shipped.edit(POLICY, "rules_versions: [1.2.0]", listed)
    assert shipped.mistakes() == []


def test_an_info_series_of_another_version_is_named(shipped):
    Path("prometheus-rules/info.yml").write_text(
        "groups:\n  - name: info\n    rules:\n"
        "      - {record: hive_rules_info, expr: vector(1), labels: {version: 0.9.0}}\n"
    )

    [(file, line, message)] = shipped.mistakes()

    assert (file, line) == ("prometheus-rules/info.yml", 4)
    assert message.startswith("hive_rules_info is of rules version 0.9.0, and ")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{alert: A, record: B, expr: up}", "a rule has either alert or record, with a name"),
        ("{alert: A}", "give A an expr"),
        ("[]", "a rule has either alert or record, with a name"),
    ],
)
def test_a_rule_that_is_none_is_named(shipped, rule, message):
    file = "prometheus-rules/odd.yml"
    Path(file).write_text(f"groups:\n  - name: odd\n    rules:\n      - {rule}\n")

    assert shipped.mistakes() == [(file, 4, message)]


# Everything at once, and the command


def test_all_mistakes_are_told_at_once_in_the_order_of_file_and_line(shipped):
    shipped.edit(POLICY, "#ahsanscorelow", "#nowhere")
    shipped.edit(ROUTING, "max_alerts: 0", "max_alerts: 1")
    shipped.edit(RULES, "0 * up{", "0 * upp{")

    files = [file for file, _, _ in shipped.mistakes()]

    assert files == [ROUTING, POLICY, RULES]


def check(*args: str, expected: int) -> str:
    ran = CliRunner().invoke(main, ["check", *args], env={"REMEDIATOR_POLICY": "policy.yaml"})
    assert ran.exit_code == expected, ran.output
    return ran.stdout


def test_the_command_tells_in_json_what_it_held_together(shipped):
    found = json.loads(check(expected=0))

    assert found["mistakes"] == []
    assert found["playbooks"] == 4
    assert found["alerts"] >= 4
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["rules_version"])
    assert (found["rules"], found["series"]) == ("prometheus-rules", SERIES)
    assert (found["routing"], found["docs"]) == (ROUTING, "docs")


def test_the_command_names_mistakes_of_all_files_and_exits_with_1(shipped):
    shipped.edit(POLICY, "mode: auto", "mood: auto")
    shipped.edit(ROUTING, "max_alerts: 0", "max_alerts: 1")

    mistakes = json.loads(check(expected=1))["mistakes"]

    assert mistakes == [
        {
            "file": POLICY,
            "line": shipped.line(POLICY, "mood:"),
            "path": "mood",
            "message": "unknown key, did you mean 'mode'?",
        },
        {
            "file": ROUTING,
            "line": shipped.line(ROUTING, "max_alerts: 1"),
            "path": "receivers[0].webhook_configs[0].max_alerts",
            "message": "set max_alerts: 0; a cut-off notification hides alerts from the remediator",
        },
    ]


def test_on_a_terminal_each_mistake_is_a_line_to_jump_to(shipped, monkeypatch):
    monkeypatch.setattr("remediator.cli.checking.wants_json", lambda as_json: as_json)
    shipped.edit(RULES, "remediation: auto", "remediation: atuo", after=HIVE_DOWN)

    lines = check("--without", "series", expected=1).splitlines()

    where = f"{RULES}:{shipped.line(RULES, 'remediation: atuo')}"
    assert f"{where}: HiveDown: remediation is 'atuo'; write auto or none" in lines
    assert all(re.match(r"[\w/.-]+:\d+: ", line) for line in lines)


def test_what_is_left_out_is_not_checked(shipped):
    shipped.edit(ROUTING, "/webhook", "/hook")
    shipped.edit(POLICY, "#hivedown", "#nowhere")
    shipped.edit(RULES, "remediation: auto", "remediation: atuo", after=HIVE_DOWN)

    left_out = [arg for name in ("rules", "routing", "docs") for arg in ("--without", name)]
    found = json.loads(check(*left_out, expected=0))

    assert (found["rules"], found["routing"], found["docs"]) == (None, None, None)


def test_files_elsewhere_are_found_by_their_options(shipped):
    Path("other").mkdir()
    for place in ("prometheus-rules", "alertmanager", "docs"):
        Path(place).rename(f"other/{place}")

    args = ["--rules", "other/prometheus-rules", "--routing", "other/alertmanager/alertmanager.yml"]
    found = json.loads(check(*args, expected=0))

    assert found["series"] == "other/prometheus-rules/series.yml"
    assert found["docs"] is None


def test_a_place_that_is_not_there_is_one_clear_message(shipped):
    ran = CliRunner().invoke(main, ["check", "--rules", "nowhere"])

    assert ran.exit_code == 2
    assert "'nowhere' does not exist" in ran.stderr


def test_one_rule_file_may_be_named(shipped):
    found = json.loads(check("--rules", RULES, expected=0))

    assert found["rules"] == RULES
    assert found["series"] == SERIES
