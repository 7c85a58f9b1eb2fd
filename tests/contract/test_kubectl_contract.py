"""What kubectl does against an API server, asserted alike on the simulated and on a real one.

Where the simulation differs from Kubernetes in anything the remediator relies on, a test here
fails on one of the two.
"""

import json

import pytest

from tests.waiting import eventually

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

# Stored without its empty value, so that kubectl takes each apply of it for a change.
EMPTY = """        - {name: EMPTY, value: ""}
"""
RICH = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: rich
  labels: {team: night}
  annotations: {example.org/ticket: "42"}
spec:
  replicas: 1
  selector: {matchLabels: {app: rich}}
  template:
    metadata:
      labels: {app: rich, tier: back}
      annotations: {example.org/scrape: "yes", vendor.example/unknown: "{\\"a\\": [1, 2]}"}
    spec:
      initContainers:
      - {name: prepare, image: "prepare:v1", command: [sh, -c, "true"]}
      containers:
      - name: app
        image: app:v1
        env:
        - {name: LEVEL, value: info}
        - {name: EMPTY, value: ""}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /ready, port: 8080}}
        resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 500m, memory: 512Mi}}
        volumeMounts: [{name: data, mountPath: /data}, {name: settings, mountPath: /etc/app, readOnly: true}]
      - name: side
        image: side:v1
        args: [--port, "9090"]
      volumes:
      - {name: data, emptyDir: {}}
      - {name: settings, configMap: {name: settings}}
