"""Clients that mean harm, or are merely broken, against a real `remediator serve`."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
import time
from contextlib import ExitStack, suppress

from tests.process.conftest import TOKEN
from tests.process.test_serve import a_notification
from tests.waiting import eventually

THREADS = 4


def a_connection(served):
    host, port = served.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def raw(served, request: bytes) -> bytes:
    """Send bytes as they are; what comes back until the server closes or falls silent."""
    with a_connection(served) as connection:
        connection.settimeout(5)
        with suppress(ConnectionError):  # cut off while we still send is an answer, too
            connection.sendall(request)
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            while found := connection.recv(65536):
                answer += found
        return answer


def status(answer: bytes) -> int:
    """Of an answer; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


HEAD = f"POST /webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


SLOW = (
    b"",
    b"POST /webhook HTTP/1.1\r\nX-Slow: ",
    HEAD + b"Content-Length: 100000\r\n\r\n{",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{",
)
"""They say nothing, never end their headers, their body, their chunks; and have no token."""


def test_slow_clients_do_not_keep_alertmanager_waiting(serve):
    served = serve(REMEDIATOR_THREADS=str(THREADS))
    with ExitStack() as slow:
        crowd = [(slow.enter_context(a_connection(served)), said) for said in SLOW * THREADS]
        stop = threading.Event()

        def trickle():
            while not stop.wait(0.2):
                for connection, said in crowd:
                    with suppress(OSError):
                        connection.sendall(said and b"1")

        for connection, said in crowd:
            connection.sendall(said)
        dripping = threading.Thread(target=trickle)
        dripping.start()
        try:
            began = time.monotonic()
            answer = served.ask("/webhook", a_notification())
            took = time.monotonic() - began
        finally:
            stop.set()
            dripping.join()

    assert answer.status_code == 202
    assert took < 14, f"{took:.1f} s"  # four rounds of a second each; without a bound it would be minutes
    assert any("too slow" in line["event"] for line in served.events())


def test_many_idle_connections_leave_room_for_requests(serve):
    served = serve(REMEDIATOR_THREADS=str(THREADS))
    with ExitStack() as idle:
        for _ in range(300):
            idle.enter_context(a_connection(served))
        began = time.monotonic()
        assert served.ask("/webhook", a_notification()).status_code == 202
        assert time.monotonic() - began < 3


IMPROPER = {
    "a huge header": (HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n", {400, 431}),
    "many headers": (HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n", {400, 431}),
    "a huge path": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", {400, 414}),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", {400}),
    "smuggling": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\n", {400}),
    "a huge length": (HEAD + b"Content-Length: 999999999999\r\n\r\n", {413}),
    "no chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\0" * 60 + b"\r\n\r\n", {400}),
    "no version": (b"POST /webhook\r\n\r\n", {400}),
}


def test_what_is_no_proper_request_is_refused_and_nothing_is_journaled(serve):
    served = serve()

    answered = {name: status(raw(served, request)) for name, (request, _) in IMPROPER.items()}

    assert {name: code for name, code in answered.items() if code not in IMPROPER[name][1]} == {}
    assert served.ask("/api/v1/incidents").json()["incidents"] == []
    assert served.ask("/webhook", a_notification()).status_code == 202


def test_a_compressed_bomb_is_not_unpacked(serve):
    served = serve()
    bomb = gzip.compress(b" " * 200_000_000)

    answer = served.ask("/webhook", bomb, headers={"Content-Encoding": "gzip"})

    assert answer.status_code == 415
    assert "Content-Encoding" in answer.json()["error"]


def test_chunks_beyond_the_limit_are_cut_off(serve):
    served = serve(REMEDIATOR_MAX_BODY="100000")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    answer = raw(served, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 50)

    assert status(answer) == 413


def test_a_token_can_be_rotated_under_load(serve, home):
    served = serve()
    bad: list[int] = []
    stop = threading.Event()

    def post(token: str) -> None:
        while not stop.is_set():
            answer = served.ask("/webhook", a_notification(), headers={"Authorization": f"Bearer {token}"})
            if answer.status_code != http.client.ACCEPTED:
                bad.append(answer.status_code)

    old = threading.Thread(target=post, args=(TOKEN,))
    old.start()
    (home / "new").write_text(f"{TOKEN}\nfresh\n")
    (home / "new").rename(home / "token")
    new = threading.Thread(target=post, args=("fresh",))
    new.start()
    posted = served.metric("notifications_total")
    eventually(lambda: served.metric("notifications_total") > posted + 40, "both are let in")
    stop.set()
    old.join()
    new.join()
    (home / "new").write_text("fresh\n")
    (home / "new").rename(home / "token")

    assert bad == []
    assert (
        served.ask("/webhook", a_notification(), headers={"Authorization": f"Bearer {TOKEN}"}).status_code
        == 401
    )
