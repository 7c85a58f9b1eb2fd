"""What a policy needs to be allowed, and the manifests that grant exactly that. Text in, text out: pure.

Playbooks apply to every target of the kinds they are for, so all targets of a kind need the same. A namespace
gets one Role, and one rule for each verb and resource, so that whoever reads it sees what each is for and
what can be left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import groupby

from remediator.core.actions import Target, Workload
from remediator.core.permissions import (
    CREATE_EVENTS,
    READ_LOGS,
    WRITE_DEPLOYMENT,
    WRITE_STATEFUL_SET,
    WRITES,
    Permission,
    needed_for,
    reads_of,
)
from remediator.core.policy import Mode, Policy

API = "rbac.authorization.k8s.io"


class Tier(StrEnum):
    """How far the permissions go; each tier includes the ones before it, as far as the steps need."""

    OBSERVE = "observe"
    SCALE = "scale"
    CHANGE = "restart and undo"

    @property
    def sentence(self) -> str:
        return {
            Tier.OBSERVE: "no step is ever taken, so nothing can be written",
            Tier.SCALE: "only replica counts can be written, not the pod template",
            Tier.CHANGE: "the pod template can be written; RBAC cannot limit that to restarts and undos",
        }[self]


def needed_on_each(policy: Policy) -> dict[Target, tuple[Permission, ...]]:
    """What the policy needs on each of its targets."""
    of_kind = {kind: needed(policy, kind) for kind in {target.kind for target in policy.targets}}
    return {target: of_kind[target.kind] for target in policy.targets}


def needed(policy: Policy, kind: Workload = Workload.DEPLOYMENT) -> tuple[Permission, ...]:
    """What the policy needs on each of its targets of a kind. What is only observed is not written."""
    writes = {
        permission
        for playbook in policy.playbooks.values()
        if policy.mode_for(playbook) is not Mode.OBSERVE and playbook.serves(kind)
        for step in playbook.steps
        for permission in needed_for(step.action, kind)
    }
    logs = (READ_LOGS,) if policy.logs else ()
    events = (CREATE_EVENTS,) if writes else ()
    return (*reads_of(kind), *logs, *(permission for permission in WRITES if permission in writes), *events)


def tier_of(permissions: Iterable[Permission]) -> Tier:
    found = set(permissions)
    if found.intersection((WRITE_DEPLOYMENT, WRITE_STATEFUL_SET)):
        return Tier.CHANGE
    return Tier.SCALE if found.intersection(WRITES) else Tier.OBSERVE


def manifests(policy: Policy, *, namespace: str, account: str) -> str:
    """A Role and a RoleBinding for each namespace of the policy's targets, as YAML with comments.

    `namespace` and `account` are those of the service account that is granted them.
    """
    needs = needed_on_each(policy)
    tier = tier_of(permission for permissions in needs.values() for permission in permissions)
    documents = [
        text
        for where, targets in groupby(sorted(needs), key=lambda target: target.namespace)
        for text in (
            "\n".join(_role(where, {target: needs[target] for target in targets}, account=account)),
            "\n".join(_binding(where, namespace=namespace, account=account)),
        )
    ]
    head = f"# Printed by `remediator rbac`.\n# Tier {tier}: {tier.sentence}.\n"
    return head + "\n---\n".join(documents) + "\n"


def _role(namespace: str, needs: Mapping[Target, Iterable[Permission]], *, account: str) -> Iterator[str]:
    yield from _head("Role", namespace, account)
    yield "rules:"
    for permission in dict.fromkeys(one for permissions in needs.values() for one in permissions):
        names = ", ".join(_quoted(target.name) for target, found in needs.items() if permission in found)
        yield f"  # {permission.because}"
        yield f"  - apiGroups: [{_quoted(permission.group)}]"
        yield f"    resources: [{_quoted(permission.resource)}]"
        if permission.named:
            yield f"    resourceNames: [{names}]"
        yield f"    verbs: [{_quoted(permission.verb)}]"


def _binding(where: str, *, namespace: str, account: str) -> Iterator[str]:
    yield from _head("RoleBinding", where, account)
    yield "roleRef:"
    yield f"  apiGroup: {API}"
    yield "  kind: Role"
    yield f"  name: {_quoted(account)}"
    yield "subjects:"
    yield "  - kind: ServiceAccount"
    yield f"    name: {_quoted(account)}"
    yield f"    namespace: {_quoted(namespace)}"


def _head(kind: str, namespace: str, name: str) -> Iterator[str]:
    yield f"apiVersion: {API}/v1"
    yield f"kind: {kind}"
    yield "metadata:"
    yield f"  name: {_quoted(name)}"
    yield f"  namespace: {_quoted(namespace)}"


def _quoted(name: str) -> str:
    """A name like `on` or `1e3` is a string all the same."""
    return json.dumps(name)
