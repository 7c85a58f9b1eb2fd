"""The admission policies, evaluated by a CEL interpreter of our own choice, not by an API server.

They need Kubernetes 1.30. Here each expression is parsed and answers as written for a restart, an undo, a
scale, and what must not pass; the API server's type check and its cost limits are not covered.
"""

from __future__ import annotations

import importlib.util
import re
from copy import deepcopy
from typing import Any

import pytest
import yaml

from remediator.core.actions import Target, Workload
from remediator.policy_file import parse_policy
from tests.builders import a_policy

from .places import DEPLOY, ROOT, Json

celpy = pytest.importorskip("celpy", reason="cel-python is not installed")

ADMISSION = DEPLOY / "components" / "admission"
OURS = "system:serviceaccount:remediator:remediator"


def render() -> Any:
    """The script beside the manifests, as a module."""
    spec = importlib.util.spec_from_file_location("render", DEPLOY / "render.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
        "metadata": {
            "labels": {"remediator/enabled": "true", "app": "web"},
            "annotations": {
                "kubernetes.io/change-cause": "remediator: rolling restart for HiveDown",
                "remediator/paused-until": "2026-01-01T00:00:00Z",
            },
        },
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
    before["metadata"]["annotations"]["kubernetes.io/change-cause"] = "kubectl apply"
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
    "a change of the pod template says why in kubernetes.io/change-cause": lambda _, whole: whole["metadata"][
        "annotations"
    ].update({"kubernetes.io/change-cause": "kubectl apply"}),
    "a person's pause stays as it is": lambda _, whole: whole["metadata"]["annotations"].pop(
        "remediator/paused-until"
    ),
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
    "no init container becomes privileged": lambda template, _: pod(template)["initContainers"][0].update(
        securityContext={"privileged": True}
    ),
    "no container gets a capability that it did not have": lambda template, _: pod(template)["containers"][
        0
    ].update(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
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


@pytest.mark.parametrize(
    ("had", "has"),
    [
        ({"privileged": True}, {"privileged": True}),
        ({"capabilities": {"add": ["NET_ADMIN", "SYS_TIME"]}}, {"capabilities": {"add": ["SYS_TIME"]}}),
        ({"capabilities": {"add": ["SYS_TIME"]}}, {"capabilities": {"drop": ["ALL"]}}),
    ],
)
def test_what_a_container_had_before_it_may_have_after_an_undo(had: Json, has: Json):
    before, after = a_deployment(), a_deployment()
    for containers in ("containers", "initContainers"):
        pod(before["spec"]["template"])[containers][0]["securityContext"] = had
        pod(after["spec"]["template"])[containers][0]["securityContext"] = has
    assert refusals("deployments.yaml", {"oldObject": before, "object": after}) == []


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
    request = a_scaling("bizra-testnet", "bizra-apex")
    scale = {"spec": {} if replicas is None else {"replicas": replicas}}

    assert bool(refusals("scale.yaml", {"request": request, "object": scale})) is not passes


def test_the_scale_policy_knows_the_targets_of_the_policy_and_no_other():
    bounds = evaluate(policy_in("scale.yaml")["variables"][0]["expression"], {})
    targets = parse_policy((ROOT / "policy.yaml").read_text()).targets
    other = {"request": a_scaling("x", "bizra-apex"), "object": {"spec": {"replicas": 2}}}

    assert {str(key): [int(end) for end in ends] for key, ends in bounds.items()} == {
        str(target): [bound.min_replicas, bound.max_replicas] for target, bound in targets.items()
    }
    assert refusals("scale.yaml", other) == ["the policy does not list this target"]


def a_scaling(namespace: str, name: str, resource: str = "deployments") -> Json:
    return {"namespace": namespace, "name": name, "resource": {"group": "apps", "resource": resource}}


def test_a_stateful_set_has_bounds_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """Those of the shipped policy's Deployment are not its."""
    scaling = a_scaling("bizra-testnet", "bizra-apex", "statefulsets")
    scale = {"request": scaling, "object": {"spec": {"replicas": 2}}}
    assert refusals("scale.yaml", scale) == ["the policy does not list this target"]

    ledger = Target("bizra-testnet", "bizra-apex", Workload.STATEFUL_SET)
    policy = a_policy(targets=(ledger,))
    spec = next(yaml.safe_load_all(render()._bounded(render().SCALE_POLICY, policy)))["spec"]
    monkeypatch.setattr("tests.deploy.test_admission.policy_in", lambda _: spec)
    assert refusals("scale.yaml", scale) == []
    assert refusals("scale.yaml", scale | {"object": {"spec": {"replicas": 11}}}) != []
    scaling["resource"]["resource"] = "deployments"
    assert refusals("scale.yaml", scale) == ["the policy does not list this target"]


def a_stateful_set() -> Json:
    found = a_deployment()
    for key in ("strategy", "progressDeadlineSeconds"):
        del found["spec"][key]
    found["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    found["spec"]["template"]["metadata"] = {"labels": {"app": "web"}, "annotations": {"a": "b"}}
    return found


def changed_stateful(change: Any) -> list[str]:
    before, after = a_stateful_set(), a_stateful_set()
    before["metadata"]["annotations"]["kubernetes.io/change-cause"] = "kubectl apply"
    change(after["spec"]["template"], after)
    return refusals("statefulsets.yaml", {"oldObject": before, "object": after})


RESTARTED = {"kubectl.kubernetes.io/restartedAt": "2026-11-25T12:00:00Z"}
PODS = "the remediator changes nothing of the pods"
ANNOTATIONS = "the remediator changes no annotation of the pods but that of a restart"
NOTHING = "the remediator changes nothing of the StatefulSet but its pod template"
STATEFUL = [
    pytest.param(lambda t, _: t["metadata"]["annotations"].update(RESTARTED), [], id="a restart"),
    pytest.param(lambda t, _: t["metadata"]["annotations"].update(a="c"), [ANNOTATIONS], id="another one"),
    pytest.param(lambda t, _: t["metadata"]["annotations"].update(c="d"), [ANNOTATIONS], id="one more"),
    pytest.param(lambda t, _: t["metadata"].update(annotations=RESTARTED), [ANNOTATIONS], id="one less"),
    pytest.param(lambda t, _: t["metadata"]["labels"].update(app="evil"), [PODS], id="a label of the pods"),
    pytest.param(lambda t, _: t["spec"]["containers"][0].update(image="node:v1"), [PODS], id="an image"),
    pytest.param(
        lambda t, _: t["spec"]["containers"][0].update(image="registry:5000/bizra/node:v1"),
        [PODS],
        id="another version: a StatefulSet is not undone",
    ),
    pytest.param(
        lambda _, o: o["spec"].update(replicas=3),
        ["replicas are changed through the scale subresource only"],
        id="replicas",
    ),
    pytest.param(
        lambda _, o: o["spec"].update(updateStrategy={"type": "OnDelete"}), [NOTHING], id="the strategy"
    ),
    pytest.param(
        lambda _, o: o["spec"].update(persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}),
        [NOTHING],
        id="what becomes of volumes",
    ),
    pytest.param(lambda _, o: o["spec"].update(ordinals={"start": 5}), [NOTHING], id="the numbers"),
    pytest.param(
        lambda _, o: o["metadata"]["labels"].update(x="y"),
        ["the remediator does not change labels"],
        id="label",
    ),
    pytest.param(
        lambda _, o: o["metadata"]["annotations"].pop("remediator/paused-until"),
        ["a person's pause stays as it is"],
        id="a pause",
    ),
    pytest.param(
        lambda _, o: o["metadata"]["annotations"].update({"kubernetes.io/change-cause": "x"}),
        ["a change of the pod template says why in kubernetes.io/change-cause"],
        id="without a cause",
    ),
]


@pytest.mark.parametrize(("change", "said"), STATEFUL)
def test_of_a_stateful_set_nothing_passes_but_a_restart(change: Any, said: list[str]):
    assert changed_stateful(change) == said


def test_a_stateful_set_that_has_not_opted_in_is_left_alone():
    before, after = a_stateful_set(), a_stateful_set()
    for one in (before, after):
        one["metadata"]["labels"]["remediator/enabled"] = "false"
    said = refusals("statefulsets.yaml", {"oldObject": before, "object": after})
    assert said == ["the StatefulSet has not opted in by the label remediator/enabled"]


@pytest.mark.parametrize("name", ["deployments.yaml", "statefulsets.yaml", "scale.yaml"])
def test_only_our_service_account_is_concerned(name: str):
    (condition,) = policy_in(name)["matchConditions"]

    assert evaluate(condition["expression"], {"request": {"userInfo": {"username": OURS}}})
    assert not evaluate(condition["expression"], {"request": {"userInfo": {"username": "ada"}}})
