"""The HTTP side of the simulated API server: connections, tokens, faults and streams.

One thread per connection, HTTP/1.1 with keep-alive, from the standard library.
"""

from __future__ import annotations

import hmac
import json
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from remediator.lab.cluster import connection, discovery, errors, protobuf, tables
from remediator.lab.cluster.access import AccessRules
from remediator.lab.cluster.api import Api, Request, place_of
from remediator.lab.cluster.audit import Entry, RequestLog
from remediator.lab.cluster.door import PREFIX, LabDoor
from remediator.lab.cluster.faults import FaultSwitches
from remediator.lab.cluster.objects import compact, rfc3339
from remediator.lab.cluster.patches import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from remediator.lab.cluster.watching import watch

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from remediator.lab.cluster.api import Place
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store

OPEN_TO_ALL = ("/healthz", "/livez", "/readyz", "/version")
JSON_TYPES = ("application/json", JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)


class ApiServer(ThreadingHTTPServer):
    """Listens on loopback; holds what all connections share."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, store: Store, port: int, token: str) -> None:
        self.store = store
        self.token = token
        self.log = RequestLog()
        self.faults = FaultSwitches()
        self.access = AccessRules()
        self.api = Api(store, self.access.allows)
        self.door = LabDoor(self.log, self.faults, self.access)
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), ApiRequest)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is everyday life here; anything else is our fault and shown."""
        if not isinstance(sys.exc_info()[1], OSError | ValueError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Stop listening and hang up on everyone, so that no thread or socket outlives the cluster."""
        self.closing.set()
        self.faults.clear()
        self.shutdown()
        self.server_close()
        patience = time.monotonic() + 2
        while self._connections and time.monotonic() < patience:
            for request in list(self._connections):
                connection.hang_up(request)
            time.sleep(0.01)


class ApiRequest(BaseHTTPRequestHandler):
    """Answers the requests of one connection, one after the other."""

    server: ApiServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __getattr__(self, name: str) -> Any:
        # http.server calls do_<METHOD>; all methods are answered by the same code.
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the signature is http.server's
        """Nothing on the terminal: the request log has it."""

    # ------------------------------------------------------------ one request

    def _serve(self) -> None:
        split = urlsplit(self.path)
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        content_type = self.headers.get("Content-Type", "").split(";")[0].strip()
        try:
            raw = connection.body_of(self.headers, self.rfile)
            at_door = split.path.startswith(PREFIX)  # where `curl -d` need not say that it sends JSON
            body = _parsed(raw, "" if at_door else content_type)
        except errors.ApiError as error:
            self.close_connection = True  # part of the body may still be on the way
            self._send_error(error)
            return
        request = Request(self.command, split.path, query, content_type, body)
        if at_door:
            self._serve_door(request)
            return
        entry = self._entry(request)
        self.server.log.add(entry)
        self._serve_api(request, entry)

    def _serve_door(self, request: Request) -> None:
        try:
            answer = self.server.door.answer(request.method, request.path, request.query, request.body)
        except errors.ApiError as error:
            self._send_error(error)
            return
        self._send(200, answer)

    def _entry(self, request: Request) -> Entry:
        return Entry(
            time=rfc3339(self.server.store.clock()),
            method=request.method,
            path=self.path,
            user_agent=self.headers.get("User-Agent", ""),
            content_type=request.content_type,
            body=request.body,
            dry_run=request.dry_run,
            field_manager=request.query.get("fieldManager", ""),
        )

    def _serve_api(self, request: Request, entry: Entry) -> None:
        applied_in_silence = False
        for fault in self.server.faults.meet(request.method, self.path):
            entry.fault = fault.fault
            if fault.fault == "latency":
                self.server.closing.wait(fault.seconds)
            elif fault.fault == "reset_before" or (fault.fault == "hang" and self._hang()):
                self._vanish()
                return
            elif fault.fault == "reset_after":
                applied_in_silence = True
            elif refusal := fault.refusal():
                self._send_error(refusal, entry)
                return
        try:
            self._check_token(request.path)
            self._route(request, entry, silent=applied_in_silence)
        except errors.ApiError as error:
            self._send_error(error, entry)

    def _hang(self) -> bool:
        """Wait until the fault is cleared; True when the client left before that."""
        return not connection.hang(self.connection, self.server.faults.released)

    def _check_token(self, path: str) -> None:
        if not self.server.token or path.startswith(OPEN_TO_ALL):
            return
        given = self.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self.server.token}".encode()):
            raise errors.unauthorized()

    def _route(self, request: Request, entry: Entry, *, silent: bool) -> None:
        if request.path in OPEN_TO_ALL[:3]:
            self._send(200, "ok", entry)
            return
        place = place_of(request.path)
        if place is None:
            found = discovery.document(request.path) if request.method == "GET" else None
            if found is None:
                raise errors.no_such_path()
            self._send(200, found, entry)
            return
        watching = request.method == "GET" and request.query.get("watch") in {"true", "1"}
        if refusal := self.server.access.refusal(place, request.method, watching=watching):
            raise refusal
        if watching:
            self._stream(place, request, entry)
            return
        code, answer = self.server.api.answer(place, request)
        if silent:
            entry.code = code
            self._vanish()
        else:
            self._send(code, self._as_asked(place, answer, request), entry)

    def _vanish(self) -> None:
        self.close_connection = True
        connection.reset(self.connection)
        self.wfile = BytesIO()  # http.server flushes it once more

    # ------------------------------------------------------------ answers

    def _wants_table(self) -> bool:
        return "as=Table" in self.headers.get("Accept", "")

    def _as_asked(self, place: Place, answer: Any, request: Request) -> Any:
        if not self._wants_table() or request.method != "GET" or place.subresource or isinstance(answer, str):
            return answer
        objects = answer["items"] if not place.name else [answer]
        return self._table(place, objects, request, answer["metadata"] if not place.name else {})

    def _table(self, place: Place, objects: list[Json], request: Request, meta: Json, **how: bool) -> Json:
        whole = request.query.get("includeObject") == "Object"
        return tables.table(place.resource.kind, objects, meta, whole_objects=whole, **how)

    def _stream(self, place: Place, request: Request, entry: Entry) -> None:
        matches = self.server.api.matcher(place, request.query)
        entry.code, entry.answered = 200, True
        head = self._head(200, "application/json", ("Transfer-Encoding", "chunked"))
        self.wfile.write(head)
        header = True
        for event in self._events(place, request, matches):
            if event["type"] in {"ADDED", "MODIFIED", "DELETED"} and self._wants_table():
                table = self._table(place, [event["object"]], request, {}, header=header)
                event, header = {**event, "object": table}, False  # noqa: PLW2901
            line = compact(event) + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def _events(self, place: Place, request: Request, matches: Any) -> Iterator[Json]:
        for event in watch(self.server.store, place, request.query, matches):
            if self.server.closing.is_set():
                return
            if event is not None:
                yield event
            elif connection.client_left(self.connection):
                self.close_connection = True
                return

    def _head(self, code: int, content_type: str, *more: tuple[str, str]) -> bytes:
        lines = [
            f"HTTP/1.1 {code} {self.responses.get(code, ('',))[0]}",
            f"Content-Type: {content_type}",
            f"Date: {formatdate(self.server.store.clock(), usegmt=True)}",
            "Cache-Control: no-cache, private",
            *(f"{name}: {value}" for name, value in more),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _send_error(self, error: errors.ApiError, entry: Entry | None = None) -> None:
        self._send(error.code, error.status(), entry, *error.headers.items())

    def _send(self, code: int, answer: Any, entry: Entry | None = None, *more: tuple[str, str]) -> None:
        text = isinstance(answer, str)
        body = answer.encode() if text else compact(answer)
        if entry is not None:
            entry.code = code
        head = self._head(
            code, "text/plain" if text else "application/json", ("Content-Length", str(len(body))), *more
        )
        self.wfile.write(head + (b"" if self.command == "HEAD" else body))
        if entry is not None:
            entry.answered = True


def _parsed(raw: bytes, content_type: str) -> Any:
    if not raw:
        return None
    if content_type == protobuf.CONTENT_TYPE:
        return protobuf.decoded(raw)
    if content_type and content_type not in JSON_TYPES:  # none at all is JSON to a real server, too
        raise errors.unsupported_media_type(JSON_TYPES)
    try:
        return json.loads(raw)
    except ValueError as error:
        raise errors.bad_request("the body of the request is not JSON") from error
