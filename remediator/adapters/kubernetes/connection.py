"""HTTP to the API server: every request bounded in time and size, nothing sent twice by surprise.

A GET is tried up to three times within one total time. A PATCH goes out once; only after a 401, which
proves that nothing was processed, it goes out again with renewed credentials. `Connection.patch` is the
one place from which anything is ever written.

No exception of a library leaves this module: an answer of whatever status is an Answer, silence is NoAnswer.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_random
from urllib3.exceptions import HTTPError, InsecureRequestWarning, NewConnectionError

from remediator import __version__
from remediator.adapters.kubernetes.credentials import Access
from remediator.adapters.kubernetes.objects import Json, text

FIELD_MANAGER = "remediator"
"""Must not begin with `kubectl`: GitOps tools strip what those managers wrote and cause a second rollout."""

READ_TRIES = 3
LARGEST_ANSWER = 32 * 1024 * 1024
LONGEST_QUOTE = 256
_CHUNK = 64 * 1024
_CONNECTIONS = 8
"""Kept open: four reads side by side for each of two threads."""
_TOO_MANY_REQUESTS = 429
_UNAUTHORIZED = 401
_SERVER_ERROR = 500


class NoAnswer(Exception):
    """The API server gave no complete answer."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent
        """Whether the request may have reached it. False is certain."""


class _Again(Exception):
    """A read that may be tried again; carries the answer when there was one."""

    def __init__(self, answer: Answer | NoAnswer) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: Json = field(default_factory=dict)
    at: datetime
    """The API server's clock."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - the 2xx range

    @property
    def words(self) -> str:
        """What the answer says, fit to be stored: a Status' own message, never a raw body."""
        said = text(self.body, "message") or text(self.body, "reason")
        quoted = " ".join(said.split())[:LONGEST_QUOTE]
        return f"HTTP {self.status}: {quoted}" if quoted else f"HTTP {self.status}"


class Connection:
    """Safe to share between threads. To be built after a fork."""

    def __init__(
        self, load: Callable[[], Access], *, connect_timeout: float = 3.0, read_timeout: float = 10.0
    ) -> None:
        self._load = load
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._line = _Line(load())
        self._lock = threading.Lock()

    def get(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """Read, a few times if need be, but never longer than one connect and one read may take."""
        deadline = time.monotonic() + self._connect_timeout + self._read_timeout
        tries = Retrying(
            stop=lambda state: stop_after_attempt(READ_TRIES)(state) or time.monotonic() >= deadline,
            wait=wait_random(0.02, 0.2),
            retry=retry_if_exception_type(_Again),
        )
        try:
            return tries(self._read_once, path, query or {}, deadline)
        except RetryError as failure:
            last = failure.last_attempt.exception()
            assert isinstance(last, _Again)
            if isinstance(last.answer, NoAnswer):
                raise last.answer from None
            return last.answer

    def patch(self, path: str, body: Any, *, content_type: str, dry_run: bool) -> Answer:
        """Write once. With `dry_run` the API server does all but store it."""
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        deadline = time.monotonic() + self._connect_timeout + self._read_timeout
        data = json.dumps(body).encode()
        return self._authorized("PATCH", path, query, deadline, data=data, content_type=content_type)

    def ask(self, path: str, question: Any) -> Answer:
        """Ask once by POST something that is answered and not stored, as access reviews are."""
        deadline = time.monotonic() + self._connect_timeout + self._read_timeout
        data = json.dumps(question).encode()
        return self._authorized("POST", path, {}, deadline, data=data, content_type="application/json")

    def close(self) -> None:
        self._line.adapter.close()

    def _read_once(self, path: str, query: dict[str, str], deadline: float) -> Answer:
        try:
            answer = self._authorized("GET", path, query, deadline)
        except NoAnswer as silence:
            raise _Again(silence) from silence
        if answer.status == _TOO_MANY_REQUESTS or answer.status >= _SERVER_ERROR:
            raise _Again(answer)
        return answer

    def _authorized(
        self, method: str, path: str, query: dict[str, str], deadline: float, **sent: Any
    ) -> Answer:
        line = self._line
        answer = self._exchange(line, method, path, query, deadline, **sent)
        if answer.status != _UNAUTHORIZED:
            return answer
        return self._exchange(self._renewed(line), method, path, query, deadline, **sent)

    def _exchange(
        self,
        line: _Line,
        method: str,
        path: str,
        query: dict[str, str],
        deadline: float,
        *,
        data: bytes | None = None,
        content_type: str | None = None,
    ) -> Answer:
        """One request, one answer."""
        access = line.access
        headers = _headers(access, content_type)
        left = max(deadline - time.monotonic(), 0.05)
        if not access.verify:
            # The kubeconfig says so; the library would repeat it at every request.
            warnings.filterwarnings("ignore", category=InsecureRequestWarning)
        try:
            request = requests.PreparedRequest()
            request.prepare(method, access.server + path, headers=headers, params=query, data=data)
            with line.adapter.send(
                request,
                stream=True,
                timeout=(min(self._connect_timeout, left), min(self._read_timeout, left)),
                verify=access.verify,
                cert=access.certificate,
                proxies={"http": access.proxy, "https": access.proxy} if access.proxy else {},
            ) as response:
                content = _content(response, time.monotonic() + left)
        except (requests.RequestException, HTTPError, OSError, ValueError) as failure:
            raise NoAnswer(_why(failure), sent=_may_have_arrived(failure)) from failure
        return _answer(response, content)

    def _renewed(self, refused: _Line) -> _Line:
        """Load the credentials anew, once for all threads whose request was refused with the same ones."""
        with self._lock:
            if self._line is refused:
                try:
                    self._line = _Line(self._load())
                except Exception as failure:
                    raise NoAnswer(f"the credentials were refused; {failure}", sent=False) from failure
                refused.adapter.close()
            return self._line


class _Line:
    """Credentials and the connections made with them.

    A requests.Session is left out on purpose: it would follow redirects, keep cookies and take .netrc
    passwords, CA bundles and proxies from the environment, and costs as much time as the request.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.adapter = (
            _NamedServer(access.server_name) if access.server_name else HTTPAdapter(pool_maxsize=_CONNECTIONS)
        )


class _NamedServer(HTTPAdapter):
    """For an API server whose certificate has another name than its address (`tls-server-name`)."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__(pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, server_hostname=self._name, assert_hostname=self._name, **settings)


def _headers(access: Access, content_type: str | None) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"remediator/{__version__}",
    }
    if content_type:
        headers["Content-Type"] = content_type
    try:
        authorization = access.authorization()
    except Exception as failure:
        raise NoAnswer(f"no credentials: {failure}", sent=False) from failure
    if authorization:
        headers["Authorization"] = authorization
    return headers


