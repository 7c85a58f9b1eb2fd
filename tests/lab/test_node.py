"""The simulated node: how its pods behave, what its pages say, and that it follows a cluster's pods."""

from __future__ import annotations

import argparse
import base64
import json
import sqlite3
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from remediator.lab import node as lab_node
from remediator.lab.node import LabNode
from remediator.lab.node.faces import LOST, change, discovery, get
from remediator.lab.node.kubeapi import KubeApi
from remediator.lab.node.ledger import Ledger
from remediator.lab.node.pods import metrics_page, pod_metrics, quantity, read_pod
from remediator.lab.node.workload import BUCKETS, PodState, Workload

NAMESPACE, NAME = "bizra-testnet", "bizra-apex"
GIGABYTE = 2.0**30


def _pod(number, *, image="ghcr.io/bizra/node:v1", ready=True, **more):
    state = {"limits": ((0.5, GIGABYTE),), "containers": ("bizra-node",), **more}
    return PodState(NAMESPACE, f"pod-{number}", f"uid-{number}", image, ready, **state)


def _workload(*pods):
    workload = Workload(NAMESPACE, NAME)
    workload.see(list(pods))
    workload.advance(1.0)
    return workload


def _during(workload, seconds):
    """Operations, errors and p99 over the next seconds, of all pods together."""
    start = workload._now
    before = _sums(workload)
    workload.advance(start + seconds)
    after = _sums(workload)
    buckets = [new - old for new, old in zip(after[1], before[1], strict=True)]
    return buckets[-1] / seconds, (after[0] - before[0]) / (buckets[-1] or 1), _p99(buckets)


def _sums(workload):
    counters = [workload.counters(pod) for pod in workload.pods.values()]
    return sum(one.errors for one in counters), [
        sum(one.buckets[i] for one in counters) for i in range(len(BUCKETS))
    ]


def _p99(cumulative):
    rank = 0.99 * cumulative[-1]
    index = next(i for i, count in enumerate(cumulative) if count >= rank)
    low, below = (BUCKETS[index - 1], cumulative[index - 1]) if index else (0.0, 0.0)
    return low + (BUCKETS[index] - low) * (rank - below) / (cumulative[index] - below or 1)


# --- the workload ------------------------------------------------------------------------------------------


def test_healthy_pods_keep_the_runbooks_baselines():
    workload = _workload(_pod(1), _pod(2), _pod(3))
    rate, errors, p99 = _during(workload, 60)
    assert rate == pytest.approx(1500)
    assert errors == pytest.approx(0.001)
    assert p99 < 0.05
    for pod in workload.pods.values():
        assert 97 < workload.score(pod) < 99
        assert workload.usage(pod) == (pytest.approx(0.4, abs=0.05), pytest.approx(0.5, abs=0.05))


def test_a_leak_grows_stays_and_is_cured_by_new_pods():
    workload = _workload(_pod(1), _pod(2))
    workload.inject("leak")
    _during(workload, 60)
    _, errors, p99 = _during(workload, 60)
    assert errors == pytest.approx(0.12)
    assert p99 < 0.05
    assert workload.usage(_pod(1))[0] < 0.5
    assert workload.score(_pod(1)) >= 95
    workload.see([_pod(1), _pod(3)])
    assert 0.05 < _during(workload, 60)[1] < 0.07
    workload.see([_pod(3), _pod(4)])
    assert _during(workload, 60)[1] == pytest.approx(0.001)


def test_an_overload_ends_with_the_fifth_ready_pod():
    pods = [_pod(number) for number in range(5)]
    workload = _workload(*pods[:3])
    workload.inject("overload")
    for ready in (3, 4):
        workload.see([*pods[:ready], *(_pod(number, ready=False) for number in range(ready, 5))])
        _, errors, p99 = _during(workload, 60)
        assert 0.8 < p99 < 1.5
        assert errors < 0.01
        assert workload.usage(pods[0])[0] == 0.95
    workload.see(pods)
    assert _during(workload, 60)[2] < 0.05
    assert workload.usage(pods[0])[0] < 0.5


