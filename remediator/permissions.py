"""What a policy needs to be allowed, and the manifests that grant exactly that. Text in, text out: pure.

Playbooks apply to every target, so all targets of a policy need the same. A namespace gets one Role,
and one rule for each verb, so that whoever reads it sees what each is for and what can be left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import groupby

from remediator.core.actions import Target
from remediator.core.permissions import READS, WRITE_DEPLOYMENT, WRITES, Permission, needed_by
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
            Tier.SCALE: "only the replica count can be written, not the Deployment",
            Tier.CHANGE: "the pod template can be written; RBAC cannot limit that to restarts and undos",
        }[self]


def needed(policy: Policy) -> tuple[Permission, ...]:
    """What the policy needs on each of its targets. What is only observed is not written."""
    writes = {
        permission
        for playbook in policy.playbooks.values()
        if policy.mode_for(playbook) is not Mode.OBSERVE
        for step in playbook.steps
        for permission in needed_by(step.action)
    }
    return (*READS, *(permission for permission in WRITES if permission in writes))


def tier_of(permissions: Iterable[Permission]) -> Tier:
    found = set(permissions)
    if WRITE_DEPLOYMENT in found:
        return Tier.CHANGE
    return Tier.SCALE if found.intersection(WRITES) else Tier.OBSERVE


def manifests(policy: Policy, *, namespace: str, account: str) -> str:
    """A Role and a RoleBinding for each namespace of the policy's targets, as YAML with comments.

    `namespace` and `account` are those of the service account that is granted them.
    """
    permissions = needed(policy)
    tier = tier_of(permissions)
    documents = [
        text
        for where, targets in groupby(sorted(policy.targets), key=lambda target: target.namespace)
        for text in (
            "\n".join(_role(where, list(targets), permissions, account=account)),
            "\n".join(_binding(where, namespace=namespace, account=account)),
        )
    ]
    head = f"# Printed by `remediator rbac`.\n# Tier {tier}: {tier.sentence}.\n"
    return head + "\n---\n".join(documents) + "\n"


def _role(
    namespace: str, targets: list[Target], permissions: Iterable[Permission], *, account: str
) -> Iterator[str]:
    yield from _head("Role", namespace, account)
    yield "rules:"
    names = ", ".join(_quoted(target.deployment) for target in targets)
    for permission in permissions:
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
