"""From a configuration to metrics: which networks each needs, whether they are here, and building.

Planning is apart from building: a run plans first (fingerprints, missing weights; no network is
loaded), and each worker builds what was planned. A profile is all or nothing: a metric that cannot
be built stops the run, since a total of fewer dimensions is no total.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.identities import fingerprint_of
from curation.weights import ModelFile
from evaluation.errors import EvaluationError
from evaluation.metrics.config import MetricsConfig
from evaluation.metrics.metric import Metric, is_proxy
from evaluation.metrics.plugins import build_plugin, find_plugin
from evaluation.metrics.provenance import Provenance, WeightsUsed
from evaluation.metrics.versions import VERSIONS
from evaluation.metrics.weights import find_plugin_weights, find_weights, identity, require_weights

if TYPE_CHECKING:
    from torch import nn


@dataclasses.dataclass(frozen=True, slots=True)
class MetricPlan:
    """A metric that can be built, in this process or another."""

    name: str
    fingerprint: str
    config: MetricsConfig
    files: dict[str, ModelFile]
    """By the setting that names it, without the plugins that were given none."""

    def make(self) -> Metric:
        """Load its networks.

        Raises:
            EvaluationError: a file or plugin is not what it should be.
        """
        if is_proxy(self.name):
            from evaluation.metrics.proxy.build import PROXIES

            return PROXIES[self.name](self.fingerprint)
        _check_device(self.config.device)
        return _BUILDERS[self.name](self)

    def provenance(self) -> Provenance:
        """What stands in an evaluation's record."""
        plugins = _plugins(self.name, self.config)
        return Provenance(
            fingerprint=self.fingerprint,
            version=VERSIONS[self.name].version,
            weights={
                setting: WeightsUsed(str(file.path), identity(file))
                for setting, file in self.files.items()
            },
            plugins={s: _plugin_text(s, getattr(self.config, s)) for s in plugins},
        )

    def path(self, setting: str) -> Path:
        """Where a network's weights are."""
        path = self.files[setting].path
        assert path is not None  # `plan_metrics` requires it
        return path


@dataclasses.dataclass(frozen=True, slots=True)
class _Needs:
    networks: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    in_dev: "_Needs | None" = None
    """What the profile `dev` needs beside."""


_NEEDS = {
    "subject_consistency": _Needs(("dino",), in_dev=_Needs(("dinov2",))),
    "background_consistency": _Needs(("clip_b32",), in_dev=_Needs(plugins=("dreamsim",))),
    "motion_smoothness": _Needs(plugins=("amt",)),
    "dynamic_degree": _Needs(("raft",)),
    "aesthetic_quality": _Needs(("clip_l14", "laion_head")),
    "imaging_quality": _Needs(plugins=("musiq",)),
}


def build_metrics(config: MetricsConfig, folder: Path) -> list[Metric]:
    """Find and load everything.

    Raises:
        MissingWeightsError, EvaluationError, ValueError: as `plan_metrics` and `MetricPlan.make`.
    """
    return [plan.make() for plan in plan_metrics(config, folder)]


def plan_metrics(config: MetricsConfig, folder: Path) -> list[MetricPlan]:
    """Find everything that the chosen metrics need; load no network.

    Args:
        config: which metrics.
        folder: where weights are looked for, a home's ``weights``.

    Returns:
        One plan per metric, in VBench's order.

    Raises:
        MissingWeightsError: a file is absent or a plugin is not named; it names all of them.
        EvaluationError: a plugin cannot be imported.
    """
    plugins = {setting for name in config.chosen for setting in _plugins(name, config)}
    unnamed = [setting for setting in sorted(plugins) if not getattr(config, setting)]
    files: dict[str, ModelFile] = {}
    for setting in dict.fromkeys(s for name in config.chosen for s in _networks(name, config)):
        # Nothing is fetched for a run that cannot begin.
        fetch = config.fetch and not unnamed
        files[setting] = find_weights(setting, getattr(config, setting), folder, fetch=fetch)
    for setting in sorted(plugins - set(unnamed)):
        file = find_plugin_weights(setting, getattr(config, f"{setting}_weights"), folder)
        if file is not None:
            files[setting] = file
    require_weights(files.values(), folder, unnamed)
    return [_plan(name, config, files) for name in config.chosen]


def _plan(name: str, config: MetricsConfig, files: dict[str, ModelFile]) -> MetricPlan:
    networks, plugins = _networks(name, config), _plugins(name, config)
    own = {setting: files[setting] for setting in (*networks, *plugins) if setting in files}
    parameters: dict[str, object] = {
        "files": {setting: identity(file) for setting, file in own.items()},
        "models": {
            setting: _model_text(getattr(config, f"{setting}_model"))
            for setting in networks
            if hasattr(config, f"{setting}_model")
        },
        "plugins": {
            setting: _plugin_text(setting, getattr(config, setting)) for setting in plugins
        },
    }
    if not is_proxy(name):
        parameters["device"] = config.device.partition(":")[0]
    if any(setting.startswith(("dino", "clip")) for setting in networks):
        parameters["side"] = config.picture_side
    if any(setting.startswith("clip") for setting in networks):
        parameters["precision"] = config.precision
    fingerprint = fingerprint_of(f"metric:{name}", VERSIONS[name].version, parameters)
    return MetricPlan(name, fingerprint, config, own)