def test_few_pods_alone_are_no_overload():
    workload = _workload(_pod(1))
    assert _during(workload, 60)[2] < 0.05


def test_a_lost_process_is_back_in_new_pods_only():
    workload = _workload(_pod(1), _pod(2))
    workload.inject("lost_process")
    assert workload.taking_traffic() == []
    assert _during(workload, 60)[0] == 0
    workload.see([_pod(1), _pod(3)])
    assert workload.taking_traffic() == [_pod(3)]
    workload.clear("lost_process")
    assert workload.taking_traffic() == [_pod(1), _pod(3)]


def test_the_incurable_stays_whatever_is_done():
    workload = _workload(_pod(1))
    workload.inject("incurable")
    workload.see([_pod(number, image="ghcr.io/bizra/node:v9") for number in range(2, 8)])
    assert all(69 < workload.score(pod) < 71 for pod in workload.pods.values())


@pytest.mark.parametrize(
    ("image", "bad"),
    [
        ("node:v2-bad", True),
        ("localhost:5000/node:bad", True),
        ("registry.bad:5000/bad/node:v1", False),
        ("bad", False),
    ],
)
def test_a_bad_image_is_told_by_its_tag(image, bad):
    workload = _workload(_pod(1, image=image))
    assert (workload.score(_pod(1, image=image)) < 65) is bad
    assert (0.01 < _during(workload, 60)[1] < 0.05) is bad


def test_traffic_goes_to_ready_pods_that_stay():
    workload = _workload(_pod(1), _pod(2, ready=False), _pod(3, terminating=True))
    _during(workload, 10)
    assert workload.counters(workload.pods["pod-1"]).buckets[-1] == pytest.approx(15_000)
    assert workload.counters(workload.pods["pod-2"]).buckets[-1] == 0
    assert workload.counters(workload.pods["pod-3"]).buckets[-1] == 0


def test_counters_begin_anew_with_the_process():
    workload = _workload(_pod(1))
    _during(workload, 10)
    workload.see([_pod(1, restarts=1)])
    assert workload.counters(workload.pods["pod-1"]).buckets[-1] == 0


def test_violations_are_counted_while_the_score_is_low():
    workload = _workload(_pod(1))
    workload.inject("incurable")
    workload.advance(61.0)
    assert workload.counters(_pod(1)).violations == pytest.approx(4)


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="no such fault: rain"):
        _workload().inject("rain")


# --- pods and pages ----------------------------------------------------------------------------------------


def _kube_pod(name="p", *, ready=True, phase="Running", **metadata):
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "labels": {"app": NAME},
            **metadata,
        },
        "spec": {
            "containers": [
                {
                    "name": "bizra-node",
                    "image": "node:v1",
                    "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                }
            ]
        },
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"restartCount": 2}],
        },
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", 0.5), ("2", 2), ("1Gi", GIGABYTE), ("64Ki", 65536), ("1G", 1e9), (None, 0), ("100n", 1e-7)],
)
def test_quantity(text, value):
    assert quantity(text) == pytest.approx(value)


def test_a_pod_is_read_from_the_cluster():
    pod = read_pod(_kube_pod())
    assert (pod.image, pod.ready, pod.terminating, pod.restarts) == ("node:v1", True, False, 2)
    assert pod.limits == ((0.5, GIGABYTE),)
    assert not read_pod(_kube_pod(phase="Pending")).ready
    assert not read_pod(_kube_pod(ready=False)).ready
    assert read_pod(_kube_pod(deletionTimestamp="2026-01-01T00:00:00Z")).terminating
    assert not read_pod({**_kube_pod(), "status": {}}).ready