"""


def progressing(deployment):
    return next((c for c in deployment["status"].get("conditions", []) if c["type"] == "Progressing"), {})


def pod_names(kubectl):
    return {
        pod["metadata"]["name"] for pod in kubectl.items("pods") if "deletionTimestamp" not in pod["metadata"]
    }


def waiting_reasons(kubectl):
    return {
        status["state"].get("waiting", {}).get("reason")
        for pod in kubectl.items("pods")
        for status in pod["status"].get("containerStatuses", [])
    }


def json_patch(kubectl, *operations, name="web"):
    return kubectl.run("patch", "deployment", name, "--type=json", "--patch", json.dumps(operations))


# ------------------------------------------------------------ restart, status, history


def test_a_rollout_is_done_when_status_says_so(kubectl):
    kubectl("create", "deployment", "web", "--image=app:v1", "--replicas=2")
    assert 'deployment "web" successfully rolled out' in kubectl.wait()
    status = kubectl.deployment()["status"]
    assert (status["readyReplicas"], status["updatedReplicas"], status["availableReplicas"]) == (2, 2, 2)
    assert progressing({"status": status})["reason"] == "NewReplicaSetAvailable"


def test_restart_makes_a_revision_and_new_pods(kubectl):
    kubectl.create(replicas=2)
    before, generation = pod_names(kubectl), kubectl.deployment()["metadata"]["generation"]
    assert "deployment.apps/web restarted" in kubectl("rollout", "restart", "deployment/web")
    kubectl.wait()
    after = kubectl.deployment()
    assert after["metadata"]["generation"] == generation + 1
    assert RESTARTED_AT in after["spec"]["template"]["metadata"]["annotations"]
    assert set(kubectl.revisions()) == {1, 2}
    assert len(pod_names(kubectl)) == 2
    assert not pod_names(kubectl) & before


def test_history_lists_revisions_with_their_change_cause(kubectl):
    def noted(revision, cause):
        found = kubectl.revisions().get(revision, {}).get("metadata", {}).get("annotations", {})
        return found.get("kubernetes.io/change-cause") == cause

    kubectl.create()
    kubectl("annotate", "deployment", "web", "kubernetes.io/change-cause=first release")
    eventually(lambda: noted(1, "first release"), what="the controller has copied it")
    kubectl.set_image("app:v2")
    kubectl("annotate", "deployment", "web", "--overwrite", "kubernetes.io/change-cause=second release")
    kubectl.wait()
    eventually(lambda: noted(2, "second release"), what="the controller has copied it")
    history = kubectl("rollout", "history", "deployment/web").splitlines()
    rows = [line.split(maxsplit=1) for line in history if line[:1].isdigit()]
    assert rows == [["1", "first release"], ["2", "second release"]]
    assert "app:v1" in kubectl("rollout", "history", "deployment/web", "--revision=1")


# ------------------------------------------------------------ undo


def test_undo_goes_back_and_undo_of_undo_flips(kubectl):
    kubectl.create()
    kubectl.set_image("app:v2")
    kubectl.wait()
    first = kubectl.revisions()[1]["metadata"]["uid"]
    assert "rolled back" in kubectl("rollout", "undo", "deployment/web")
    kubectl.wait()
    assert kubectl.image() == "app:v1"
    revisions = kubectl.revisions()
    assert revisions[3]["metadata"]["uid"] == first, "the old ReplicaSet is used again"
    assert revisions[3]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    kubectl("rollout", "undo", "deployment/web")
    kubectl.wait()
    assert kubectl.image() == "app:v2"
    assert set(kubectl.revisions()) == {3, 4}


def test_undo_to_a_revision_renumbers_it_so_that_a_retry_fails(kubectl):
    kubectl.create()
    for tag in ("v2", "v3"):
        kubectl.set_image(f"app:{tag}")
        kubectl.wait()
    kubectl("rollout", "undo", "deployment/web", "--to-revision=1")
    kubectl.wait()
    assert kubectl.image() == "app:v1"
    assert set(kubectl.revisions()) == {2, 3, 4}
    complaint = kubectl.fails("rollout", "undo", "deployment/web", "--to-revision=1")
    assert "unable to find specified revision 1 in history" in complaint


def test_undo_after_a_restart_brings_back_the_same_image(kubectl):
    kubectl.create()
    kubectl.set_image("app:v2")
    kubectl.wait()
    kubectl("rollout", "restart", "deployment/web")
    kubectl.wait()
    kubectl("rollout", "undo", "deployment/web")
    kubectl.wait()
    assert kubectl.image() == "app:v2"
    assert RESTARTED_AT not in kubectl.deployment()["spec"]["template"]["metadata"].get("annotations", {})


def test_undo_to_the_current_revision_is_skipped(kubectl):
    kubectl.create()
    generation = kubectl.deployment()["metadata"]["generation"]
    assert "skipped rollback" in kubectl("rollout", "undo", "deployment/web", "--to-revision=1")
    assert kubectl.deployment()["metadata"]["generation"] == generation


def test_undo_takes_the_annotations_of_the_old_revision(kubectl):
    kubectl.create()
    kubectl("annotate", "deployment", "web", "example.org/added=before")
    kubectl.set_image("app:v2")
    kubectl.wait()
    kubectl("annotate", "deployment", "web", "example.org/late=lost")
    kubectl("rollout", "undo", "deployment/web")
    annotations = kubectl.deployment()["metadata"]["annotations"]
    assert annotations["example.org/added"] == "before"
    assert "example.org/late" not in annotations


def test_old_revisions_beyond_the_limit_are_forgotten(kubectl):
    kubectl.create()
    kubectl("patch", "deployment", "web", "--type=merge", "--patch", '{"spec": {"revisionHistoryLimit": 1}}')
    for tag in ("v2", "v3"):
        kubectl.set_image(f"app:{tag}")
        kubectl.wait()
    eventually(lambda: set(kubectl.revisions()) == {2, 3}, what="revision 1 is forgotten")
    assert "unable to find" in kubectl.fails("rollout", "undo", "deployment/web", "--to-revision=1")


def test_a_paused_deployment_is_neither_restarted_nor_undone(kubectl):
    kubectl.create()
    kubectl.set_image("app:v2")
    kubectl.wait()
    kubectl("rollout", "pause", "deployment/web")
    assert "can't restart paused deployment" in kubectl.fails("rollout", "restart", "deployment/web")
    assert "cannot rollback a paused deployment" in kubectl.fails("rollout", "undo", "deployment/web")
    kubectl("rollout", "resume", "deployment/web")
    kubectl("rollout", "undo", "deployment/web")
    kubectl.wait()
    assert kubectl.image() == "app:v1"


def test_a_paused_deployment_scales_but_does_not_roll(kubectl):
    kubectl.create()
    kubectl("rollout", "pause", "deployment/web")
    eventually(lambda: progressing(kubectl.deployment())["reason"] == "DeploymentPaused")
    kubectl.set_image("app:v2")
    kubectl("scale", "deployment/web", "--replicas=2")
    eventually(lambda: kubectl.deployment()["status"].get("readyReplicas") == 2)
    assert set(kubectl.revisions()) == {1}
    kubectl("rollout", "resume", "deployment/web")
    kubectl.wait()
    assert set(kubectl.revisions()) == {1, 2}


# ------------------------------------------------------------ scale


def test_scale(kubectl):
    kubectl.create()
    kubectl("scale", "deployment/web", "--replicas=3")
    kubectl.wait()
    assert len(pod_names(kubectl)) == 3
    assert kubectl.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    kubectl("scale", "deployment/web", "--replicas=1")
    eventually(lambda: len(kubectl.items("pods")) == 1)


def test_scale_keeps_its_preconditions(kubectl):
    kubectl.create()
    complaint = kubectl.fails("scale", "deployment/web", "--replicas=3", "--current-replicas=2")
    assert "Expected replicas to be 2, was 1" in complaint
    kubectl("scale", "deployment/web", "--replicas=2", "--current-replicas=1")
    kubectl.wait()
    version = kubectl.deployment()["metadata"]["resourceVersion"]
    complaint = kubectl.fails("scale", "deployment/web", "--replicas=3", "--resource-version=1")
    assert "Expected resource version to be 1" in complaint
    kubectl("scale", "deployment/web", "--replicas=1", f"--resource-version={version}")
    assert kubectl.deployment()["spec"]["replicas"] == 1


@pytest.mark.parametrize("stale", [{"resourceVersion": "1"}, {"uid": "00000000-0000-0000-0000-000000000000"}])
def test_scale_of_something_else_is_a_conflict(kubectl, stale):
    kubectl.create()
    patch = json.dumps({"metadata": stale, "spec": {"replicas": 5}})
    complaint = kubectl.fails(
        "patch", "deployment", "web", "--subresource=scale", "--type=merge", "--patch", patch
    )
    assert "(Conflict)" in complaint
    assert "Operation cannot be fulfilled" in complaint
    assert kubectl.deployment()["spec"]["replicas"] == 1


def test_scale_with_the_right_uid_and_version_is_done(kubectl):
    kubectl.create()
    scale = kubectl.get("deployment", "web", "--subresource=scale")
    meta = {key: scale["metadata"][key] for key in ("uid", "resourceVersion")}
    patch = json.dumps({"metadata": meta, "spec": {"replicas": 2}})
    kubectl("patch", "deployment", "web", "--subresource=scale", "--type=merge", "--patch", patch)
    assert kubectl.deployment()["spec"]["replicas"] == 2
    assert scale["status"]["selector"] == "app=web"


def test_negative_replicas_are_invalid(kubectl):
    kubectl.create()
    patch = '{"spec": {"replicas": -1}}'
    for where in ([], ["--subresource=scale"]):
        complaint = kubectl.fails("patch", "deployment", "web", "--type=merge", "--patch", patch, *where)
        assert "must be greater than or equal to 0" in complaint


# ------------------------------------------------------------ patches and preconditions


def test_a_dry_run_changes_nothing(kubectl):
    kubectl.create()
    kubectl.set_image("app:v2")
    kubectl.wait()
    before = kubectl.deployment()
    kubectl("set", "image", "deployment/web", "app=app:v3", "--dry-run=server")
    kubectl("scale", "deployment/web", "--replicas=4", "--dry-run=server")
    kubectl("rollout", "undo", "deployment/web", "--dry-run=server")
    kubectl("delete", "deployment", "web", "--dry-run=server")
    kubectl("create", "deployment", "other", "--image=app:v1", "--dry-run=server")
    after = kubectl.deployment()
    assert (after["spec"], after["metadata"]["generation"]) == (
        before["spec"],
        before["metadata"]["generation"],
    )
    assert len(kubectl.items("deployments")) == 1


def test_a_json_patch_tests_generation_and_uid(kubectl):
    kubectl.create()
    meta = kubectl.deployment()["metadata"]
    add = {"op": "add", "path": "/spec/template/metadata/annotations", "value": {"a": "b"}}
    for path, value in (("/metadata/generation", meta["generation"] + 1), ("/metadata/uid", "another")):
        refused = json_patch(kubectl, {"op": "test", "path": path, "value": value}, add)
        assert refused.returncode != 0
        assert "the server rejected our request due to an error in our request" in refused.stderr
    tests = [{"op": "test", "path": f"/metadata/{key}", "value": meta[key]} for key in ("uid", "generation")]
    assert json_patch(kubectl, *tests, add).returncode == 0
    assert kubectl.deployment()["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
    assert json_patch(kubectl, *tests, add).returncode != 0, "its own write moved the generation"


def test_a_json_patch_of_a_missing_path_is_refused(kubectl):
    kubectl.create()
    refused = json_patch(kubectl, {"op": "replace", "path": "/metadata/nothing/here", "value": 1})
    assert "the server rejected our request" in refused.stderr


def test_a_stale_resource_version_in_a_patch_is_a_conflict(kubectl):
    kubectl.create()
    patch = '{"metadata": {"resourceVersion": "1"}, "spec": {"paused": true}}'
    for kind in ("merge", "strategic"):
        assert "(Conflict)" in kubectl.fails("patch", "deployment", "web", f"--type={kind}", "--patch", patch)
    assert "paused" not in kubectl.deployment()["spec"]


def test_a_patch_that_changes_nothing_moves_no_generation(kubectl):
    kubectl.create()
    before = kubectl.deployment()["metadata"]
    patch = '{"spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": "web"}}}}}'
    assert "no change" in kubectl("patch", "deployment", "web", "--type=merge", "--patch", patch)
    after = kubectl.deployment()["metadata"]
    assert (after["generation"], after["resourceVersion"]) == (
        before["generation"],
        before["resourceVersion"],
    )


def test_annotations_move_the_generation_and_labels_do_not(kubectl):
    kubectl.create()
    generation = kubectl.deployment()["metadata"]["generation"]
    kubectl("label", "deployment", "web", "remediator/enabled=true")
    assert kubectl.deployment()["metadata"]["generation"] == generation
    kubectl("annotate", "deployment", "web", "example.org/note=1")
    assert kubectl.deployment()["metadata"]["generation"] == generation + 1


def test_strategic_merge_keeps_what_it_does_not_name(kubectl):
    kubectl("create", "configmap", "settings", "--from-literal=a=b")
    kubectl("apply", "--filename=-", stdin=RICH)
    kubectl.wait("rich")
    patch = {
        "containers": [
            {"name": "app", "env": [{"name": "LEVEL", "value": "debug"}, {"name": "NEW", "value": "1"}]}
        ]
    }
    body = json.dumps({"spec": {"template": {"spec": patch}}})
    kubectl("patch", "deployment", "rich", "--type=strategic", "--patch", body)
    spec = kubectl.deployment("rich")["spec"]["template"]["spec"]
    app = next(container for container in spec["containers"] if container["name"] == "app")
    assert len(spec["containers"]) == 2
    assert {variable["name"]: variable.get("value") for variable in app["env"]} == {
        "LEVEL": "debug",
        "EMPTY": None,
        "NODE": None,
        "NEW": "1",
    }
    assert len(app["volumeMounts"]) == 2
    gone = json.dumps(
        {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}
    )
    kubectl("patch", "deployment", "rich", "--type=strategic", "--patch", gone)
    left = kubectl.deployment("rich")["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in left] == ["app"]


def test_a_rich_template_survives_a_change_and_its_undo(kubectl):
    kubectl("create", "configmap", "settings", "--from-literal=a=b")
    kubectl("apply", "--filename=-", stdin=RICH)
    kubectl.wait("rich")
    before = kubectl.deployment("rich")["spec"]["template"]
    kubectl("set", "image", "deployment/rich", "app=app:v2", "side=side:v2")
    kubectl.wait("rich")
    kubectl("rollout", "undo", "deployment/rich")
    kubectl.wait("rich")
    assert kubectl.deployment("rich")["spec"]["template"] == before
    assert set(kubectl.revisions()) == {2, 3}


def test_applying_the_same_again_changes_nothing(kubectl):
    manifest = RICH.replace(EMPTY, "")
    kubectl("apply", "--filename=-", stdin=manifest)
    generation = kubectl.deployment("rich")["metadata"]["generation"]
    assert "unchanged" in kubectl("apply", "--filename=-", stdin=manifest)
    assert kubectl.deployment("rich")["metadata"]["generation"] == generation
    assert "configured" in kubectl("apply", "--filename=-", stdin=manifest.replace("app:v1", "app:v2"))
    assert kubectl.deployment("rich")["metadata"]["generation"] == generation + 1


# ------------------------------------------------------------ rollouts that go wrong


def test_a_crashing_image_leaves_the_old_pods(kubectl):
    kubectl.create(replicas=2)
    old = pod_names(kubectl)
    kubectl.set_image("app:v2-crash")
    eventually(lambda: "CrashLoopBackOff" in waiting_reasons(kubectl))
    assert "timed out waiting for the condition" in kubectl.fails(
        "rollout", "status", "deployment/web", "--timeout=1s"
    )
    assert old <= pod_names(kubectl), "25 % of 2 rounds down to none unavailable"
    crashed = next(pod for pod in kubectl.items("pods") if pod["metadata"]["name"] not in old)
    container = crashed["status"]["containerStatuses"][0]
    assert container["restartCount"] >= 1
    assert container["lastState"]["terminated"]["exitCode"] == 1
    kubectl("rollout", "undo", "deployment/web")
    kubectl.wait()
    assert old <= pod_names(kubectl)


def test_a_missed_deadline_is_said_until_the_rollout_moves(kubectl):
    kubectl.create()
    template = {"spec": {"containers": [{"name": "app", "image": "app:v2-pending"}]}}
    patch = json.dumps({"spec": {"progressDeadlineSeconds": 2, "template": template}})
    kubectl("patch", "deployment", "web", "--type=strategic", "--patch", patch)
    eventually(lambda: progressing(kubectl.deployment())["reason"] == "ProgressDeadlineExceeded")
    assert "exceeded its progress deadline" in kubectl.fails("rollout", "status", "deployment/web")
    kubectl("rollout", "undo", "deployment/web")
    eventually(lambda: progressing(kubectl.deployment())["reason"] == "NewReplicaSetAvailable")
    kubectl.wait()


@pytest.mark.parametrize(("tag", "reason"), [("oom", "CrashLoopBackOff"), ("imagepull", "ImagePullBackOff")])
def test_pods_say_why_they_wait(kubectl, tag, reason):
    kubectl("create", "deployment", "web", f"--image=app:v2-{tag}")
    eventually(lambda: reason in waiting_reasons(kubectl))
    status = kubectl.items("pods")[0]["status"]["containerStatuses"][0]
    if tag == "oom":
        terminated = status["lastState"]["terminated"]
        assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)


def test_a_pod_that_fits_nowhere_says_so(kubectl):
    kubectl("create", "deployment", "web", "--image=app:v1-pending")
    conditions = eventually(
        lambda: [c for pod in kubectl.items("pods") for c in pod["status"].get("conditions", [])]
    )
    scheduled = next(condition for condition in conditions if condition["type"] == "PodScheduled")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")


def test_recreate_stops_the_old_pods_first(kubectl):
    kubectl.create()
    strategy = '{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}'
    kubectl("patch", "deployment", "web", "--type=merge", "--patch", strategy)
    old = pod_names(kubectl)
    kubectl.set_image("app:v2-pending")
    eventually(lambda: set(kubectl.revisions()) == {1, 2})
    eventually(lambda: pod_names(kubectl) and not pod_names(kubectl) & old)


# ------------------------------------------------------------ the rest of what a client meets


def test_delete_takes_replica_sets_and_pods_along(kubectl):
    kubectl.create(replicas=2)
    kubectl("delete", "deployment", "web")
    eventually(lambda: not kubectl.items("replicasets") and not kubectl.items("pods"))


def test_a_deleted_pod_is_replaced(kubectl):
    kubectl.create()
    (old,) = pod_names(kubectl)
    kubectl("delete", "pod", old, "--wait=false")
    eventually(lambda: len(pod_names(kubectl)) == 1 and old not in pod_names(kubectl))
    kubectl.wait()


def test_what_is_not_there_is_not_found(kubectl):
    assert 'deployments.apps "nope" not found' in kubectl.fails("get", "deployment", "nope")
    assert "doesn't have a resource type" in kubectl.fails("get", "gremlins")
    kubectl.create()
    assert "already exists" in kubectl.fails("create", "deployment", "web", "--image=app:v1")


def test_selectors(kubectl):
    for name, tier in (("one", "front"), ("two", "back"), ("three", "")):
        kubectl("create", "deployment", name, "--image=app:v1", "--replicas=0")
        if tier:
            kubectl("label", "deployment", name, f"tier={tier}")

    def names(*selector):
        return {found["metadata"]["name"] for found in kubectl.items("deployments", *selector)}

    assert names("--selector=tier=front") == {"one"}
    assert names("--selector=tier in (front, back)") == {"one", "two"}
    assert names("--selector=tier notin (front)") == {"two", "three"}
    assert names("--selector=tier!=back,app") == {"one", "three"}
    assert names("--selector=!tier") == {"three"}
    assert names("--field-selector=metadata.name=two") == {"two"}
    assert names("--chunk-size=1") == {"one", "two", "three"}


def test_wait_follows_the_watch(kubectl):
    kubectl("create", "deployment", "web", "--image=app:v1", "--replicas=2")
    assert "condition met" in kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
    kubectl("delete", "deployment", "web", "--wait=false")
    kubectl("wait", "--for=delete", "deployment/web", "--timeout=20s")


def test_events_tell_what_the_controller_did(kubectl):
    kubectl.create()
    selector = "--field-selector=involvedObject.name=web,involvedObject.kind=Deployment"
    events = eventually(lambda: kubectl.items("events", selector))
    assert events[0]["reason"] == "ScalingReplicaSet"
    assert events[0]["message"].startswith("Scaled up replica set web-")
    assert "ScalingReplicaSet" in kubectl("describe", "deployment", "web")


def test_get_prints_the_usual_columns(kubectl):
    kubectl.create()
    header, row = kubectl("get", "deployment", "web").splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split()[:4] == ["web", "1/1", "1", "1"]


def test_everything_is_allowed_to_the_admin(kubectl):
    assert kubectl("auth", "can-i", "patch", "deployments").strip() == "yes"


def test_usage_shows_in_top(kubectl):
    kubectl.create()
    (pod,) = pod_names(kubectl)
    metrics = {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {"name": pod, "namespace": kubectl.namespace},
        "timestamp": "2026-01-01T00:00:00Z",
        "window": "15s",
        "containers": [{"name": "app", "usage": {"cpu": "900m", "memory": "950Mi"}}],
    }
    kubectl("create", "--filename=-", "--validate=false", stdin=json.dumps(metrics))
    row = eventually(lambda: kubectl("top", "pods", "--no-headers").split())
    assert row == [pod, "900m", "950Mi"]
