"""Whether every automatic alert reaches the remediator, whole and one target at a time, and a person too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from remediator.alignment.located import KeyPath, Mistake, mapping, mappings
from remediator.alignment.playbooks import PolicyEntries
from remediator.alignment.routing import Route, Routing
from remediator.alignment.rules import Rule, RuleSet

_WEBHOOK = "/webhook"
_ANYWHERE = {"namespace": "a-namespace", "deployment": "a-deployment"}


def remediator_receivers(routing: Routing, named: str | None = None) -> dict[str, list[KeyPath]]:
    """The receivers that post to the remediator, with the places of those webhooks.

    By name, or because the address of a webhook ends in /webhook.
    """
    found: dict[str, list[KeyPath]] = {}
    for name, (path, receiver) in routing.receivers.items():
        for index, webhook in mappings(receiver.get("webhook_configs")):
            if name == named if named else _to_webhook(str(webhook.get("url", ""))):
                found.setdefault(name, []).append((*path, "webhook_configs", index))
    return found


def _to_webhook(url: str) -> bool:
    try:
        return urlsplit(url).path.endswith(_WEBHOOK)
    except ValueError:
        return False


def labels_when_firing(rule: Rule, target: Mapping[str, str]) -> dict[str, str]:
    """The labels an alert has for a target, given by its labels, as far as its rule says."""
    return {"alertname": rule.name, **rule.labels, **target, **rule.pinned()}


def undelivered(
    rules: RuleSet, routing: Routing, entries: PolicyEntries | None, named: str | None
) -> Iterator[Mistake]:
    """Everything between an automatic alert and the remediator."""
    ours = remediator_receivers(routing, named)
    if not ours:
        wanted = f"no receiver {named} has a webhook" if named else f"no webhook's url ends in {_WEBHOOK}"
        message = f"{wanted}: add one that posts to the remediator, or name it by --receiver"
        yield routing.document.mistake(("receivers",), message)
        return
    for path in (path for paths in ours.values() for path in paths):
        yield from _webhook_mistakes(routing, path)
    mixing: dict[KeyPath, Mistake] = {}
    for rule in rules.automatic:
        for target in (entries.targets_of(rule.name) if entries else ()) or (_ANYWHERE,):
            reached = routing.root.reached(labels_when_firing(rule, target))
            message = _lost(routing, reached, ours)
            if message:
                yield rule.mistake(f"{rule.name} {message}")
                break
            mixing |= {
                route.path: _mixing(routing, route, target)
                for route in reached
                if route.receiver in ours and not route.groups_apart(*target)
            }
    yield from mixing.values()


def _lost(routing: Routing, reached: list[Route], ours: Mapping[str, Any]) -> str:
    """Who is not told of an alert, and what to do about it."""
    receivers = [route.receiver for route in reached]
    if not ours.keys() & set(receivers):
        ways = " or ".join(ours)
        return (
            f"reaches {', '.join(receivers)} and not {ways}: add a route for it, with continue: true,"
            " before any that takes it without continue"
        )
    if not any(_notifies(routing, name) for name in receivers if name not in ours):
        return f"reaches {', '.join(receivers)} only and no person: add continue: true and a route to one"
    return ""


def _notifies(routing: Routing, receiver: str) -> bool:
    _, value = routing.receivers.get(receiver, ((), {}))
    return any(key.endswith("_configs") and configs for key, configs in value.items())


def _mixing(routing: Routing, route: Route, target: Iterable[str]) -> Mistake:
    message = f"the route to {route.receiver} puts several targets into one notification"
    return routing.document.mistake(
        (*route.path, "group_by"), f"{message}: group_by [alertname, {', '.join(target)}]"
    )


def _webhook_mistakes(routing: Routing, path: KeyPath) -> Iterator[Mistake]:
    webhook = _at(routing.document.value, path)
    http = webhook.get("http_config")
    here: KeyPath = (*path, "http_config")
    if not isinstance(http, dict):
        http, here = mapping(mapping(routing.document.value.get("global")).get("http_config")), path
    if webhook.get("send_resolved", True) is not True:
        message = "set send_resolved: true; without it the remediator cannot see that an alert is over"
        yield routing.document.mistake((*path, "send_resolved"), message)
    if webhook.get("max_alerts"):
        message = "set max_alerts: 0; a cut-off notification hides alerts from the remediator"
        yield routing.document.mistake((*path, "max_alerts"), message)
    if http.get("follow_redirects", True) is not False:
        message = "set follow_redirects: false; a followed redirect loses the body and counts as delivered"
        yield routing.document.mistake((*here, "follow_redirects"), message)
    if not _authorized(http):
        message = "set authorization with type Bearer and credentials_file; the webhook asks for a token"
        yield routing.document.mistake((*here, "authorization"), message)


def _authorized(http: Mapping[str, Any]) -> bool:
    if http.get("bearer_token") or http.get("bearer_token_file"):
        return True
    given = http.get("authorization")
    if not isinstance(given, dict) or str(given.get("type", "Bearer")).lower() != "bearer":
        return False
    return bool(given.get("credentials") or given.get("credentials_file"))


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value[part]
    return value
