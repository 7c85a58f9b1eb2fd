"""Objects of one small Deployment as an API server has them, and the paths that they are read from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from remediator.core.actions import Target
from remediator.core.facts import Observation

Json = dict[str, Any]

SERVER = "http://k8s.test"
TARGET = Target("bizra", "apex")
DEPLOYMENT = f"{SERVER}/apis/apps/v1/namespaces/bizra/deployments/apex"
SCALE = f"{DEPLOYMENT}/scale"
REPLICA_SETS = f"{SERVER}/apis/apps/v1/namespaces/bizra/replicasets"
PODS = f"{SERVER}/api/v1/namespaces/bizra/pods"
HPAS = f"{SERVER}/apis/autoscaling/v2/namespaces/bizra/horizontalpodautoscalers"
OLD_HPAS = HPAS.replace("v2", "v1")
METRICS = f"{SERVER}/apis/metrics.k8s.io/v1/namespaces/bizra/pods"
BUDGETS = f"{SERVER}/apis/policy/v1/namespaces/bizra/poddisruptionbudgets"
OLD_METRICS = METRICS.replace("/v1/", "/v1beta1/")
EVENTS = f"{SERVER}/api/v1/namespaces/bizra/events"
LISTS = {
    "replica_sets": REPLICA_SETS,
    "pods": PODS,
    "hpas": HPAS,
    "metrics": METRICS,
    "budgets": BUDGETS,
    "events": EVENTS,
}
DATE = "Mon, 23 Nov 2026 12:00:00 GMT"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(minute: int) -> str:
    return f"2026-11-23T11:{minute:02}:00Z"


def then(minute: int) -> datetime:
    return datetime.fromisoformat(at(minute))


def template(image: str, restarted: str | None = None) -> Json:
    annotations = {"annotations": {"kubectl.kubernetes.io/restartedAt": restarted}} if restarted else {}
    return {
        "metadata": {"labels": {"app": "apex"}, **annotations},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }


def deployment(image: str = "app:2", *, restarted: str | None = None, **changes) -> Json:
    found = {
        "metadata": {
            "name": "apex",
            "uid": "U",
            "generation": 7,
            "creationTimestamp": at(0),
            "labels": {"remediator/enabled": "true"},
            "annotations": {"deployment.kubernetes.io/revision": "2"},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "apex"}},
            "template": template(image, restarted),
        },
        "status": {
            "observedGeneration": 7,
            "replicas": 2,
            "updatedReplicas": 2,
            "availableReplicas": 2,
            "readyReplicas": 2,
            "conditions": [progressing("NewReplicaSetAvailable")],
        },
    }
    for part, fields in changes.items():
        found[part] |= fields
    return found


def progressing(reason: str, minute: int = 50) -> Json:
    return {"type": "Progressing", "reason": reason, "lastUpdateTime": at(minute), "message": "it says so"}


def replica_set(uid: str, revision: str | None, image: str, minute: int, **more) -> Json:
    """With `restarted` and `history` where they matter."""
    made = template(image, more.get("restarted"))
    made["metadata"]["labels"]["pod-template-hash"] = uid
    annotations = {}
    if revision is not None:
        annotations["deployment.kubernetes.io/revision"] = revision
    if "history" in more:
        annotations["deployment.kubernetes.io/revision-history"] = more["history"]
    return {
        "metadata": {
            "name": uid,
            "uid": uid,
            "creationTimestamp": at(minute),
            "annotations": annotations,
            "ownerReferences": [{"kind": "Deployment", "name": "apex", "uid": "U", "controller": True}],
        },
        "spec": {"template": made},
    }


HISTORY = [replica_set("one", "1", "app:1", 10), replica_set("two", "2", "app:2", 20)]


def serve(api, live: Json, **lists) -> None:
    api.get(DEPLOYMENT, json=live, headers={"Date": DATE})
    for name, url in LISTS.items():
        api.get(url, json={"items": lists.get(name, HISTORY if name == "replica_sets" else [])})


def observed(cluster) -> Observation:
    seen = cluster.observe(TARGET)
    assert isinstance(seen, Observation), seen
    return seen


def pod(name: str, owner: str = "two", **status) -> Json:
    owners = [{"kind": "ReplicaSet", "uid": owner, "controller": True}]
    return {"metadata": {"name": name, "uid": name, "ownerReferences": owners}, "status": status}


def dry(request) -> bool:
    return "dryRun" in parse_qs(urlsplit(request.url).query)


def accept(api, url: str, *, trial=None, real=None) -> None:
    """Answer PATCHes: (status, body) or an exception, for the dry run and for the real one."""

    def answer(request):
        outcome = trial if dry(request) else real
        if isinstance(outcome, Exception):
            raise outcome
        status, body = outcome or (200, "{}")
        return status, {"Date": DATE}, body

    api.add_callback("PATCH", url, callback=answer)
