"""requests' adapter for one server: what it works out anew for every request is here worked out once.

The same scheme, host, certificates and proxy for every request; no redirects, no cookies, no guessing of
encodings. Everything in between, and every exception, is requests' own.
"""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

_AFTER_SCHEME = len("https://")


class OneServer(HTTPAdapter):
    """Safe to share between threads. To be made after a fork."""

    def __init__(self, *, connections: int, name: str | None = None) -> None:
        """`connections` are kept open. `name` is that of its certificate, where it is not its address."""
        self._name = name
        self._pool: Any = None
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        """Make the pools. Called by requests."""
        if self._name:
            settings |= {"server_hostname": self._name, "assert_hostname": self._name}
        super().init_poolmanager(*args, **settings)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the server's pool. Called by requests."""
        if self._pool is None:
            pool = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
            super().cert_verify(pool, str(request.url), verify, cert)  # type: ignore[no-untyped-call]
            self._pool = pool
        return self._pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing: the certificates are the pool's from the first request on. Called by requests."""

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return what stands in the request's first line. Called by requests."""
        if proxies:
            return super().request_url(request, proxies)
        url = str(request.url)
        return url[url.index("/", _AFTER_SCHEME) :]

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """Status, headers and the stream. Called by requests."""
        response = requests.Response()
        response.status_code = resp.status
        response.headers = resp.headers  # a mapping that does not mind case either
        response.raw = resp
        response.request = req
        return response
