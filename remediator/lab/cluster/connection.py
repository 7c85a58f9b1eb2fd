"""One client's connection: reading a body from it, and the ways in which it can break."""

from __future__ import annotations

import os
import select
import socket
import struct
from typing import TYPE_CHECKING

from remediator.lab.cluster.errors import bad_request, too_large

if TYPE_CHECKING:
    import threading
    from email.message import Message
    from io import BufferedIOBase

BEAT = 0.1
LONGEST_BODY = 3 * 1024 * 1024  # as of a real API server


def body_of(headers: Message, stream: BufferedIOBase) -> bytes:
    """The whole body, sent at once or in chunks (as `kubectl create --raw` does)."""
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return b"".join(iter(lambda: _chunk(stream), b""))
    length = int(headers.get("Content-Length") or 0)
    if length > LONGEST_BODY:
        raise too_large(LONGEST_BODY)
    return stream.read(length)


def _chunk(stream: BufferedIOBase) -> bytes:
    try:
        size = int(stream.readline().split(b";")[0], 16)
    except ValueError as error:
        raise bad_request("malformed chunk") from error
    if not 0 <= size <= LONGEST_BODY:
        raise too_large(LONGEST_BODY)
    data = stream.read(size)
    stream.readline()
    return data


def client_left(connection: socket.socket) -> bool:
    """The client closed its end (a pipelined next request would look like staying)."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True


def hang(connection: socket.socket, released: threading.Event) -> bool:
    """Say nothing until released; False when the client left first."""
    while not released.wait(BEAT):
        if client_left(connection):
            return False
    return not client_left(connection)


def reset(connection: socket.socket) -> None:
    """Close with a TCP RST. The descriptor is closed under Python's file objects, which would delay it."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())
    except OSError:  # the client was faster
        return


def hang_up(connection: socket.socket) -> None:
    """End both directions from another thread; the one that serves it then closes it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