def _content(response: requests.Response, deadline: float) -> bytes:
    """The body, unless it is too large or drips in too slowly."""
    content = bytearray()
    while chunk := response.raw.read1(_CHUNK):
        content += chunk
        if len(content) > LARGEST_ANSWER:
            raise ValueError(f"the answer is larger than {LARGEST_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise ValueError("the answer came in too slowly")
    return bytes(content)


def _answer(response: requests.Response, content: bytes) -> Answer:
    try:
        body = json.loads(content) if content else {}
    except ValueError as failure:
        body = None
        if response.ok:
            raise NoAnswer("the answer is not JSON", sent=True) from failure
    return Answer(
        status=response.status_code,
        body=body if isinstance(body, dict) else {},
        at=_date(response.headers.get("Date")),
    )


def _date(header: str | None) -> datetime:
    try:
        stated = parsedate_to_datetime(header or "")
    except ValueError:
        return datetime.now(UTC)
    return stated.replace(tzinfo=UTC) if stated.tzinfo is None else stated.astimezone(UTC)


def _causes(failure: BaseException) -> list[BaseException]:
    """The failure and what it was made from; the libraries wrap each other up to four deep.

    `__context__` is left alone: it may be an unrelated failure that was being dealt with meanwhile.
    """
    found: list[BaseException] = []
    open_ends: list[Any] = [failure]
    while open_ends:
        one = open_ends.pop(0)
        if not isinstance(one, BaseException) or any(one is seen for seen in found):
            continue
        found.append(one)
        open_ends += [getattr(one, "reason", None), *one.args, one.__cause__]
    return found


def _may_have_arrived(failure: BaseException) -> bool:
    """False only when no connection was ever made, so that nothing can have been processed."""
    return not any(
        isinstance(cause, NewConnectionError | requests.ConnectTimeout | ssl.SSLCertVerificationError)
        for cause in _causes(failure)
    )


def _why(failure: BaseException) -> str:
    """In one line, from the innermost cause that says anything; without addresses of Python objects."""
    if isinstance(failure, requests.ConnectTimeout):
        return "no connection within the time-out"
    if isinstance(failure, requests.Timeout):
        return "no answer within the time-out"
    system = [cause for cause in _causes(failure) if isinstance(cause, OSError) and cause.strerror]
    said = system[-1].strerror if system else str(failure)
    return " ".join(str(said).split())[:LONGEST_QUOTE] or type(failure).__name__
