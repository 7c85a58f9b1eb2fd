"""Bearer tokens from a file, one a line. Two are valid at once, so that they can be rotated."""

from __future__ import annotations

import base64
import binascii
import hmac
from pathlib import Path


class Unauthorised(Exception):
    """No valid token."""


class TokensUnreadable(Exception):
    """The token file is missing, unreadable or empty: nobody can be let in, and that is our fault."""


def authorise(token_file: Path | None, header: str, *, browser: bool = False) -> None:
    """Raise Unauthorised unless the Authorization header carries a token of the file.

    The file is read each time. Whatever is sent is compared with every token in constant time. A browser
    may send a token as the password of Basic authentication, since it cannot be told to send a bearer token.
    """
    if token_file is None:
        return
    try:
        tokens = [line.strip() for line in token_file.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise TokensUnreadable(f"the token file cannot be read: {error.strerror}") from None
    if not tokens:
        raise TokensUnreadable("the token file is empty")
    scheme, _, given = header.partition(" ")
    sent = given.strip().encode("latin-1", "replace")  # the header's own bytes, by PEP 3333
    allowed = scheme.lower() == "bearer"
    if browser and scheme.lower() == "basic":
        allowed, sent = True, _password(sent)
    matches = [hmac.compare_digest(sent, token) for token in tokens]
    if not allowed or not any(matches):
        raise Unauthorised


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
