"""What goes out, how often, and what comes back of every kind of answer. No library's exception does."""

from __future__ import annotations

import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests
import responses
from responses import matchers

from remediator import __version__
from remediator.adapters.kubernetes import Connection, KubernetesCluster
from remediator.adapters.kubernetes.answers import Answer, NoAnswer
from remediator.adapters.kubernetes.credentials import Access, Unconfigured, load_access

SERVER = "https://k8s.test"
DATE = "Mon, 23 Nov 2026 07:25:39 GMT"


def connection(**access) -> Connection:
    return Connection(lambda: Access(server=SERVER, **access))


@pytest.fixture
def api():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def test_a_read_says_who_asks(api):
    api.get(f"{SERVER}/version", json={"major": "1"}, headers={"Date": DATE})

    answer = connection(authorization=lambda: "Bearer secret").get("/version", {"a": "b"})

    assert answer == Answer(status=200, body={"major": "1"}, at=datetime(2026, 11, 23, 7, 25, 39, tzinfo=UTC))
    sent = api.calls[0].request
    assert sent.headers["User-Agent"] == f"remediator/{__version__}"
    assert sent.headers["Authorization"] == "Bearer secret"
    assert sent.url == f"{SERVER}/version?a=b"


@pytest.mark.parametrize(
    ("dry_run", "query"),
    [
        (False, {"fieldManager": "remediator"}),
        (True, {"fieldManager": "remediator", "dryRun": "All"}),
    ],
)
def test_a_write_names_its_manager(api, dry_run, query):
    api.patch(f"{SERVER}/x", json={}, match=[matchers.query_param_matcher(query)])

    answer = connection().patch(
        "/x", [{"op": "test"}], content_type="application/json-patch+json", dry_run=dry_run
    )

    assert answer.ok
    assert api.calls[0].request.headers["Content-Type"] == "application/json-patch+json"
    assert json.loads(api.calls[0].request.body) == [{"op": "test"}]


FAILURES = [
    pytest.param({"body": requests.ConnectionError("reset by peer")}, id="reset"),
    pytest.param({"body": requests.ReadTimeout("read timed out")}, id="read time-out"),
    pytest.param({"body": requests.exceptions.ChunkedEncodingError("cut off")}, id="cut off"),
    pytest.param({"body": requests.exceptions.InvalidURL("odd")}, id="another of its exceptions"),
    pytest.param({"body": "no JSON"}, id="no JSON"),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_read_is_tried_three_times(api, failure):
    api.get(f"{SERVER}/x", **failure)
    with pytest.raises(NoAnswer):
        connection().get("/x")
    assert len(api.calls) == 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_read_is_tried_again_while_the_server_is_troubled(api, status):
    api.get(f"{SERVER}/x", status=status)
    api.get(f"{SERVER}/x", json={"fine": True})
    assert connection().get("/x").body == {"fine": True}
    assert len(api.calls) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_the_last_answer_of_a_troubled_server_is_told(api, status):
    api.get(f"{SERVER}/x", status=status, json={"message": "busy"})
    answer = connection().get("/x")
    assert answer.words == f"HTTP {status}: busy"
    assert len(api.calls) == 3


@pytest.mark.parametrize("status", [301, 400, 403, 404, 409, 410, 422])
def test_another_answer_to_a_read_is_final(api, status):
    api.get(f"{SERVER}/x", status=status, headers={"Location": f"{SERVER}/elsewhere"})
    assert connection().get("/x").status == status
    assert len(api.calls) == 1


@pytest.mark.parametrize("failure", FAILURES)
def test_a_write_goes_out_once_and_may_have_arrived(api, failure):
    api.patch(f"{SERVER}/x", **failure)
    with pytest.raises(NoAnswer) as silence:
        connection().patch("/x", {}, content_type="a/b", dry_run=False)
    assert silence.value.sent
    assert len(api.calls) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 403, 404, 409, 422, 429, 500, 503, 504])
def test_a_write_goes_out_once_whatever_the_answer(api, status):
    api.patch(f"{SERVER}/x", status=status, headers={"Retry-After": "0", "Location": f"{SERVER}/elsewhere"})
    assert connection().patch("/x", {}, content_type="a/b", dry_run=False).status == status
    assert len(api.calls) == 1


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_refused_credentials_are_loaded_anew_once(api, method):
    tokens = iter(["old", "new", "newer"])

    def load() -> Access:
        token = next(tokens)
        return Access(server=SERVER, authorization=lambda: f"Bearer {token}")

    api.add(method, f"{SERVER}/x", status=401)
    link = Connection(load)
    ways = {
        "GET": lambda: link.get("/x"),
        "PATCH": lambda: link.patch("/x", {}, content_type="a/b", dry_run=False),
    }

    answer = ways[method]()

    assert answer.status == 401
    assert [c.request.headers["Authorization"] for c in api.calls] == ["Bearer old", "Bearer new"]


