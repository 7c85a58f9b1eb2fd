"""What comes back from the API server: an answer of whatever status, or none and why."""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from remediator.adapters.kubernetes.objects import Json
from remediator.adapters.kubernetes.objects import text as text_at

LARGEST_ANSWER = 32 * 1024 * 1024
LONGEST_QUOTE = 256
_CHUNK = 64 * 1024


class NoAnswer(Exception):
    """The API server gave no complete answer."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent
        """Whether the request may have reached it. False is certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: Json = field(default_factory=dict)
    text: str = ""
    """Of an answer that was asked for as text."""
    at: datetime
    """The API server's clock."""
    again_after: timedelta | None = None
    """How long it asks to be left alone."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - the 2xx range

    @property
    def words(self) -> str:
        """What the answer says, fit to be stored: a Status' own message, never a raw body."""
        said = text_at(self.body, "message") or text_at(self.body, "reason")
        quoted = " ".join(said.split())[:LONGEST_QUOTE]
        return f"HTTP {self.status}: {quoted}" if quoted else f"HTTP {self.status}"


def content_of(response: requests.Response, deadline: float) -> bytes:
    """The body, unless it is too large or drips in too slowly."""
    content = bytearray()
    while chunk := response.raw.read1(_CHUNK):
        content += chunk
        if len(content) > LARGEST_ANSWER:
            raise ValueError(f"the answer is larger than {LARGEST_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise ValueError("the answer came in too slowly")
    return bytes(content)


def answer_of(response: requests.Response, content: bytes, *, as_text: bool) -> Answer:
    at = _date(response.headers.get("Date"))
    if as_text and response.ok:
        return Answer(status=response.status_code, text=content.decode(errors="replace"), at=at)
    try:
        body = json.loads(content) if content else {}
    except ValueError as failure:
        body = None
        if response.ok:
            raise NoAnswer("the answer is not JSON", sent=True) from failure
    return Answer(
        status=response.status_code,
        body=body if isinstance(body, dict) else {},
        at=at,
        again_after=_again_after(response.headers.get("Retry-After"), at),
    )


def _again_after(header: str | None, now: datetime) -> timedelta | None:
    """What Retry-After says, in seconds or by a date."""
    if header is None:
        return None
    try:
        if header.strip().isdecimal():
            return timedelta(seconds=int(header))
        return max(timedelta(), parsedate_to_datetime(header) - now)
    except (ValueError, TypeError, OverflowError):  # no date, one without a zone, or an eternity
        return None


def _date(header: str | None) -> datetime:
    try:
        return _stated(header or "")
    except ValueError:
        return datetime.now(UTC)


@lru_cache(maxsize=8)
def _stated(header: str) -> datetime:
    """Many answers of one second say the same."""
    stated = parsedate_to_datetime(header)
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


def may_have_arrived(failure: BaseException) -> bool:
    """False only when no connection was ever made, so that nothing can have been processed."""
    return not any(
        isinstance(cause, NewConnectionError | requests.ConnectTimeout | ssl.SSLCertVerificationError)
        for cause in _causes(failure)
    )


def why(failure: BaseException) -> str:
    """In one line, from the innermost cause that says anything; without addresses of Python objects."""
    if isinstance(failure, requests.ConnectTimeout):
        return "no connection within the time-out"
    if isinstance(failure, requests.Timeout):
        return "no answer within the time-out"
    system = [cause for cause in _causes(failure) if isinstance(cause, OSError) and cause.strerror]
    said = system[-1].strerror if system else str(failure)
    return " ".join(str(said).split())[:LONGEST_QUOTE] or type(failure).__name__