def test_usage_is_published_against_the_limits():
    workload = _workload(_pod(1))
    metrics = pod_metrics(workload, _pod(1), 0.0)
    usage = metrics["containers"][0]["usage"]
    assert (metrics["kind"], metrics["timestamp"]) == ("PodMetrics", "1970-01-01T00:00:00Z")
    assert quantity(usage["cpu"]) == pytest.approx(0.2, abs=0.03)
    assert quantity(usage["memory"]) == pytest.approx(GIGABYTE / 2, rel=0.1)
    no_limit = pod_metrics(workload, _pod(1, limits=((0, 0),)), 0.0)
    assert quantity(no_limit["containers"][0]["usage"]["cpu"]) > 0


def test_the_metrics_page_has_the_agreed_names():
    workload = _workload(_pod(1))
    families = {
        family.name: family
        for family in text_string_to_metric_families(metrics_page(workload, _pod(1)).decode())
    }
    samples = {sample.name: sample.value for family in families.values() for sample in family.samples}
    assert samples["hive_errors_total"] == 0
    assert samples["ahsan_violations_total"] == 0
    assert samples["hive_up"] == 1
    assert {"ahsan_score", "hive_active_swarms", "hive_operation_duration_seconds_sum"} <= set(samples)
    bounds = [s.labels["le"] for s in families["hive_operation_duration_seconds"].samples if "le" in s.labels]
    assert bounds == ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "+Inf"]


class _FakeNode:
    def __init__(self, *workloads):
        self.workloads = list(workloads)
        self.lock = threading.RLock()

    def advance(self):
        """Time stands still."""

    def refresh(self):
        """The pods stay as they are."""

    def inject(self, namespace, deployment, fault):
        if namespace != NAMESPACE:
            raise KeyError(f"{namespace}/{deployment}")
        self.workloads[0].inject(fault)

    def clear(self, namespace=None, deployment=None, fault=None):
        self.workloads[0].clear(fault)

    def faults(self):
        return [{"fault": fault} for fault in self.workloads[0].faults]


def test_pages_of_pods():
    node = _FakeNode(_workload(_pod(1), _pod(2, ready=False)))
    assert get(node, f"/pods/{NAMESPACE}/pod-1/metrics", "h").status == 200
    assert get(node, f"/pods/{NAMESPACE}/pod-1/health", "h").body["status"] == "ok"
    assert get(node, f"/pods/{NAMESPACE}/pod-2/metrics", "h").status == 503
    assert get(node, f"/pods/{NAMESPACE}/pod-2/health", "h").status == 503
    assert get(node, "/pods/other/pod-1/metrics", "h").status == 404
    assert get(node, "/metrics", "h").status == 200
    assert get(node, "/nothing", "h").status == 404
    node.workloads[0].inject("lost_process")
    assert get(node, f"/pods/{NAMESPACE}/pod-1/metrics", "h") is LOST
    assert get(node, "/health", "h").status == 503


def test_discovery_names_every_pod_at_the_askers_address():
    node = _FakeNode(_workload(_pod(1), _pod(2, ready=False)))
    first, second = discovery(node, "lab:9464")
    assert first == {
        "targets": ["lab:9464"],
        "labels": {
            "__metrics_path__": f"/pods/{NAMESPACE}/pod-1/metrics",
            "namespace": NAMESPACE,
            "deployment": NAME,
            "pod": "pod-1",
        },
    }
    assert second["labels"]["pod"] == "pod-2"


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("POST", {"namespace": NAMESPACE, "deployment": NAME, "fault": "leak"}, 200),
        ("POST", {"namespace": NAMESPACE, "deployment": NAME, "fault": "rain"}, 400),
        ("POST", {"namespace": "other", "deployment": NAME, "fault": "leak"}, 400),
        ("POST", {"fault": "leak"}, 400),
        ("DELETE", {}, 200),
    ],
)
def test_changing_faults(method, body, status):
    assert change(_FakeNode(_workload(_pod(1))), method, "/_lab/faults", body).status == status