def test_credentials_that_cannot_be_had_are_no_answer(api):
    def vanished() -> str:
        raise FileNotFoundError("token")

    with pytest.raises(NoAnswer, match="no credentials: token") as silence:
        connection(authorization=vanished).patch("/x", {}, content_type="a/b", dry_run=False)
    assert not silence.value.sent
    assert len(api.calls) == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"json": {"kind": "Status", "message": "line\none", "reason": "Forbidden"}}, "HTTP 403: line one"),
        ({"json": {"kind": "Status", "message": "", "reason": "Forbidden"}}, "HTTP 403: Forbidden"),
        ({"json": {"message": "x" * 300}}, "HTTP 403: " + "x" * 256),
        ({"json": {"message": ["odd"], "secret": "s"}}, "HTTP 403"),
        ({"json": ["odd"]}, "HTTP 403"),
        ({"body": "<html>proxy</html>"}, "HTTP 403"),
        ({"body": b"\xff\xfe"}, "HTTP 403"),
    ],
)
def test_only_a_status_message_is_quoted(api, body, words):
    api.get(f"{SERVER}/x", status=403, **body)
    assert connection().get("/x").words == words


def test_an_answer_without_date_has_our_time(api):
    api.get(f"{SERVER}/x", json={})
    before = datetime.now(UTC)
    assert before <= connection().get("/x").at <= datetime.now(UTC)


def test_an_answer_that_is_too_large_is_none(api, monkeypatch):
    monkeypatch.setattr("remediator.adapters.kubernetes.answers.LARGEST_ANSWER", 10)
    api.get(f"{SERVER}/x", json={"a": "b" * 20})
    with pytest.raises(NoAnswer, match="larger than 10 bytes"):
        connection().get("/x")


# ------------------------------------------------------------ real sockets


