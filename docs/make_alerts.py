"""Write docs/alerts.md from rules, policy and routing. `make docs`; a test holds it equal."""  # noqa: INP001

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from remediator.alignment.delivery import labels_when_firing
from remediator.alignment.expected import rules_version
from remediator.alignment.routing import Route, Routing, read_routing
from remediator.alignment.rules import Rule, RuleSet, read_rules
from remediator.core.actions import Action, RollingRestart, RolloutUndo, Scale
from remediator.core.durations import format_duration
from remediator.core.facts import Fact
from remediator.core.policy import Mode, Policy, Step
from remediator.core.verification import Criterion
from remediator.policy_file import read_policy

HERE = Path(__file__).parent
ROOT = HERE.parent

FACTS = {
    Fact.RECENT_ROLLOUT: "there was a rollout less than {recent} before the alert",
    Fact.PREVIOUS_REVISION: "there is a revision to go back to",
    Fact.ROLLOUT_IN_PROGRESS: "a rollout is in progress",
    Fact.ROLLOUT_STUCK: "a rollout is stuck",
    Fact.CRASH_LOOPING: "pods crash-loop",
    Fact.IMAGE_PULL_FAILING: "pods cannot pull their image",
    Fact.OOM_KILLED: "a container ran out of memory",
    Fact.UNSCHEDULABLE: "pods cannot be scheduled",
    Fact.RESOURCE_PRESSURE: "the pods use at least {pressure:.0%} of their limits",
    Fact.HPA: "a HorizontalPodAutoscaler scales it",
    Fact.GITOPS_OWNED: "GitOps owns it",
    Fact.OPERATOR_OWNED: "an operator owns it",
    Fact.PAUSED: "its rollout is paused",
    Fact.SINGLE_REPLICA: "it has a single replica",
}
GOOD = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
MODES = {
    Mode.AUTO: "It acts by itself.",
    Mode.APPROVE: "It asks a person before each step.",
    Mode.OBSERVE: "It only says what it would do.",
}


def alerts_page(root: Path = ROOT) -> str:
    """The text of docs/alerts.md."""
    rules = read_rules(root / "prometheus-rules")
    policy = read_policy(root / "policy.yaml")
    routing = read_routing(root / "alertmanager" / "alertmanager.yml")
    assert rules.complete
    assert isinstance(routing, Routing)
    parts = [
        "# Alerts",
        "",
        "Generated from rules, policy and routing by `make docs`.",
        f"Rules version {rules_version(rules)}. The [runbook](runbook.md) says what is left for a person.",
        "",
        "| alert | severity | remediation | told |",
        "| --- | --- | --- | --- |",
        *(_row(name, variants, routing, policy) for name, variants in _by_name(rules)),
        "",
    ]
    for name, variants in _by_name(rules):
        parts += [f"## {name}", ""]
        for rule in variants:
            parts += [*_meaning(rule), ""]
        parts += [*_action(variants, policy), ""]
        for rule in variants:
            parts += [*_told(rule, rules, routing, policy), ""]
        parts += [*_where(variants[0]), ""]
    return "\n".join(parts).rstrip() + "\n"


def _by_name(rules: RuleSet) -> list[tuple[str, list[Rule]]]:
    names = dict.fromkeys(rule.name for rule in rules.alerts)
    return [(name, [rule for rule in rules.alerts if rule.name == name]) for name in names]


def _row(name: str, variants: list[Rule], routing: Routing, policy: Policy) -> str:
    severities = ", ".join(dict.fromkeys(rule.labels.get("severity", "-") for rule in variants))
    remediation = ", ".join(dict.fromkeys(rule.labels.get("remediation", "none") for rule in variants))
    told = dict.fromkeys(one for rule in variants for one in _receivers(rule, routing, policy))
    return f"| [{name}](#{name.lower()}) | {severities} | {remediation} | {', '.join(told)} |"


def _meaning(rule: Rule) -> Iterator[str]:
    summary, description = (_plain(rule.annotations.get(key, "")) for key in ("summary", "description"))
    yield f"**{summary}.** {description}"
    yield ""
    yield "```promql"
    yield from rule.expr.strip().splitlines()
    yield "```"
    yield ""
    holds = f"Fires after {rule.hold} of that" if rule.hold else "Fires at once"
    keeps = f", and for {rule.keep_firing} after it ended" if rule.keep_firing else ""
    yield f"{holds}{keeps}. Severity: {rule.labels.get('severity', 'none given')}."