def test_the_runbooks_queries_work_on_the_ledger(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.append([(98.0, NAMESPACE, NAME, "p"), (62.5, NAMESPACE, NAME, "q")])
    ledger.close()
    with sqlite3.connect(tmp_path / ".hive-mind/hive.db") as database:
        low = "SELECT COUNT(*) FROM ahsan_metrics WHERE ahsan_score < 95"
        assert database.execute(f"{low} AND timestamp > datetime('now', '-24 hours')").fetchone() == (1,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT COUNT(*) FROM ahsan_metrics GROUP BY DATE(timestamp)").fetchone() == (
            2,
        )
    database.close()


# --- against an API server ---------------------------------------------------------------------------------


class _Cluster:
    """As much of an API server as the node uses."""

    def __init__(self, *, metrics_api=True):
        self.pods = {"a": _kube_pod("a"), "b": _kube_pod("b", ready=False)}
        self.usage: dict[str, Any] = {}
        self.authorization: set[str | None] = set()
        self.metrics_api = metrics_api
        self.changed = threading.Condition()

    def answer(self, method, path, query, body):
        deployment = {
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": NAME}}},
        }
        last = path.rsplit("/", 1)[-1]
        if path == f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}":
            return 200, deployment
        if path == f"/api/v1/namespaces/{NAMESPACE}/pods":
            stranger = {**_kube_pod("stranger"), "metadata": {"name": "stranger", "labels": {"app": "other"}}}
            return 200, {"items": [*self.pods.values(), stranger]}
        if path.startswith(f"/api/v1/namespaces/{NAMESPACE}/pods/") and method == "PATCH":
            self.pods[last]["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])
            return 200, {}
        if path.startswith("/apis/metrics.k8s.io/v1beta1/") and self.metrics_api:
            return self._usage(method, last, body)
        return 404, {}

    def _usage(self, method, name, body):
        if method == "POST":
            self.usage[body["metadata"]["name"]] = body
            return 201, {}
        if name not in self.usage:
            return 404, {}
        if method == "DELETE":
            del self.usage[name]
        else:
            self.usage[name] = body
        return 200, {}

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, timeout=20)