@pytest.fixture
def silent():
    """Accepts and says what `answer` holds, byte by byte, or nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    answer: list[bytes] = []
    stopped = threading.Event()
    accepted: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            accepted.append(peer)
            threading.Thread(target=drip, args=(peer,), daemon=True).start()

    def drip(peer: socket.socket) -> None:
        peer.recv(65536)
        for chunk in answer:
            if stopped.wait(0.02):
                return
            try:
                peer.sendall(chunk)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], answer, accepted
    stopped.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for peer in accepted:
        peer.close()


def quick(port: int) -> Connection:
    return Connection(
        lambda: Access(server=f"http://127.0.0.1:{port}"), connect_timeout=0.1, read_timeout=0.2
    )


def test_a_refused_connection_is_certainly_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NoAnswer, match="Connection refused") as silence:
        quick(port).patch("/x", {}, content_type="a/b", dry_run=False)
    assert not silence.value.sent


def test_a_name_that_does_not_resolve_is_certainly_not_sent():
    link = Connection(lambda: Access(server="http://no-such-host.invalid"))
    with pytest.raises(NoAnswer) as silence:
        link.patch("/x", {}, content_type="a/b", dry_run=False)
    assert not silence.value.sent


def test_silence_after_the_write_may_have_been_heard(silent):
    port, _, accepted = silent
    link = quick(port)
    with pytest.raises(NoAnswer, match="no answer within the time-out") as silence:
        link.patch("/x", {}, content_type="a/b", dry_run=False)
    assert silence.value.sent
    assert len(accepted) == 1
    link.close()


def test_all_tries_of_a_read_share_one_total_time(silent):
    port, _, _ = silent
    link = quick(port)
    started = time.monotonic()
    with pytest.raises(NoAnswer):
        link.get("/x")
    assert time.monotonic() - started < 0.8
    link.close()


def test_an_answer_that_drips_is_cut_off(silent):
    port, answer, _ = silent
    answer += [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 100]
    link = quick(port)
    with pytest.raises(NoAnswer, match="too slowly") as silence:
        link.patch("/x", {}, content_type="a/b", dry_run=False)
    assert silence.value.sent
    link.close()


def test_an_answer_cut_short_is_none(silent):
    port, answer, accepted = silent
    answer += [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n", b'{"a": 1}']
    link = quick(port)
    with pytest.raises(NoAnswer) as silence:
        link.patch("/x", {}, content_type="a/b", dry_run=False)
    assert silence.value.sent
    assert len(accepted) == 1
    link.close()


def test_another_protocol_is_no_answer(silent):
    port, answer, _ = silent
    answer += [b"SSH-2.0-OpenSSH\r\n\r\n"]
    link = quick(port)
    with pytest.raises(NoAnswer):
        link.get("/x")
    link.close()


# ------------------------------------------------------------ where and who


def kubeconfig(tmp_path, user=None, **cluster):
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(written))
    return str(path)


def test_a_kubeconfig_names_server_and_token(tmp_path):
    access = load_access(kubeconfig(tmp_path, {"token": "t"}, **{"tls-server-name": "kube"}))
    assert access.server == SERVER
    assert access.verify is True
    assert access.server_name == "kube"
    assert access.authorization() == "Bearer t"
    assert access.proxy is None


def test_a_kubeconfig_from_the_environment_may_be_unverified(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, **{"insecure-skip-tls-verify": True}))
    access = load_access()
    assert access.verify is False
    assert access.authorization() is None


def test_a_token_file_is_read_again_when_the_old_token_is_refused(tmp_path, api):
    token = tmp_path / "token"
    token.write_text("old")
    path = kubeconfig(tmp_path, {"tokenFile": str(token)})
    link = Connection(lambda: load_access(path))
    token.write_text("new")
    api.get(f"{SERVER}/x", status=401, match=[matchers.header_matcher({"Authorization": "Bearer old"})])
    api.get(f"{SERVER}/x", json={}, match=[matchers.header_matcher({"Authorization": "Bearer new"})])

    assert link.get("/x").ok


@pytest.mark.parametrize(
    ("no_proxy", "proxy", "expected"),
    [
        ("", None, "http://proxy:3128"),
        ("k8s.test", None, None),
        ("k8s.test", "http://its-own:1", "http://its-own:1"),
    ],
)
def test_a_proxy(tmp_path, monkeypatch, no_proxy, proxy, expected):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    settings = {"proxy-url": proxy} if proxy else {}
    assert load_access(kubeconfig(tmp_path, **settings)).proxy == expected


def test_a_local_api_server_is_reached_directly(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert load_access(kubeconfig(tmp_path, server="http://127.0.0.1:8001")).proxy is None


@pytest.mark.parametrize("content", [None, "", "{", "[]", "a: b"])
def test_no_usable_kubeconfig(tmp_path, content):
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Unconfigured, match=r"cannot load .*kubeconfig"):
        KubernetesCluster.from_environment(str(path))


def test_a_pod_uses_its_service_account(tmp_path, monkeypatch, api):
    module = "remediator.adapters.kubernetes.credentials"
    for name in ("TOKEN", "CERT"):
        (tmp_path / name).write_text("word\n")
        monkeypatch.setattr(f"{module}.SERVICE_{name}_FILENAME", str(tmp_path / name))
        monkeypatch.setattr(
            f"kubernetes.config.incluster_config.SERVICE_{name}_FILENAME", str(tmp_path / name)
        )
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")

    access = load_access()

    assert access.server == "https://10.0.0.1:443"
    assert access.verify == str(tmp_path / "CERT")
    assert access.authorization() == "bearer word"
    assert access.proxy is None, "a ClusterIP is reached directly"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("Mon, 23 Nov 2026 12:00:09 GMT", 9),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("9" * 40, None),
        (None, None),
    ],
)
def test_how_long_the_api_server_asks_to_be_left_alone(api, header, seconds):
    date = "Mon, 23 Nov 2026 12:00:00 GMT"
    headers = {"Date": date} | ({"Retry-After": header} if header is not None else {})
    api.add(responses.Response("PATCH", f"{SERVER}/x", status=429, headers=headers))
    answer = connection().patch("/x", [], content_type="application/json", dry_run=False)
    assert answer.again_after == (None if seconds is None else timedelta(seconds=seconds))


def test_a_read_waits_as_long_as_it_is_asked_to(api):
    api.add(responses.Response("GET", f"{SERVER}/x", status=429, headers={"Retry-After": "1"}))
    api.add(responses.Response("GET", f"{SERVER}/x", json={}))
    began = time.monotonic()
    assert connection().get("/x").ok
    assert 1 <= time.monotonic() - began < 3


def test_a_read_that_would_have_to_wait_too_long_is_over_at_once(api):
    api.add(responses.Response("GET", f"{SERVER}/x", status=429, headers={"Retry-After": "60"}))
    began = time.monotonic()
    answer = connection().get("/x")
    assert (answer.status, answer.again_after, len(api.calls)) == (429, timedelta(minutes=1), 1)
    assert time.monotonic() - began < 1
