"""HTTP to the API server: every request bounded in time and size, nothing sent twice by surprise.

A GET is tried up to three times within one total time. A PATCH goes out once; only after a 401, which
proves that nothing was processed, it goes out again with renewed credentials. `Connection.patch` is the
one place from which a target is ever changed; `create` only adds Events beside it.

No exception of a library leaves this module: an answer of whatever status is an Answer, silence is NoAnswer.
"""

from __future__ import annotations

import json
import math
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import requests
from requests.structures import CaseInsensitiveDict
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random,
)
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from remediator import __version__
from remediator.adapters.kubernetes.answers import (
    Answer,
    NoAnswer,
    answer_of,
    content_of,
    may_have_arrived,
    why,
)
from remediator.adapters.kubernetes.credentials import Access
from remediator.adapters.one_server import OneServer

FIELD_MANAGER = "remediator"
"""Must not begin with `kubectl`: GitOps tools strip what those managers wrote and cause a second rollout."""

READ_TRIES = 3
_MOMENT = wait_random(0.02, 0.2)
_CONNECTIONS = 8
"""Kept open: four reads side by side for each of two threads."""
_FILTERING = threading.Lock()
_TOO_MANY_REQUESTS = 429
_UNAUTHORIZED = 401
_SERVER_ERROR = 500


class _Again(Exception):
    """A read that may be tried again; carries the answer when there was one."""

    def __init__(self, answer: Answer | NoAnswer) -> None:
        super().__init__()
        self.answer = answer


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

    @property
    def patience(self) -> float:
        """Seconds that one request with all its tries may take."""
        return self._connect_timeout + self._read_timeout

    def get(self, path: str, query: dict[str, str] | None = None, *, deadline: float | None = None) -> Answer:
        """Read, a few times if need be, but never longer than one connect and one read may take.

        With a `deadline` (of the monotonic clock) it is over by then.
        """
        deadline = min(deadline or math.inf, time.monotonic() + self.patience)
        try:
            return self._read_once(path, query or {}, deadline)
        except _Again as failure:
            return self._read_again(failure, path, query or {}, deadline)

    def _read_again(self, failure: _Again, path: str, query: dict[str, str], deadline: float) -> Answer:
        """Go on after a first try."""
        first = [failure]

        def read() -> Answer:
            if first:
                raise first.pop()
            return self._read_once(path, query, deadline)

        tries = Retrying(
            stop=lambda state: (
                stop_after_attempt(READ_TRIES)(state) or time.monotonic() + state.upcoming_sleep >= deadline
            ),
            wait=_pause,
            retry=retry_if_exception_type(_Again),
        )
        try:
            return tries(read)
        except RetryError as over:
            last = over.last_attempt.exception()
            assert isinstance(last, _Again)
            if isinstance(last.answer, NoAnswer):
                raise last.answer from None
            return last.answer

    def read_text(self, path: str, query: dict[str, str], *, deadline: float) -> Answer:
        """Read text, once: who asks can do without."""
        deadline = min(deadline, time.monotonic() + self.patience)
        return self._authorized("GET", path, query, deadline, as_text=True)

    def patch(self, path: str, body: Any, *, content_type: str, dry_run: bool) -> Answer:
        """Write once. With `dry_run` the API server does all but store it."""
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        deadline = time.monotonic() + self.patience
        data = json.dumps(body).encode()
        return self._authorized("PATCH", path, query, deadline, data=data, content_type=content_type)

    def ask(self, path: str, question: Any) -> Answer:
        """Ask once by POST something that is answered and not stored, as access reviews are."""
        deadline = time.monotonic() + self.patience
        data = json.dumps(question).encode()
        return self._authorized("POST", path, {}, deadline, data=data, content_type="application/json")

    def create(self, path: str, body: Any) -> Answer:
        """Create, once, what has a name of its own: a second time would be a 409."""
        deadline = time.monotonic() + self.patience
        data, query = json.dumps(body).encode(), {"fieldManager": FIELD_MANAGER}
        return self._authorized("POST", path, query, deadline, data=data, content_type="application/json")

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
        as_text: bool = False,
    ) -> Answer:
        """One request, one answer."""
        access = line.access
        headers = _headers(access, content_type)
        left = max(deadline - time.monotonic(), 0.05)
        if not access.verify:
            _say_nothing_of_it()
        try:
            request = _prepared(method, access.server + path, headers=headers, query=query, data=data)
            with line.adapter.send(
                request,
                stream=True,
                timeout=(min(self._connect_timeout, left), min(self._read_timeout, left)),
                verify=access.verify,
                cert=access.certificate,
                proxies={"http": access.proxy, "https": access.proxy} if access.proxy else {},
            ) as response:
                content = content_of(response, time.monotonic() + left)
        except (requests.RequestException, HTTPError, OSError, ValueError) as failure:
            raise NoAnswer(why(failure), sent=may_have_arrived(failure)) from failure
        return answer_of(response, content, as_text=as_text)

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
        self.adapter = OneServer(connections=_CONNECTIONS, name=access.server_name)


def _say_nothing_of_it() -> None:
    """The kubeconfig says not to verify; the library would repeat it at every request.

    Once and one at a time: a filter that is set again is away for a moment, for all threads.
    """
    with _FILTERING:
        wanted = ("ignore", None, InsecureRequestWarning, None, 0)
        if wanted not in warnings.filters:
            warnings.filterwarnings("ignore", category=InsecureRequestWarning)


def _prepared(
    method: str, url: str, *, headers: dict[str, str], query: dict[str, str], data: bytes | None
) -> requests.PreparedRequest:
    """What `PreparedRequest.prepare` makes of it, in a tenth of the time: all of it is quoted already."""
    request = requests.PreparedRequest()
    request.method = method
    request.url = f"{url}?{urlencode(query)}" if query else url
    request.headers = CaseInsensitiveDict(headers)
    request.body = data
    if data is not None:
        request.headers["Content-Length"] = str(len(data))
    return request


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


def _pause(state: RetryCallState) -> float:
    """As long as the API server asks for, else a moment."""
    failure = state.outcome.exception() if state.outcome else None
    answer = failure.answer if isinstance(failure, _Again) else None
    asked = answer.again_after if isinstance(answer, Answer) else None
    return _MOMENT(state) if asked is None else asked.total_seconds()