@contextmanager
def _serving(cluster):
    class Requests(BaseHTTPRequestHandler):
        def _any(self):
            address = urlsplit(self.path)
            content = self.rfile.read(int(self.headers["Content-Length"] or 0))
            with cluster.changed:
                cluster.authorization.add(self.headers["Authorization"])
                body = json.loads(content) if content else None
                status, answer = cluster.answer(self.command, address.path, parse_qs(address.query), body)
                cluster.changed.notify_all()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815  # the names that the library calls

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _kubeconfig(path: Path, server: str) -> Path:
    config = {
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "clusters": [
            {"name": "other", "cluster": {"server": "http://no"}},
            {"name": "lab", "cluster": {"server": server}},
        ],
        "users": [{"name": "lab", "user": {"token": "secret"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def world(tmp_path):
    """A cluster, a node that follows it at 600 times the speed, and a client."""
    cluster = _Cluster()
    with ExitStack() as stack:
        kubeconfig = _kubeconfig(tmp_path / "kubeconfig", stack.enter_context(_serving(cluster)))
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        node = LabNode(kubeconfig=kubeconfig, deployments=[(NAMESPACE, NAME)], speed=600, data=tmp_path)
        yield cluster, stack.enter_context(node), session


def test_the_node_follows_the_cluster(world):
    cluster, node, session = world
    assert [target["labels"]["pod"] for target in session.get(node.sd_url).json()] == ["a", "b"]
    assert "ahsan_score 9" in session.get(f"{node.metrics_url}/metrics").text
    assert session.get(f"{node.http_url}/health").json()["compliant"] is True
    assert session.get(f"{node.url}/pods/{NAMESPACE}/b/metrics").status_code == 503
    cluster.wait_for(lambda: "a" in cluster.usage)
    assert "b" not in cluster.usage
    with cluster.changed:
        cluster.pods = {"c": _kube_pod("c")}
    cluster.wait_for(lambda: set(cluster.usage) == {"c"})
    assert [target["labels"]["pod"] for target in session.get(node.sd_url).json()] == ["c"]
    leaving = session.get(f"{node.url}/pods/{NAMESPACE}/a/metrics")
    assert leaving.status_code == 200, "a scrape that is late to know does not see a healthy pod as dead"
    assert cluster.authorization == {"Bearer secret"}


def test_a_lost_process_answers_nothing_and_tells_the_cluster(world):
    cluster, node, session = world
    wanted = {"namespace": NAMESPACE, "deployment": NAME, "fault": "lost_process"}
    assert session.post(f"{node.url}/_lab/faults", json=wanted).json() == {"faults": [wanted]}
    assert session.get(f"{node.url}/_lab/faults").json() == {"faults": [wanted]}
    with pytest.raises(requests.ConnectionError):
        session.get(f"{node.url}/pods/{NAMESPACE}/a/metrics")
    assert cluster.pods["a"]["metadata"]["annotations"] == {"lab/health": "down"}
    assert session.delete(f"{node.url}/_lab/faults").json() == {"faults": []}
    assert session.get(f"{node.url}/pods/{NAMESPACE}/a/metrics").status_code == 200
    assert cluster.pods["a"]["metadata"]["annotations"] == {"lab/health": None}


def test_bad_requests_are_refused(world):
    _, node, session = world
    assert session.post(f"{node.url}/_lab/faults", data="no json").status_code == 400
    assert session.post(f"{node.url}/_lab/faults", json=["a list"]).status_code == 400
    assert session.post(f"{node.url}/metrics", json={}).status_code == 404


def test_a_deleted_deployment_leaves_no_pods(world):
    cluster, node, _ = world
    with cluster.changed:
        cluster.answer = lambda *_: (404, {})
    node.poll()
    assert node.workloads[0].pods == {}


def test_the_node_lives_without_cluster_and_without_metrics_api(tmp_path):
    cluster = _Cluster(metrics_api=False)
    with _serving(cluster) as url:
        kubeconfig = _kubeconfig(tmp_path / "kubeconfig", url)
        api = KubeApi(kubeconfig)
        api.write_usage({"metadata": {"name": "a", "namespace": NAMESPACE}})
        api.__exit__()
    with LabNode(kubeconfig=kubeconfig, deployments=[(NAMESPACE, NAME)], data=tmp_path) as node:
        assert node.workloads[0].pods == {}
    with pytest.raises(ValueError, match="at least one Deployment"):
        LabNode(kubeconfig=kubeconfig, deployments=[])


def test_credentials_of_a_kubeconfig(tmp_path):
    config = {
        "clusters": [
            {"name": "c", "cluster": {"server": "https://h/", "certificate-authority-data": _base64("CA")}}
        ],
        "users": [
            {
                "name": "u",
                "user": {"client-certificate-data": _base64("CERT"), "client-key-data": _base64("KEY")},
            }
        ],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    with KubeApi(tmp_path / "kubeconfig") as api:
        assert api.server == "https://h"
        assert Path(str(api._session.verify)).read_text() == "CA"
        assert [Path(path).read_text() for path in api._session.cert or ()] == ["CERT", "KEY"]


def _base64(text):
    return base64.b64encode(text.encode()).decode()


def test_arguments():
    parser = argparse.ArgumentParser()
    lab_node.add_arguments(parser)
    args = parser.parse_args(
        ["--kubeconfig", "k", "--deployment", "a/b", "--deployment", "c/d", "--speed", "60"]
    )
    assert args.deployment == [("a", "b"), ("c", "d")]
    assert (args.http_port, args.metrics_port, args.speed) == (8080, 9464, 60.0)
    with pytest.raises(SystemExit):
        parser.parse_args(["--kubeconfig", "k", "--deployment", "no-namespace"])
