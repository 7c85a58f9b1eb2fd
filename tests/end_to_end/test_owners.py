"""Who else has a say in a Deployment, and how it would be rolled out: what `explain` decides, and why.

On a real API server, through the command line. The table is the specification.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.clusters import Cluster
from tests.end_to_end.serving import SaidMetrics, a_notification, a_policy
from tests.waiting import eventually

pytestmark = pytest.mark.real

Json = dict[str, Any]
ACTIONS: dict[str, Json] = {
    "restart": {"restart": {}},
    "undo": {"undo": {}},
    "scale": {"scale": {"to": 5}},
    "raise": {"scale": {"to": 5, "under_hpa": "raise_min"}},
}

TABLE = """
target             restart                      undo                         scale
plain              act                          act                          act
hpa                act                          act                          refused hpa_owns_replicas
hpa-growing        held autoscaler_growing      act                          refused hpa_owns_replicas
hpa-twice          act                          act                          refused hpa_owns_replicas
keda               act                          act                          refused hpa_owns_replicas
argocd             act                          refused owned_elsewhere      refused owned_elsewhere
flux               act                          refused owned_elsewhere      refused owned_elsewhere
flux-by-manager    act                          refused owned_elsewhere      refused owned_elsewhere
flux-off           act                          act                          act
helm               act                          act                          act
operator           act                          refused owned_elsewhere      refused owned_elsewhere
paused             held deployment_paused       held deployment_paused       held deployment_paused
rolling            held rollout_in_progress     held rollout_in_progress     held rollout_in_progress
rolling-hopeless   held rollout_in_progress     act                          held rollout_in_progress
budget             act                          act                          act
single             act                          act                          act
single-no-surge    refused would_interrupt      refused would_interrupt      act
recreate           refused would_interrupt      refused would_interrupt      act
recreate-accepted  act                          act                          act
zero               held scaled_to_zero          held scaled_to_zero          held scaled_to_zero
not-opted-in       a person not_opted_in        a person not_opted_in        a person not_opted_in
"""
_BEGINS = (0, 19, 48, 77, 106)
ROWS = [
    tuple(line[begin:end].strip() for begin, end in pairwise(_BEGINS))
    for line in TABLE.strip().splitlines()[1:]
]
RAISES = {
    "hpa": "act",
    "hpa-growing": "act",
    "hpa-twice": "refused hpa_owns_replicas",
    "keda": "refused owned_elsewhere",
}
"""The same scale with `under_hpa: raise_min`; what is not here is as without."""
WORDS = {
    ("hpa", "scale"): "hpa (1 to 9 replicas",
    ("hpa-growing", "restart"): "wants 5 of now 2",
    ("hpa-twice", "scale"): "2 autoscalers work against each other",
    ("keda", "scale"): "made by ScaledObject/keda",
    ("hpa-twice", "raise"): "2 autoscalers work against each other",
    ("keda", "raise"): "made by ScaledObject/keda",
    ("argocd", "undo"): "annotation argocd.argoproj.io/tracking-id=",
    ("flux", "undo"): "label kustomize.toolkit.fluxcd.io/name=",
    ("flux-by-manager", "undo"): "field manager kustomize-controller",
    ("operator", "scale"): "controlled by ConfigMap/owner",
    ("paused", "undo"): "kubectl rollout resume",
    ("recreate", "restart"): "strategy Recreate takes every pod away before the first new one starts",
    ("single-no-surge", "undo"): "may take 1 pods away before their successors are ready",
}
"""What the reason has to say, where it is about something in particular."""

LATE: dict[str, Json] = {
    "argocd": {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x:apps/Deployment:y"}}},
    "flux": {"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}},
    "flux-off": {
        "metadata": {
            "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"},
            "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
        }
    },
    "helm": {
        "metadata": {
            "labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "x"},
            "annotations": {"meta.helm.sh/release-name": "x"},
        }
    },
    "paused": {"spec": {"paused": True}},
    "recreate": {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
    "recreate-accepted": {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
    "single-no-surge": {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}},
    "zero": {"spec": {"replicas": 0}},
    "not-opted-in": {"metadata": {"labels": {"remediator/enabled": None}}},
}
"""What is changed after the first rollout."""
AT_REST = ("paused", "zero")
"""Of those, what would be in the way of the second rollout."""
PAIRS = ("plain", "hpa-growing", "recreate", "recreate-accepted")
"""Who has two replicas; the others have one, which is quicker."""
ROLLOUTS = {"rolling": ("node:v3", 500), "rolling-hopeless": ("node:imagepull", 0)}
"""Image and minReadySeconds of a rollout that goes on."""
MERGE = "application/merge-patch+json"


class Scene:
    """One namespace with a Deployment for each row."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    def build(self) -> None:
        names = [name for name, *_ in ROWS]
        for name in names:
            self.cluster.create(self.namespace, name, "node:v1", replicas=2 if name in PAIRS else 1)
        self._await(names)
        for name in names:
            if name not in AT_REST:
                self.patch(name, LATE.get(name, {}))
            self.cluster.set_image(self.namespace, name, "node:v2")
        self._await(names)
        for name in AT_REST:
            self.patch(name, LATE[name])
        flux = "fieldManager=kustomize-controller"
        self.patch("flux-by-manager", {"metadata": {"labels": {"x": "y"}}}, flux)
        self._own("operator")
        self._autoscalers()
        self._budget("budget")
        for name, (image, seconds) in ROLLOUTS.items():
            self.patch(name, {"spec": {"minReadySeconds": seconds}})
            self.cluster.set_image(self.namespace, name, image)
        for name in AT_REST:
            eventually(partial(self._observed, name), f"the controller has seen {name}")
        eventually(lambda: self._pods_of("rolling-hopeless", "ImagePullBackOff"), "cannot pull its image")
        eventually(lambda: not self._pods_of("zero", "node:v2"), "zero has no pods")

    def _observed(self, name: str) -> bool:
        found = self.cluster.deployment(self.namespace, name)
        return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"])

    def _await(self, names: list[str]) -> None:
        for name in names:
            eventually(partial(self.cluster.all_ready, self.namespace, name), f"{name} is ready")

    def _pods_of(self, name: str, reason: str) -> bool:
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=app%3D{name}"
        return reason in json.dumps(self.cluster.call("GET", path))

    def patch(self, name: str, change: Json, query: str = "") -> None:
        self.cluster.call("PATCH", f"{self._apps}/{name}?{query}", change, MERGE)

    def _own(self, name: str) -> None:
        """A real owner: an object without one would be collected as garbage."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        owner = self.cluster.call("POST", path, {"metadata": {"name": "owner"}})
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "controller": True}
        uid = owner["metadata"]["uid"]
        self.patch(name, {"metadata": {"ownerReferences": [{**reference, "uid": uid}]}})

    def _autoscalers(self) -> None:
        path = f"/apis/autoscaling/v1/namespaces/{self.namespace}/horizontalpodautoscalers"
        labels = {"scaledobject.keda.sh/name": "keda"}
        for name, target in (
            ("hpa", "hpa"),
            ("hpa-growing", "hpa-growing"),
            ("hpa-twice", "hpa-twice"),
            ("hpa-twice-2", "hpa-twice"),
            ("keda", "keda"),
        ):
            reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
            metadata = {"name": name, "labels": labels if name == "keda" else {}}
            spec = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 9}
            self.cluster.call("POST", path, {"metadata": metadata, "spec": spec})
        status = {"status": {"currentReplicas": 2, "desiredReplicas": 5}}
        self.cluster.call("PATCH", f"{path}/hpa-growing/status", status, MERGE)

    def _budget(self, name: str) -> None:
        groups = self.cluster.call("GET", "/apis/policy")["versions"]
        version = groups[0]["groupVersion"]
        path = f"/apis/{version}/namespaces/{self.namespace}/poddisruptionbudgets"
        spec = {"maxUnavailable": 0, "selector": {"matchLabels": {"app": name}}}
        self.cluster.call("POST", path, {"metadata": {"name": name}, "spec": spec})


@pytest.fixture(scope="module")
def decided(real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Json]]:
    """By action and target, what `explain` says."""
    folder = tmp_path_factory.mktemp("owners")
    scene = Scene(real_cluster, f"e2e-owners-{uuid.uuid4().hex[:8]}")
    real_cluster.create_namespace(scene.namespace)
    try:
        with SaidMetrics() as metrics:
            scene.build()
            yield {action: explained(scene, metrics, folder, action) for action in ACTIONS}
    finally:
        real_cluster.delete_namespace(scene.namespace)


def explained(scene: Scene, metrics: SaidMetrics, folder: Path, action: str) -> Json:
    policy = a_policy(scene.namespace, ACTIONS, *(name for name, *_ in ROWS))
    policy["playbooks"] = [
        {**playbook, "verify": {**playbook["verify"], "settle": "0s"}} for playbook in policy["playbooks"]
    ]
    for target in policy["targets"]:
        target["accept_outage"] = target["deployment"] == "recreate-accepted"
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    alerts = [a_notification(scene.namespace, name, action)["alerts"][0] for name, *_ in ROWS]
    body = {**a_notification(scene.namespace, "plain", action), "alerts": alerts}
    (folder / "body.json").write_text(json.dumps(body))
    done = subprocess.run(
        [sys.executable, "-m", "remediator", "explain", str(folder / "body.json"), "--json"],
        env={
            "PATH": os.environ["PATH"],
            "REMEDIATOR_POLICY": str(folder / "policy.yaml"),
            "REMEDIATOR_DATABASE": f"sqlite:///{folder}/journal.db",
            "REMEDIATOR_KUBECONFIG": str(scene.cluster.kubeconfig),
            "REMEDIATOR_PROMETHEUS": metrics.url,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {alert["target"].partition("/")[2]: alert for alert in json.loads(done.stdout)["alerts"]}


def in_words(said: Json) -> str:
    """As the table has it."""
    (step,) = said["steps"]
    match said["decision"]:
        case "act":
            return "act"
        case "hold":
            return f"held {said['decision_reason']}"
        case "escalate" if said["decision_reason"] == "no_step_applies":
            return f"refused {step['reason']}"
    return f"a person {said['decision_reason']}"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_decision_and_its_reason(decided: dict[str, Json], row: tuple[str, ...]) -> None:
    target, *expected = row
    expected.append(RAISES.get(target, expected[-1]))
    assert [in_words(decided[action][target]) for action in ACTIONS] == expected


@pytest.mark.parametrize(("of", "words"), WORDS.items(), ids=["-".join(of) for of in WORDS])
def test_the_reason_names_what_it_is_about(decided: dict[str, Json], of: tuple[str, str], words: str) -> None:
    target, action = of
    assert words in decided[action][target]["decision_detail"]


def test_a_single_replica_is_a_fact_that_says_whether_a_rollout_interrupts(decided: dict[str, Json]) -> None:
    for name, taken in (("single", 0), ("single-no-surge", 1)):
        fact = decided["restart"][name]["facts"]["single_replica"]
        assert fact["truth"] is True
        assert f"take {taken} pods away" in fact["because"]
