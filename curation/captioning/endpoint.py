"""Which server is asked for captions, at what cost, and whether frames may go there at all.

Apart from the captioner (`curation.captioning.served`), so that a recipe can be read without
importing an HTTP client.
"""

import dataclasses
import ipaddress
import os
import re
from urllib.parse import urlsplit

from curation.captioning.asking import AskConfig
from curation.components import fingerprint

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass(frozen=True, slots=True)
class EndpointConfig:
    """A server, and what asking it may cost.

    Attributes:
        url: base address, up to and including ``/v1``; no credentials in it.
        model: as the server calls it.
        revision: which weights the server holds; recorded in the fingerprint, not checked.
        temperature: None where a server takes none.
        key_variable: environment variable that holds the key. Its value is never written anywhere.
        consent_host: the host that frames of the films may be sent to, where it is not this
            machine. It has to be the very host of `url`.
        concurrency: requests under way at once.
        timeout_seconds: for one request.
        retries: after a failure that may pass, with backoff.
        max_requests: HTTP requests of one run, retries included.
        max_tokens: tokens of one run, prompts included, as the server counts them.
        give_up_after: clips in a row that fail before the run stops.
    """

    url: str = "http://localhost:8000/v1"
    model: str = "Qwen/Qwen3-VL-8B-Instruct"
    revision: str = ""
    temperature: float | None = 0.0
    key_variable: str = "TEMPO_ENDPOINT_KEY"
    consent_host: str | None = None
    concurrency: int = 16
    timeout_seconds: float = 120.0
    retries: int = 6
    max_requests: int | None = None
    max_tokens: int | None = None
    give_up_after: int = 20

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"caption.endpoint.url = {self.url!r}: write it as http://localhost:8000/v1"
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "caption.endpoint.url (not shown): leave out credentials and query; the key comes "
                f"from the environment variable {self.key_variable}"
            )
        if not _ENVIRONMENT_NAME.fullmatch(self.key_variable):
            raise ValueError(
                "caption.endpoint.key_variable (not shown): give the name of an environment "
                "variable, not the key"
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in ("concurrency", "max_requests", "max_tokens", "give_up_after"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"caption.endpoint.{name} = {value}: give at least 1")
        if not self.timeout_seconds > 0:
            raise ValueError(
                f"caption.endpoint.timeout_seconds = {self.timeout_seconds}: give more than 0"
            )
        if self.retries < 0:
            raise ValueError(f"caption.endpoint.retries = {self.retries}: give 0 or more")

    @property
    def host(self) -> str:
        """Name of the host that frames go to."""
        return urlsplit(self.url).hostname or ""

    def fingerprint(self, ask: AskConfig) -> str:
        """What decides the words; the other fields decide what they cost."""
        asked = {"model": self.model, "revision": self.revision, "temperature": self.temperature}
        return fingerprint("captioner:endpoint", {"endpoint": asked, "ask": ask})


def is_local(host: str) -> bool:
    """True for this machine: ``localhost`` and loopback addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def key_for(config: EndpointConfig) -> str:
    """The server's key from the environment; empty where this machine serves without one.

    Raises:
        ValueError: frames would go to another machine and nobody has consented to that, or that
            machine wants a key and the environment holds none.
    """
    key = os.environ.get(config.key_variable, "")
    if is_local(config.host):
        return key
    if config.consent_host != config.host:
        raise ValueError(
            f"captioner endpoint: frames of the films would be sent to {config.host}; if their "
            f"owners agree, say so with --set caption.endpoint.consent_host={config.host}"
        )
    if not key:
        raise ValueError(
            f"captioner endpoint: {config.host} wants a key; put it into the environment variable "
            f"{config.key_variable}"
        )
    return key
