"""Prometheus' answers, good and bad: one number, or a sample that says why there is none."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
import requests
import responses

from remediator.adapters.prometheus import LARGEST_ANSWER, PrometheusMetrics
from remediator.core.reasons import Reason

URL = "http://prometheus.test:9090"
QUERY = f"{URL}/api/v1/query"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def web():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def ask(url=URL, **options):
    return PrometheusMetrics(url, **options).ask("up", now=NOW)


def result(kind, value):
    return {"status": "success", "data": {"resultType": kind, "result": value}}


def series(value):
    return {"metric": {"pod": "a"}, "value": [1_780_000_000.123, value]}


# Numbers


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (result("vector", [series("97.5")]), 97.5),
        (result("vector", [series("0")]), 0),
        (result("vector", [series("-1e-3")]), -0.001),
        (result("vector", [series("+Inf")]), math.inf),
        (result("vector", [series("-Inf")]), -math.inf),
        (result("scalar", [1_780_000_000, "3"]), 3),
        ({**result("vector", [series("1")]), "infos": ["counter?"]}, 1),
    ],
)
def test_one_number_is_a_sample(web, answer, value):
    web.post(QUERY, json=answer)

    sample = ask()

    assert (sample.value, sample.at, sample.reason, sample.detail) == (value, NOW, None, "")


def test_the_query_is_sent_as_a_form_with_a_time_limit(web):
    web.post(QUERY, json=result("scalar", [0, "1"]))
    query = 'avg(ahsan_score{namespace="a&b",deployment="ü+%"})'

    PrometheusMetrics(f"{URL}/", read_timeout=2.5).ask(query, now=NOW)

    (call,) = web.calls
    assert call.request.url == QUERY
    assert parse_qs(call.request.body) == {"query": [query], "timeout": ["2.5s"]}
    assert call.request.headers["User-Agent"] == "remediator"


@pytest.mark.parametrize(
    ("lookback", "sent"),
    [
        (timedelta(seconds=30), "30.000"),
        (timedelta(milliseconds=1500), "1.500"),
        (timedelta(), "0.001"),
        (timedelta(seconds=-3), "0.001"),
    ],
)
def test_the_lookback_is_sent_and_never_0_which_would_mean_the_default(web, lookback, sent):
    web.post(QUERY, json=result("scalar", [0, "1"]))

    PrometheusMetrics(URL).ask("up", now=NOW, lookback=lookback)

    assert parse_qs(web.calls[0].request.body)["lookback_delta"] == [sent]


# No number


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (result("vector", []), "the query returned no series"),
        (result("vector", [series("1"), series("2")]), "the query returned 2 series where one is needed"),
        (result("vector", [series("NaN")]), "the query returned NaN"),
        (result("scalar", [0, "NaN"]), "the query returned NaN"),
        (result("string", [0, "97"]), "the query's result is a string, not one number"),
        (result("matrix", [{"values": [[0, "1"]]}]), "the query's result is a matrix, not one number"),
        (result(None, []), "the query's result is a None, not one number"),
        (result("vector", [series("many")]), "the query's result is not one number"),
        (result("vector", [series(None)]), "the query's result is not one number"),
        (result("vector", [series(10**400)]), "the query's result is not one number"),
        (result("vector", [{"histogram": [0, {"count": "1"}]}]), "the query's result is not one number"),
        (result("vector", {"a": 1}), "the query's result is not one number"),
        (result("vector", 7), "the query's result is not one number"),
        (result("scalar", []), "the query's result is not one number"),
        ({"status": "success"}, "the query's result is not one number"),
        ({"status": "success", "data": None}, "the query's result is not one number"),
        (
            {**result("vector", [series("1")]), "warnings": ["one source did not answer"]},
            "Prometheus warns of the answer: ['one source did not answer']",
        ),
        ({}, "Prometheus refused the query: no status"),
        ([], "Prometheus refused the query: not an object"),
        (None, "Prometheus refused the query: not an object"),
        ("up", "Prometheus refused the query: not an object"),
    ],
)  # fmt: skip
def test_what_is_not_one_number_is_no_data_and_says_what_it_was(web, answer, detail):
    web.post(QUERY, body=json.dumps(answer))

    sample = ask()

    assert (sample.value, sample.reason, sample.detail) == (None, Reason.NO_DATA, detail)
    assert len(web.calls) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "invalid parameter"),
        (422, "found duplicate series for the match group"),
        (500, "boom"),
        (503, "query timed out"),
    ],
)
def test_an_error_of_prometheus_is_quoted_and_the_query_not_repeated(web, status, error):
    web.post(QUERY, status=status, json={"status": "error", "errorType": "execution", "error": error})

    sample = ask()

    assert (sample.value, sample.reason) == (None, Reason.NO_DATA)
    assert sample.detail == f"Prometheus refused the query: {error}"
    assert len(web.calls) == 1


def test_a_long_error_is_cut(web):
    web.post(QUERY, status=422, json={"status": "error", "error": "x" * 10_000})

    assert len(ask().detail) < 300


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>login</html>"),
        (200, b""),
        (200, b"\xff\xfe\x00"),
        (200, b"[" * 100_000),
        (200, b'{"status": ' + b"9" * 10_000 + b"}"),
        (302, b""),
        (401, b"Unauthorized"),
        (404, b"404 page not found"),
        (502, b"Bad Gateway"),
    ],
)
def test_what_is_not_json_is_no_prometheus(web, status, body):
    web.post(QUERY, status=status, body=body, headers={"Location": "http://elsewhere.test/"})

    sample = ask()

    assert (sample.value, sample.reason) == (None, Reason.PROMETHEUS_UNREACHABLE)
    assert sample.detail == f"{URL}: HTTP {status}, not JSON"
    assert len(web.calls) == 1  # no redirect is followed: it would turn the POST into a GET


# Silence


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (requests.ConnectionError("refused"), 2),
        (requests.ConnectTimeout("slow"), 2),
        (requests.ReadTimeout("slow"), 1),
        (requests.exceptions.ChunkedEncodingError("cut"), 1),
        (requests.exceptions.InvalidURL("odd"), 1),
    ],
)
def test_silence_is_a_sample_and_only_a_failed_connection_is_tried_once_more(web, error, calls):
    web.post(QUERY, body=error)

    sample = ask()

    assert (sample.value, sample.reason) == (None, Reason.PROMETHEUS_UNREACHABLE)
    assert sample.detail == f"{URL}: {type(error).__name__}"
    assert len(web.calls) == calls


def test_a_connection_that_fails_once_is_no_trouble(web):
    web.post(QUERY, body=requests.ConnectionError("reset"))
    web.post(QUERY, json=result("scalar", [0, "97"]))

    assert ask().value == 97


def test_a_password_in_the_url_is_not_told(web):
    url = URL.replace("//", "//ada:s3cret@")
    web.post(f"{url}/api/v1/query", body=requests.ReadTimeout("slow"))
    web.get(f"{url}/-/ready", status=500)
    metrics = PrometheusMetrics(url)

    assert metrics.ask("up", now=NOW).detail == f"{URL}: ReadTimeout"
    assert metrics.ping() == f"{URL}: HTTP 500"


class Peer:
    """A server of raw bytes on loopback: for each connection the next of the things it does."""

    def __init__(self, *acts):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.connections = 0
        self._acts = acts
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        for act in self._acts:
            connection, _ = self.listening.accept()
            self.connections += 1
            with connection:
                connection.recv(65536)
                try:
                    act(connection)
                except OSError:  # the client had enough
                    continue

    def close(self):
        self._thread.join(5)
        self.listening.close()


@pytest.fixture
def peer():
    opened = []

    def open_one(*acts):
        opened.append(Peer(*acts))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def good(connection):
    body = json.dumps(result("scalar", [0, "97"])).encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def test_a_reset_connection_is_tried_once_more(peer):
    prometheus = peer(reset, good)

    assert ask(prometheus.url).value == 97
    assert prometheus.connections == 2


def test_two_resets_are_an_unreachable_prometheus(peer):
    prometheus = peer(reset, reset)

    assert ask(prometheus.url).reason is Reason.PROMETHEUS_UNREACHABLE


def test_an_answer_that_is_cut_off_is_an_unreachable_prometheus(peer):
    prometheus = peer(
        lambda c: c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"status":"success"')
    )

    sample = ask(prometheus.url)

    assert (sample.value, sample.reason) == (None, Reason.PROMETHEUS_UNREACHABLE)


def test_a_server_that_says_nothing_is_given_up_after_the_read_timeout(peer):
    over = threading.Event()
    prometheus = peer(lambda _: over.wait(5))

    began = time.monotonic()
    sample = ask(prometheus.url, read_timeout=0.2)
    over.set()

    assert time.monotonic() - began < 2
    assert sample.detail.endswith("ReadTimeout")


def test_a_server_that_trickles_is_given_up_too(peer):
    def trickle(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            connection.sendall(b"1\r\n \r\n")
            time.sleep(0.05)

    prometheus = peer(trickle)

    began = time.monotonic()
    sample = ask(prometheus.url, connect_timeout=0.2, read_timeout=0.3)

    assert time.monotonic() - began < 3
    assert (sample.value, sample.reason) == (None, Reason.PROMETHEUS_UNREACHABLE)


def test_an_endless_answer_is_given_up(peer):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(LARGEST_ANSWER // 65536 + 100):
            connection.sendall(b" " * 65536)

    sample = ask(peer(flood).url)

    assert (sample.value, sample.reason) == (None, Reason.PROMETHEUS_UNREACHABLE)


# Readiness


@pytest.mark.parametrize(("status", "why"), [(200, None), (503, f"{URL}: HTTP 503"), (302, None)])
def test_ping_says_why_prometheus_cannot_be_asked(web, status, why):
    web.get(f"{URL}/-/ready", status=status)

    assert PrometheusMetrics(URL).ping() == why


def test_ping_of_nobody_is_a_reason():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    assert PrometheusMetrics(url).ping() == f"{url}: ConnectionError"
