"""One client's connection, down to the ways in which it can break."""

from __future__ import annotations

import os
import select
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

BEAT = 0.1


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