def _plain(text: str) -> str:
    """The text without templates: labels and the value by their names."""
    text = re.sub(r"\{\{ with .+?\{\{ end \}\}", "", text)  # of a StatefulSet; the text names a Deployment
    text = re.sub(r"\{\{[^{}]*\$labels\.(\w+)[^{}]*\}\}", lambda hit: hit[1].upper(), text)
    return re.sub(r"\{\{[^{}]*\$value[^{}]*\}\}", "VALUE", text).strip()


def _action(variants: list[Rule], policy: Policy) -> Iterator[str]:
    playbook = policy.playbooks.get(variants[0].name)
    if playbook is None or not any(rule.automatic for rule in variants):
        yield "**The remediator** does nothing: this alert is for people."
        return
    yield "**The remediator** takes the first step that it has not tried and whose conditions hold."
    yield MODES[policy.mode_for(playbook)]
    yield ""
    for number, step in enumerate(playbook.steps, start=1):
        yield f"{number}. {_words(step.action)}{_conditions(step, policy)}"
    yield ""
    yield from _recovery(playbook.verify)


def _conditions(step: Step, policy: Policy) -> str:
    recent, pressure = format_duration(policy.facts.recent_rollout), policy.facts.resource_pressure
    facts = [FACTS[fact].format(recent=recent, pressure=pressure) for fact in step.when]
    return f", if {_listed(facts)} (`{'`, `'.join(step.when)}`)" if facts else ""


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _words(action: Action) -> str:
    match action:
        case RollingRestart():
            return "Restart the pods one after another"
        case RolloutUndo():
            return "Undo the last rollout"
        case Scale(to=to, down=down):
            return f"Scale {'down' if down else 'up'} to {to} replica{'' if to == 1 else 's'}"


def _recovery(verify: Criterion) -> Iterator[str]:
    settle, every, within = map(format_duration, (verify.settle, verify.every, verify.within))
    value = f"{GOOD[verify.good.comparison]} {verify.good.threshold:g}"
    yield f"**Recovered** means {value} in {verify.samples} samples in a row, {every} apart,"
    yield f"from {settle} after the rollout on and no later than {within} after it:"
    yield ""
    yield "```promql"
    yield from verify.query.strip().splitlines()
    yield "```"


def _told(rule: Rule, rules: RuleSet, routing: Routing, policy: Policy) -> Iterator[str]:
    severity = f" ({rule.labels.get('severity')})" if _has_variants(rule, rules) else ""
    yield f"**Told{severity}:** {', '.join(_receivers(rule, routing, policy))}."
    held = list(_held_back(rule, rules, routing, policy))
    if held:
        yield f"Held back while {' or while '.join(held)}."


def _has_variants(rule: Rule, rules: RuleSet) -> bool:
    return any(other.name == rule.name and other is not rule for other in rules.alerts)


def _labels(rule: Rule, policy: Policy) -> Iterable[dict[str, str]]:
    return [
        labels_when_firing(rule, {"namespace": at.namespace, at.kind.label: at.name}) for at in policy.targets
    ]


def _receivers(rule: Rule, routing: Routing, policy: Policy) -> dict[str, None]:
    """All receivers, over all targets, in the order of the route tree; when, for who is told only later."""
    return dict.fromkeys(
        f"{route.receiver} (if it lasts {wait})" if (wait := _wait(route, routing)) else route.receiver
        for labels in _labels(rule, policy)
        for route in routing.root.reached(labels)
    )


def _wait(route: Route, routing: Routing) -> str | None:
    """How long the first notification waits, in minutes or more."""
    value: Any = routing.document.value
    for key in route.path:
        value = value[key]
    wait = str(value.get("group_wait", ""))
    return wait if wait[-1:] in ("m", "h", "d") else None


def _held_back(rule: Rule, rules: RuleSet, routing: Routing, policy: Policy) -> Iterator[str]:
    for inhibition in routing.inhibitions:
        sources = [
            other.name
            for other in rules.alerts
            if other is not rule
            and any(
                inhibition.holds_back(ours, theirs)
                for ours, theirs in zip(_labels(rule, policy), _labels(other, policy), strict=True)
            )
        ]
        same = f" on the same {' and '.join(inhibition.equal)}" if inhibition.equal else ""
        yield from (f"[{name}](#{name.lower()}) fires{same}" for name in dict.fromkeys(sources))


def _where(rule: Rule) -> Iterator[str]:
    runbook = rule.annotations.get("runbook_url", "").rpartition("/docs/")[2]
    dashboard = urlsplit(rule.annotations.get("dashboard_url", ""))
    yield f"**Look at** [what is left for you]({runbook}) and the dashboard `{dashboard.path or '-'}`."


if __name__ == "__main__":
    (HERE / "alerts.md").write_text(alerts_page())