def _networks(name: str, config: MetricsConfig) -> tuple[str, ...]:
    needs = _NEEDS.get(name, _Needs())
    extra = needs.in_dev if config.profile == "dev" else None
    return needs.networks + (extra.networks if extra else ())


def _plugins(name: str, config: MetricsConfig) -> tuple[str, ...]:
    needs = _NEEDS.get(name, _Needs())
    extra = needs.in_dev if config.profile == "dev" else None
    return needs.plugins + (extra.plugins if extra else ())


def _model_text(model: str) -> str:
    """An architecture's name, or what its JSON file says."""
    return Path(model).read_text(encoding="utf-8") if Path(model).is_file() else model


def _plugin_text(setting: str, named: str) -> str:
    return f"{named} {find_plugin(f'metrics.{setting}', named).version}"


def _check_device(device: str) -> None:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EvaluationError(
            f"metrics.device = {device}: torch sees no GPU here; set metrics.device=cpu"
        )


def _subject(plan: MetricPlan) -> Metric:
    from evaluation.metrics.subject_consistency import subject_consistency

    config = plan.config
    return subject_consistency(
        plan.fingerprint,
        _dino(plan, "dino"),
        _dino(plan, "dinov2") if "dinov2" in plan.files else None,
        config.device,
        config.batch,
        config.picture_side,
    )


def _background(plan: MetricPlan) -> Metric:
    from evaluation.metrics.background_consistency import background_consistency
    from evaluation.metrics.embedders import dtype_of

    config = plan.config
    return background_consistency(
        plan.fingerprint,
        _clip(plan, "clip_b32"),
        _plugin(plan, "dreamsim") if config.profile == "dev" else None,
        config.device,
        config.batch,
        dtype_of(config.precision),
        config.picture_side,
    )


def _smoothness(plan: MetricPlan) -> Metric:
    from evaluation.metrics.motion_smoothness import MotionSmoothness

    interpolate = _plugin(plan, "amt")
    return MotionSmoothness(plan.name, plan.fingerprint, interpolate, plan.config.flow_batch)


def _dynamics(plan: MetricPlan) -> Metric:
    from evaluation.metrics.dynamic_degree import DynamicDegree
    from evaluation.metrics.raft import load_raft, raft_flow

    flow = raft_flow(load_raft(plan.path("raft")), plan.config.device)
    return DynamicDegree(plan.name, plan.fingerprint, flow, plan.config.flow_batch)


def _aesthetic(plan: MetricPlan) -> Metric:
    from evaluation.metrics.aesthetic_quality import aesthetic_quality, load_head
    from evaluation.metrics.embedders import dtype_of

    config = plan.config
    return aesthetic_quality(
        plan.fingerprint,
        _clip(plan, "clip_l14"),
        load_head(plan.path("laion_head")),
        config.device,
        config.batch,
        dtype_of(config.precision),
        config.picture_side,
    )


def _imaging(plan: MetricPlan) -> Metric:
    from evaluation.metrics.imaging_quality import imaging_quality

    musiq = _plugin(plan, "musiq")
    return imaging_quality(plan.fingerprint, musiq, plan.config.device, plan.config.batch)


_BUILDERS: dict[str, Callable[[MetricPlan], Metric]] = {
    "subject_consistency": _subject,
    "background_consistency": _background,
    "motion_smoothness": _smoothness,
    "dynamic_degree": _dynamics,
    "aesthetic_quality": _aesthetic,
    "imaging_quality": _imaging,
}


def _dino(plan: MetricPlan, setting: str) -> "nn.Module":
    from evaluation.metrics.embedders import load_dino

    model = _model_text(getattr(plan.config, f"{setting}_model"))
    if not model.lstrip().startswith("{"):
        return load_dino(model, {}, plan.path(setting))
    try:
        return load_dino("vision_transformer", json.loads(model), plan.path(setting))
    except json.JSONDecodeError as error:
        raise EvaluationError(f"metrics.{setting}_model is no JSON: {error}") from error


def _clip(plan: MetricPlan, setting: str) -> "nn.Module":
    from evaluation.metrics.embedders import load_clip

    config = plan.config
    model = getattr(config, f"{setting}_model")
    return load_clip(model, plan.path(setting), config.device, config.precision)


def _plugin(plan: MetricPlan, setting: str) -> Callable[..., Any]:
    file = plan.files.get(setting)
    return build_plugin(
        f"metrics.{setting}",
        getattr(plan.config, setting),
        file.path if file else None,
        plan.config.device,
    )
