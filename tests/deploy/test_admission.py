"""The admission policies, evaluated by a CEL interpreter of our own choice, not by an API server.

They need Kubernetes 1.30. Here each expression is parsed and answers as written for a restart, an undo, a
scale, and what must not pass; the API server's type check and its cost limits are not covered.
"""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest
import yaml

from remediator.policy_file import parse_policy

from .places import DEPLOY, ROOT, Json

celpy = pytest.importorskip("celpy", reason="cel-python is not installed")

ADMISSION = DEPLOY / "components" / "admission"
OURS = "system:serviceaccount:remediator:remediator"


def policy_in(name: str) -> Json:
    spec: Json = next(yaml.safe_load_all((ADMISSION / name).read_text()))["spec"]
    return spec


def evaluate(expression: str, names: Json) -> Any:
    environment = celpy.Environment()
    program = environment.program(environment.compile(expression), functions={"find": find})
    return program.evaluate({name: celpy.json_to_cel(value) for name, value in names.items()})


def find(text: str, pattern: str) -> Any:
    """Kubernetes' own function on strings: the first match, or nothing."""
    found = re.search(str(pattern), str(text))
    return celpy.celtypes.StringType(found.group() if found else "")


def refusals(name: str, names: Json) -> list[str]:
    spec = policy_in(name)
    variables: Json = {}
    for one in spec["variables"]:
        variables[one["name"]] = evaluate(one["expression"], {**names, "variables": {}})
    known = {name: celpy.json_to_cel(value) for name, value in names.items()}
    known["variables"] = celpy.celtypes.MapType(
        {celpy.celtypes.StringType(key): value for key, value in variables.items()}
    )
    environment = celpy.Environment()
    return [
        one["message"]
        for one in spec["validations"]
        if not environment.program(environment.compile(one["expression"]), functions={"find": find}).evaluate(
            known
        )
    ]


def a_deployment() -> Json:
    return {
        "metadata": {"labels": {"remediator/enabled": "true", "app": "web"}},
        "spec": {
            "replicas": 2,
            "strategy": {"type": "RollingUpdate"},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": {"annotations": {}},
                "spec": {
                    "containers": [{"name": "app", "image": "registry:5000/bizra/node:v2"}],
                    "initContainers": [{"name": "prepare", "image": "prepare@sha256:abc"}],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def changed(change: Any) -> list[str]:
    before, after = a_deployment(), a_deployment()
    change(after["spec"]["template"], after)
    return refusals("deployments.yaml", {"oldObject": before, "object": after})


def pod(template: Json) -> Json:
    spec: Json = template["spec"]
    return spec


def test_a_restart_passes():
    assert changed(lambda template, _: template["metadata"]["annotations"].update(restartedAt="now")) == []


@pytest.mark.parametrize(
    ("image", "passes"),
    [
        ("registry:5000/bizra/node:v1", True),
        ("registry:5000/bizra/node@sha256:def", True),
        ("registry:5000/bizra/node:v1@sha256:def", True),
        ("registry:5000/bizra/node", True),
        ("registry:6000/bizra/node:v2", False),
        ("registry:5000/bizra/node-evil:v2", False),
        ("evil/registry:5000/bizra/node:v2", False),
        ("node:v2", False),
    ],
)
def test_an_undo_passes_to_another_version_of_the_same_image_only(image: str, passes: bool):
    said = changed(lambda template, _: pod(template)["containers"][0].update(image=image))

    assert said == ([] if passes else ["an undo goes to another version of the same images"])


REFUSED: dict[str, Any] = {
    "the remediator does not change labels": lambda _, whole: whole["metadata"]["labels"].pop("app"),
    "replicas are changed through the scale subresource only": lambda _, whole: whole["spec"].update(
        replicas=3
    ),
    "the remediator changes nothing of the Deployment but its pod template": lambda _, whole: whole[
        "spec"
    ].update(paused=True),
    "an undo goes to another version of the same images": lambda template, _: pod(template)[
        "containers"
    ].append({"name": "side", "image": "evil:1"}),
    "an undo goes to another version of the same images, init containers too": lambda template, _: pod(
        template
    )["initContainers"][0].update(image="evil:1"),
    "the service account of the pods stays": lambda template, _: pod(template).update(
        serviceAccountName="admin"
    ),
    "no pod joins a namespace of its host that it was not in": lambda template, _: pod(template).update(
        hostPID=True
    ),
    "no directory of the host is mounted that was not mounted": lambda template, _: pod(template)[
        "volumes"
    ].append({"name": "root", "hostPath": {"path": "/"}}),
    "no container becomes privileged": lambda template, _: pod(template)["containers"][0].update(
        securityContext={"privileged": True}
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_no_restart_and_no_undo_does_is_refused(message: str):
    assert changed(REFUSED[message]) == [message]


def test_every_validation_has_been_seen_to_refuse():
    messages = [one["message"] for one in policy_in("deployments.yaml")["validations"]]

    assert messages == ["the Deployment has not opted in by the label remediator/enabled", *REFUSED]


@pytest.mark.parametrize("labels", [None, {}, {"remediator/enabled": "false"}])
def test_a_deployment_that_has_not_opted_in_is_left_alone_even_if_the_change_says_so(labels: Json | None):
    before = a_deployment()
    before["metadata"] = {} if labels is None else {"labels": labels}

    said = refusals("deployments.yaml", {"oldObject": before, "object": deepcopy(before)})

    assert "the Deployment has not opted in by the label remediator/enabled" in said


@pytest.mark.parametrize(
    ("replicas", "passes"), [(1, True), (10, True), (0, False), (11, False), (None, False)]
)
def test_the_scale_policy_holds_the_bounds_of_the_policy(replicas: int | None, passes: bool):
    request = {"namespace": "bizra-testnet", "name": "bizra-apex"}
    scale = {"spec": {} if replicas is None else {"replicas": replicas}}

    assert bool(refusals("scale.yaml", {"request": request, "object": scale})) is not passes


def test_the_scale_policy_knows_the_targets_of_the_policy_and_no_other():
    bounds = evaluate(policy_in("scale.yaml")["variables"][0]["expression"], {})
    targets = parse_policy((ROOT / "policy.yaml").read_text()).targets
    other = {"request": {"namespace": "x", "name": "bizra-apex"}, "object": {"spec": {"replicas": 2}}}

    assert {str(key): [int(end) for end in ends] for key, ends in bounds.items()} == {
        str(target): [bound.min_replicas, bound.max_replicas] for target, bound in targets.items()
    }
    assert refusals("scale.yaml", other) == ["the policy does not list this target"]


@pytest.mark.parametrize("name", ["deployments.yaml", "scale.yaml"])
def test_only_our_service_account_is_concerned(name: str):
    (condition,) = policy_in(name)["matchConditions"]

    assert evaluate(condition["expression"], {"request": {"userInfo": {"username": OURS}}})
    assert not evaluate(condition["expression"], {"request": {"userInfo": {"username": "ada"}}})
