"""Where the API server is and who we are there, as the `kubernetes` library reads it.

Only its configuration is used (kubeconfig with exec plugins, tokens and certificates; in a pod the
service account). Two of its habits are avoided: writing refreshed tokens back into the user's
kubeconfig, and setting a process-wide default.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from kubernetes.client import Configuration
from kubernetes.config import load_incluster_config, load_kube_config
from kubernetes.config.incluster_config import SERVICE_CERT_FILENAME, SERVICE_TOKEN_FILENAME
from requests.utils import get_environ_proxies

DEFAULT_KUBECONFIG = "~/.kube/config"


class Unconfigured(Exception):
    """There is no usable kubeconfig or service account; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach the API server."""

    server: str
    verify: bool | str = True
    """Whether to verify its certificate, or the file of the authority to verify it with."""
    certificate: tuple[str, str] | None = None
    """Our own, with its key."""
    server_name: str | None = None
    """The name in its certificate, where that is not its address."""
    proxy: str | None = None
    authorization: Callable[[], str | None] = lambda: None
    """The header's value now; renews a token that is about to expire."""


def load_access(kubeconfig: str | None = None) -> Access:
    """From the kubeconfig named; else the service account when there is one; else the default kubeconfig."""
    in_cluster = kubeconfig is None and in_pod()
    path = kubeconfig or os.environ.get("KUBECONFIG") or DEFAULT_KUBECONFIG
    # An empty proxy keeps the library from taking one of the environment without regard to NO_PROXY.
    configuration = Configuration(proxy="")
    try:
        if in_cluster:
            load_incluster_config(  # type: ignore[no-untyped-call]  # untyped library
                client_configuration=configuration
            )
        else:
            load_kube_config(  # type: ignore[no-untyped-call]  # untyped library
                path, client_configuration=configuration, persist_config=False
            )
    except Exception as failure:  # exec plugins, YAML and files fail in their own ways
        source = "the service account" if in_cluster else path
        raise Unconfigured(f"cannot load {source}: {failure}") from failure
    return _access(configuration, in_cluster=in_cluster)


def in_pod() -> bool:
    return Path(SERVICE_TOKEN_FILENAME).is_file() and Path(SERVICE_CERT_FILENAME).is_file()


def _access(configuration: Configuration, *, in_cluster: bool) -> Access:
    server = configuration.host.rstrip("/")
    verify: bool | str = configuration.ssl_ca_cert or True
    files = (configuration.cert_file, configuration.key_file)
    return Access(
        server=server,
        verify=verify if configuration.verify_ssl else False,
        certificate=(files[0], files[1]) if files[0] and files[1] else None,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy or (None if in_cluster else _environment_proxy(server)),
        authorization=lambda: _authorization(configuration),
    )


def _authorization(configuration: Configuration) -> str | None:
    # This call runs the library's hook that reads a rotated service account token again.
    value: str | None = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return value.strip() if value else None


def _environment_proxy(server: str) -> str | None:
    """The proxy of the environment, as kubectl takes it: never for this machine, never against NO_PROXY."""
    url = urlsplit(server)
    if url.hostname in {"localhost", "127.0.0.1", "::1"}:
        return None
    return get_environ_proxies(server).get(url.scheme)
