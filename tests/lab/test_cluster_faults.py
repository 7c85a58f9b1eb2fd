"""The simulated cluster's own door: faults, denials, the request log, and its life as a program."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from remediator.lab.cluster import LabCluster, resources

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WEB = f"{DEPLOYMENTS}/web"
MERGE = {"Content-Type": "application/merge-patch+json"}
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
}
MANIFEST = {
    "metadata": {"name": "web"},
    "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
}


class Client:
    """One keep-alive connection."""

    def __init__(self, cluster, timeout=5):
        address = cluster.url.removeprefix("http://")
        self.connection = http.client.HTTPConnection(address, timeout=timeout)

    def __call__(self, method, path, body=None, headers=()):
        sent = None if body is None else json.dumps(body)
        self.connection.request(method, path, sent, {"Content-Type": "application/json", **dict(headers)})
        response = self.connection.getresponse()
        text = response.read().decode()
        self.headers = response.headers
        return response.status, json.loads(text) if text[:1] in "{[" else text

    def replicas(self, number):
        return self("PATCH", WEB, {"spec": {"replicas": number}}, MERGE)


@pytest.fixture
def cluster():
    with LabCluster(speed=20) as running:
        running.store.create(resources.DEPLOYMENTS, "default", MANIFEST)
        yield running


@pytest.fixture
def client(cluster):
    made = Client(cluster)
    yield made
    made.connection.close()


@pytest.mark.parametrize("code", [401, 403, 409, 422, 429, 500, 503])
def test_a_refusal_is_a_status_and_does_nothing(cluster, client, code):
    cluster.faults({"fault": str(code), "method": "PATCH", "path": "/deployments/", "times": 1, "seconds": 3})
    answered, body = client.replicas(4)
    assert (answered, body["kind"], body["code"]) == (code, "Status", code)
    assert client.headers.get("Retry-After") == ("3" if code in {429, 503} else None)
    assert client("GET", WEB)[1]["spec"]["replicas"] == 1
    assert client.replicas(4)[0] == 200, "it wears off"


@pytest.mark.parametrize(("fault", "replicas"), [("reset_before", 1), ("reset_after", 4)])
def test_a_reset_tells_the_client_nothing(cluster, client, fault, replicas):
    cluster.faults({"fault": fault, "method": "PATCH", "times": 1})
    with pytest.raises(ConnectionError):
        client.replicas(4)
    client.connection.close()
    assert client("GET", WEB)[1]["spec"]["replicas"] == replicas
    (entry,) = [entry for entry in cluster.requests() if entry["method"] == "PATCH"]
    assert (entry["fault"], entry["answered"]) == (fault, False)
    assert len(cluster.requests(mutating=True)) == (1 if fault == "reset_after" else 0)


def test_a_hanging_request_goes_on_when_released(cluster, client):
    cluster.faults({"fault": "hang", "method": "PATCH"})
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(client.replicas(4)[0]))
    waiting.start()
    other = Client(cluster)
    while not any(entry["fault"] == "hang" for entry in other("GET", "/_lab/requests")[1]):
        time.sleep(0.01)
    assert other("GET", WEB)[1]["spec"]["replicas"] == 1
    assert other("DELETE", "/_lab/faults") == (200, [])
    other.connection.close()
    waiting.join()
    assert answers == [200]


def test_a_hanging_request_whose_client_leaves_is_never_done(cluster):
    cluster.faults({"fault": "hang", "method": "PATCH"})
    impatient = Client(cluster, timeout=0.3)
    with pytest.raises(TimeoutError):
        impatient.replicas(4)
    impatient.connection.close()
    client = Client(cluster)
    assert client("GET", WEB)[1]["spec"]["replicas"] == 1
    client.connection.close()


def test_latency_adds_up_with_a_refusal_and_spares_the_door(cluster, client):
    wanted = [{"fault": "latency", "seconds": 0.2}, {"fault": "503", "times": 1}]
    assert client("POST", "/_lab/faults", wanted)[0] == 200
    started = time.monotonic()
    assert client("GET", WEB)[0] == 503
    assert time.monotonic() - started >= 0.2
    started = time.monotonic()
    assert client("GET", "/_lab/healthz") == (200, "ok")
    assert time.monotonic() - started < 0.2


def test_nonsense_at_the_door_is_refused(client):
    for nonsense in ({"fault": "gremlin"}, {"fault": "hang", "unknown": "1"}, {"method": "GET"}):
        assert client("POST", "/_lab/faults", [nonsense])[0] == 400
    assert client("GET", "/_lab/nothing")[0] == 404


def test_the_log_tells_writes_from_questions_and_dry_runs(cluster, client):
    client.replicas(2)
    client("PATCH", f"{WEB}?dryRun=All&fieldManager=me", {"spec": {"replicas": 9}}, MERGE)
    client("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {}})
    client("PATCH", WEB, {"spec": {"replicas": 3}}, {**MERGE, "User-Agent": "lab-node/1"})
    (write,) = client("GET", "/_lab/requests?mutating=1")[1]
    assert (write["method"], write["path"], write["code"], write["body"]) == (
        "PATCH",
        WEB,
        200,
        {"spec": {"replicas": 2}},
    )
    dry = next(entry for entry in cluster.requests() if entry["dry_run"])
    assert dry["field_manager"] == "me"


def test_a_denied_permission_shows_in_reviews_and_requests(cluster, client):
    cluster.deny({"verb": "patch", "resource": "deployments"})

    def allowed(**asked):
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return client("POST", path, {"spec": {"resourceAttributes": asked}})[1]["status"]["allowed"]

    assert not allowed(verb="patch", group="apps", resource="deployments")
    assert allowed(verb="get", group="apps", resource="deployments")
    code, body = client.replicas(2)
    assert (code, body["reason"]) == (403, "Forbidden")
    assert 'cannot patch resource "deployments"' in body["message"]


def test_a_token_is_asked_of_everyone():
    with LabCluster(token="secret") as cluster:
        client = Client(cluster)
        assert client("GET", DEPLOYMENTS)[0] == 401
        assert client("GET", DEPLOYMENTS, headers={"Authorization": "Bearer wrong"})[0] == 401
        assert client("GET", DEPLOYMENTS, headers={"Authorization": "Bearer secret"})[0] == 200
        assert client("GET", "/readyz")[0] == 200
        client.connection.close()


def test_a_pod_told_to_be_down_is_not_ready_and_recovers(cluster, client):
    def pod():
        items = client("GET", "/api/v1/namespaces/default/pods")[1]["items"]
        return items[0] if items else None

    def await_ready(wanted):
        ends = time.monotonic() + 5
        while True:
            conditions = (pod() or {"status": {}})["status"].get("conditions", [])
            if any((c["type"], c["status"]) == ("Ready", wanted) for c in conditions):
                return pod()
            assert time.monotonic() < ends
            time.sleep(0.02)

    name = await_ready("True")["metadata"]["name"]
    path = f"/api/v1/namespaces/default/pods/{name}"
    client("PATCH", path, {"metadata": {"annotations": {"lab/health": "down"}}}, MERGE)
    down = await_ready("False")
    assert "running" in down["status"]["containerStatuses"][0]["state"]
    client("PATCH", path, {"metadata": {"annotations": {"lab/health": None}}}, MERGE)
    await_ready("True")


def test_a_body_sent_in_chunks_is_read(client):
    parts = iter([b'{"spec": ', b'{"replicas": 3}}'])
    client.connection.request("PATCH", WEB, parts, MERGE, encode_chunked=True)
    response = client.connection.getresponse()
    assert json.loads(response.read())["spec"]["replicas"] == 3


def test_the_program_serves_until_it_is_told_to_stop(tmp_path):
    config = tmp_path / "kubeconfig"
    command = [
        sys.executable,
        "-m",
        "remediator.lab",
        "cluster",
        "--kubeconfig",
        str(config),
        "--speed",
        "10",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().removeprefix("cluster: ").strip()
        try:
            assert json.loads(config.read_text())["clusters"][0]["cluster"]["server"] == url
            host, port = url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))):  # idle, and not in the way
                program.send_signal(signal.SIGTERM)
                assert program.wait(timeout=10) == 0
        finally:
            program.kill()
