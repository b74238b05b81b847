"""Which captioners there are, what each needs before it can be asked, and where it runs.

A captioner runs in the engine's workers, a film's clips at a time, or, where it only waits for a
server, in threads of the job's own process. Everything that can be missing (weights, a key, consent
to send frames away) is looked for by `prepare`, before a film is opened: a run must not find out in
its last hour.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import psutil

from curation.captioning.asking import AskConfig
from curation.captioning.describe import DescribeCaptioner
from curation.captioning.endpoint import EndpointConfig
from curation.captioning.local import LocalConfig, Weights, find_weights
from curation.captioning.sidecar import SidecarCaptioner
from curation.captioning.words import Captioner
from pipelines.crew import Limits
from pipelines.devices import threads_each

if TYPE_CHECKING:  # imports an HTTP client: paid by runs that ask a server
    from curation.captioning.served import EndpointCaptioner

_LIMITS = Limits(timeout_seconds=3600.0, memory_bytes=4 << 30)


@dataclasses.dataclass(frozen=True, slots=True)
class CaptionConfig:
    """How models are asked for captions; each part counts only where its captioner is named."""

    ask: AskConfig = dataclasses.field(default_factory=AskConfig)
    endpoint: EndpointConfig = dataclasses.field(default_factory=EndpointConfig)
    local: LocalConfig = dataclasses.field(default_factory=LocalConfig)


@dataclasses.dataclass(frozen=True, slots=True)
class InWorkers:
    """A captioner that computes: it runs in the engine's workers."""

    name: str
    fingerprint: str | None
    """None where its answers also depend on words outside the film (`Captioner.fingerprint`)."""
    setup: Callable[[], Captioner]
    """Called in each worker."""
    limits: Limits = _LIMITS
    clips_at_once: int | None = None
    """Clips of a film in one call; None for all of them."""
    processes: int | None = None
    """Workers at most; None for as many as the engine has."""
    words: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What decides the words, for a manifest."""


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """A captioner that waits for a server."""

    name: str
    fingerprint: str
    captioner: "EndpointCaptioner"
    words: dict[str, Any]


Ready = InWorkers | Served


def check_captioners(names: Iterable[str]) -> None:
    """Refuse captioners that do not exist.

    Raises:
        ValueError: naming those there are.
    """
    for name in names:
        if name not in _PREPARE:
            known = ", ".join(_PREPARE)
            raise ValueError(f"captioners: no captioner {name!r}; there are {known}")


def prepare(names: Iterable[str], config: CaptionConfig, measured_by: str) -> list[Ready]:
    """Find what the captioners need.

    Args:
        names: the captioners.
        config: how models are asked.
        measured_by: fingerprint of the derivation whose clips are captioned. `describe` puts its
            measurements into words, so its captions change with it. A model has looked at the span
            itself: what it said is not asked, and paid for, again.

    Raises:
        CaptionError: weights are not to be had.
        ValueError: frames would go to a host that nobody consented to, or its key is missing.
    """
    return [_PREPARE[name](config, measured_by) for name in names]


def _sidecar(_: CaptionConfig, __: str) -> Ready:
    return InWorkers("sidecar", SidecarCaptioner.fingerprint, SidecarCaptioner)


def _describe(_: CaptionConfig, measured_by: str) -> Ready:
    made_by = DescribeCaptioner(measured_by).fingerprint
    return InWorkers("describe", made_by, functools.partial(DescribeCaptioner, measured_by))


def _endpoint(config: CaptionConfig, _: str) -> Ready:
    from curation.captioning.served import EndpointCaptioner

    captioner = EndpointCaptioner(config.endpoint, config.ask)
    words = {"model": config.endpoint.model, "revision": config.endpoint.revision}
    return Served(
        "endpoint", captioner.fingerprint, captioner, words | dataclasses.asdict(config.ask)
    )


def _local(config: CaptionConfig, _: str) -> Ready:
    weights = find_weights(config.local)
    processes = config.local.processes
    return InWorkers(
        "local",
        weights.fingerprint(config.local, config.ask),
        functools.partial(_load, config, weights),
        # The model's own size is its user's affair: only a runaway is stopped.
        Limits(
            timeout_seconds=config.local.batch_seconds,
            memory_bytes=psutil.virtual_memory().total,
            setup_timeout_seconds=3600.0,
            threads=threads_each(processes),
            # With 'auto' the node finds out for itself; a cluster sets aside what is asked by name.
            gpus=float(config.local.device.startswith("cuda")),
        ),
        clips_at_once=config.local.clips_at_once,
        processes=processes,
        words={"model": weights.name, "dtype": config.local.dtype} | dataclasses.asdict(config.ask),
    )


def _load(config: CaptionConfig, weights: Weights) -> Captioner:
    """In a worker: torch is imported here, and nowhere else."""
    from curation.captioning.vlm import LocalCaptioner

    return LocalCaptioner(config.local, config.ask, weights)


_PREPARE: dict[str, Callable[[CaptionConfig, str], Ready]] = {
    "sidecar": _sidecar,
    "endpoint": _endpoint,
    "local": _local,
    "describe": _describe,
}
