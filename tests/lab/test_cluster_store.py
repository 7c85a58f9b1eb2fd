"""The rules of the simulated store and its patches that kubectl does not reach."""

import pytest

from remediator.lab.cluster.errors import ApiError
from remediator.lab.cluster.patches import apply_patch, strategic_merge
from remediator.lab.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, LEASES, NAMESPACES, PODS
from remediator.lab.cluster.revisions import template_without_hash
from remediator.lab.cluster.selectors import by_labels
from remediator.lab.cluster.store import Store


@pytest.fixture
def store():
    fresh = Store()
    fresh.create(NAMESPACES, "", {"metadata": {"name": "ns"}})
    return fresh


def deployment(**spec):
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app:v1"}]}}
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def test_every_write_has_its_own_version(store):
    one = store.create(CONFIG_MAPS, "ns", {"metadata": {"name": "one"}})
    two = store.create(CONFIG_MAPS, "ns", {"metadata": {"name": "two"}})
    assert int(two["metadata"]["resourceVersion"]) == int(one["metadata"]["resourceVersion"]) + 1
    assert one["metadata"]["uid"] != two["metadata"]["uid"]


def test_a_write_through_status_changes_status_only(store):
    store.create(DEPLOYMENTS, "ns", deployment())
    written = store.update(
        DEPLOYMENTS, "ns", "web", lambda d: {**d, "spec": {}, "status": {"replicas": 3}}, status=True
    )
    assert written["spec"]["replicas"] == 1
    assert written["status"] == {"replicas": 3}
    assert written["metadata"]["generation"] == 1
    again = store.update(DEPLOYMENTS, "ns", "web", lambda d: {**d, "status": {"replicas": 9}})
    assert again["status"] == {"replicas": 3}


def test_empty_and_absent_are_the_same(store):
    before = store.create(DEPLOYMENTS, "ns", deployment())

    def with_empties(current):
        current["metadata"]["annotations"] = {}
        current["spec"]["template"]["spec"]["volumes"] = []
        return current

    assert store.update(DEPLOYMENTS, "ns", "web", with_empties) is before
    bare = {"metadata": {"labels": {"a": "b", "pod-template-hash": "x"}, "annotations": None}}
    assert template_without_hash(bare) == {"metadata": {"labels": {"a": "b"}}}


def test_a_put_names_the_object_it_means(store):
    created = store.create(DEPLOYMENTS, "ns", deployment())

    def named(**meta):
        return lambda _old: {**created, "metadata": {"name": "web", **meta}}

    with pytest.raises(ApiError) as refused:
        store.update(DEPLOYMENTS, "ns", "web", named(uid="other"), uid_is_precondition=True)
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    with pytest.raises(ApiError) as refused:
        store.update(DEPLOYMENTS, "ns", "web", named(uid="other"))
    assert refused.value.code == 422
    with pytest.raises(ApiError) as refused:
        store.update(DEPLOYMENTS, "ns", "web", named(resourceVersion="1"))
    assert refused.value.code == 409


def test_a_lease_is_only_updated_by_version(store):
    lease = store.create(LEASES, "ns", {"metadata": {"name": "lock"}, "spec": {"holderIdentity": "a"}})
    with pytest.raises(ApiError) as refused:
        store.update(LEASES, "ns", "lock", lambda _old: {"metadata": {"name": "lock"}, "spec": {}})
    assert refused.value.code == 422
    version = lease["metadata"]["resourceVersion"]
    wanted = {"metadata": {"name": "lock", "resourceVersion": version}, "spec": {"holderIdentity": "b"}}
    assert store.update(LEASES, "ns", "lock", lambda _old: wanted)["spec"]["holderIdentity"] == "b"


def test_everything_wrong_is_said_at_once(store):
    with pytest.raises(ApiError) as refused:
        store.create(DEPLOYMENTS, "ns", {"metadata": {"name": "web"}, "spec": {"replicas": -1}})
    fields = [cause["field"] for cause in refused.value.status()["details"]["causes"]]
    assert fields == [
        "spec.replicas",
        "spec.selector",
        "spec.template.metadata.labels",
        "spec.template.spec.containers",
    ]


def test_a_finalizer_keeps_an_object_until_it_is_taken_away(store):
    store.create(CONFIG_MAPS, "ns", {"metadata": {"name": "kept", "finalizers": ["example.org/keep"]}})
    marked, gone = store.delete(CONFIG_MAPS, "ns", "kept")
    assert not gone
    assert marked["metadata"]["deletionTimestamp"]

    def freed(current):
        current["metadata"]["finalizers"] = []
        return current

    store.update(CONFIG_MAPS, "ns", "kept", freed)
    assert store.find(CONFIG_MAPS, "ns", "kept") is None


def test_a_watch_too_far_behind_is_told_so(store, monkeypatch):
    for number in range(12_000):
        store.update(
            NAMESPACES,
            "",
            "ns",
            lambda n, i=number: {**n, "metadata": {**n["metadata"], "labels": {"i": str(i)}}},
        )
    with pytest.raises(ApiError) as refused:
        store.changes_since(100)
    assert refused.value.code == 410
    assert len(store.changes_since(store.version - 3)) == 3


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("a=1", True),
        ("a==1", True),
        ("a!=1", False),
        ("a in (1,2),b", True),
        ("a notin (1)", False),
        ("!c", True),
    ],
)
def test_label_selectors(selector, matches):
    assert by_labels(selector)({"metadata": {"labels": {"a": "1", "b": ""}}}) is matches


def test_ports_of_a_container_merge_by_number():
    current = {"ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]}
    patch = {
        "ports": [{"containerPort": 80, "name": "web"}],
        "$setElementOrder/ports": [{"containerPort": 80}],
    }
    assert strategic_merge(current, patch)["ports"] == [
        {"containerPort": 80, "name": "web"},
        {"containerPort": 81},
    ]


def test_strategic_directives():
    current = {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {}},
        "metadata": {"finalizers": ["a", "b"]},
    }
    patch = {
        "strategy": {"type": "Recreate", "$retainKeys": ["type"]},
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
    }
    merged = strategic_merge(current, patch)
    assert merged == {"strategy": {"type": "Recreate"}, "metadata": {"finalizers": ["b", "c"]}}
    env = {"env": [{"name": "a"}, {"name": "b"}]}
    assert strategic_merge(env, {"env": [{"$patch": "replace"}, {"name": "c"}]})["env"] == [{"name": "c"}]


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"op": "test"}, 400),
        ([1], 400),
        ([{"op": "fly", "path": "/a"}], 400),
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "remove", "path": "/b"}], 422),
        ([{"op": "add", "path": "/b/c", "value": 1}], 422),
        ([{"op": "replace", "path": "", "value": 1}], 422),
    ],
)
def test_json_patches_that_cannot_be_applied(patch, code):
    with pytest.raises(ApiError) as refused:
        apply_patch(PODS, "application/json-patch+json", {"a": 1}, patch)
    assert refused.value.code == code
