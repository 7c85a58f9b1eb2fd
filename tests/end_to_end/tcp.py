"""A TCP relay that can be cut: both ways at once, for old connections and new ones."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Relay:
    """Between a program and a server; a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._cut = False
        self._ends: set[socket.socket] = set()
        self._awaited = b""
        self._watched: socket.socket | None = None
        """The client that has sent what is awaited."""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        _shut(self._listener)
        self._listener.close()
        with self._lock:
            ends, self._ends = list(self._ends), set()
        for end in ends:
            end.close()

    def cut(self) -> None:
        """Reset what is open, and whatever comes."""
        with self._lock:
            self._cut, ends = True, list(self._ends)
        for end in ends:
            _shut(end)

    def cut_once_committed(self, words: bytes) -> None:
        """Of PostgreSQL: cut when a client knows that a transaction with these words is committed."""
        self._awaited = words

    @property
    def is_cut(self) -> bool:
        return self._cut

    def mend(self) -> None:
        with self._lock:
            self._cut = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                client.close()
                continue
            try:
                server = socket.create_connection(self._upstream)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._ends |= {client, server}
            for pump in (self._to_server, self._to_client):
                threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self._awaited and self._awaited in data:
                    self._awaited, self._watched = b"", client
                server.sendall(data)
        _shut(client)
        _shut(server)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                is_the_end = client is self._watched and b"COMMIT\x00" in data
                client.sendall(data)
                if is_the_end:
                    self._watched = None
                    self.cut()
        _shut(client)
        _shut(server)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
