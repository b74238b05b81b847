"""All six dimensions from files and plugins, end to end, and what is said when something lacks."""

import dataclasses
import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from evaluation.errors import EvaluationError, MissingWeightsError
from evaluation.metrics import pictures
from evaluation.metrics.build import build_metrics, plan_metrics
from evaluation.metrics.clips import Footage
from evaluation.metrics.config import MetricsConfig
from evaluation.metrics.metric import Metric, MetricResult, score_together
from evaluation.score import DIMENSIONS, total_score
from tests.evaluation.metrics.tiny_networks import NAMED, SIDE, write_networks
from tests.evaluation.metrics.videos import U8, clip_spans, drifting, judged, pan, shuffled, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def config(folder: Path) -> MetricsConfig:
    return write_networks(folder)


@pytest.fixture(scope="module")
def metrics(config: MetricsConfig, folder: Path) -> dict[str, Metric]:
    return {metric.name: metric for metric in build_metrics(config, folder)}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # At 2 fps a clip is 4 frames, so that RAFT has few pairs to look at.
    frames = drifting(5, 128, 136)
    return write(tmp_path_factory.mktemp("video") / "drift.mp4", frames, fps=2)


@pytest.fixture(scope="module")
def found(metrics: dict[str, Metric], video: Path) -> dict[str, MetricResult]:
    return score_together(video, list(metrics.values()))


@pytest.fixture(scope="module")
def read(video: Path) -> U8:
    return np.stack(list(Footage(video).frames()))


def test_a_profile_gives_the_six_dimensions_and_a_total(found: dict[str, MetricResult]) -> None:
    assert list(found) == list(DIMENSIONS)
    total = total_score({name: 100 * result.value for name, result in found.items()})
    assert np.isfinite(total)
    assert all(len(result.series) == 2 for result in found.values())


def test_background_and_aesthetic_are_open_clips_own_numbers(
    found: dict[str, MetricResult], folder: Path, read: U8
) -> None:
    def tower(name: str) -> torch.nn.Module:
        open_clip.add_model_config(folder / f"{name}.json")
        return open_clip.create_model(name, pretrained=str(folder / f"{name}.safetensors"))

    shown = pictures.for_clip(pictures.tensor_of(read, torch.device("cpu")), SIDE)
    head = torch.nn.Linear(24, 1)
    head.load_state_dict(torch.load(folder / "head.pth"))
    with torch.no_grad():
        small = tower("clip_b32").eval().encode_image(shown)
        large = normalize(tower("clip_l14").eval().encode_image(shown), dim=-1)
        marks = head(large)[:, 0] / 10
    spans = clip_spans(5, 4)
    aesthetic = [float(marks[a:b].mean()) for a, b in spans]
    assert found["aesthetic_quality"].series == pytest.approx(aesthetic, abs=1e-5)
    within = []
    for a, b in spans:
        clip = small[a:b]
        pairs = [
            (cosine_similarity(x, y, dim=0) + cosine_similarity(clip[0], y, dim=0)) / 2
            for x, y in pairwise(clip)
        ]
        within.append(float(torch.stack(pairs).mean()))
    background = found["background_consistency"]
    assert background.series == pytest.approx(within, abs=1e-5)
    mixed = 0.8 * np.mean(within) + 0.2 * background.details["clip_to_clip_mapped"]
    assert background.value == pytest.approx(mixed, abs=1e-5)


def test_imaging_is_the_plugins_mark_over_a_hundred(
    found: dict[str, MetricResult], read: U8
) -> None:
    marks = [read[a:b].mean() / 255 for a, b in clip_spans(5, 4)]
    assert found["imaging_quality"].series == pytest.approx(marks, abs=1e-5)


def test_the_long_range_branch_is_in_dev_alone(config: MetricsConfig, folder: Path) -> None:
    chosen = ("subject_consistency", "background_consistency")
    frames = drifting(120)
    plain, dev = (
        {
            metric.name: judged(metric, frames)
            for metric in build_metrics(
                dataclasses.replace(config, profile=profile, dimensions=chosen), folder
            )
        }
        for profile in ("plain", "dev")
    )
    for name, weight in (("subject_consistency", 0.3), ("background_consistency", 0.2)):
        assert plain[name].value == plain[name].details["within_clips"]
        mapped = dev[name].details["clip_to_clip_mapped"]
        assert dev[name].value == pytest.approx((1 - weight) * plain[name].value + weight * mapped)
        assert dev[name].details["clip_to_clip"] != plain[name].details["clip_to_clip"]


def test_laws(metrics: dict[str, Metric]) -> None:
    moving, drift = pan(96, 1.0), drifting(144)
    constant = np.repeat(drift[:1], 96, axis=0)
    for name in ("subject_consistency", "background_consistency", "motion_smoothness"):
        assert judged(metrics[name], constant).value == pytest.approx(1.0, abs=1e-6)
    smoothness = metrics["motion_smoothness"]
    assert judged(smoothness, shuffled(moving)).value < judged(smoothness, moving).value
    for name in ("subject_consistency", "background_consistency"):
        still, drifted = (judged(metrics[name], frames) for frames in (constant, drift))
        assert drifted.details["clip_to_clip"] < still.details["clip_to_clip"]
        curve = drifted.curves["to_first_clip"]
        assert curve[-1] < curve[0] == pytest.approx(1.0)
        assert drifted.value < still.value


def test_everything_that_lacks_is_named_at_once_with_its_place_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError) as error:
        plan_metrics(MetricsConfig(profile="dev", fetch=True), tmp_path)  # and nothing is fetched
    for word in (
        "DINO ViT-B/16", "vit_base_patch16_224.dino.safetensors", "timm/vit_base_patch16_224.dino",
        "RAFT", "raft_large_C_T_V1-22a6c225.pth", "CLIP ViT-L/14", "sa_0_4_vit_l_14_linear.pth",
        "DINOv2 ViT-B/14", "CLIP ViT-B/32", "AMT-S", "MUSIQ-SPAQ", str(tmp_path), "metrics.raft",
        "metrics.SETTING=FILE", "metrics.fetch=true", "metrics.dreamsim", "package.module:Class",
        "metrics.profile=proxy",
    ):  # fmt: skip
        assert word in str(error.value)
    assert not any(tmp_path.iterdir())
    with pytest.raises(MissingWeightsError, match="elsewhere"):
        plan_metrics(MetricsConfig(dimensions=("dynamic_degree",), raft="elsewhere"), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bf16"},
        {"device": "cuda"},
        {"musiq": f"{NAMED}:Average"},
        {"musiq_weights": "head.pth"},
        {"profile": "plain"},
        {"batch": 1, "flow_batch": 1},
        {"picture_side": 56},
    ],
)
def test_fingerprints_follow_what_moves_a_number(
    config: MetricsConfig, folder: Path, change: dict[str, object]
) -> None:
    before, after = (
        {plan.name: plan.fingerprint for plan in plan_metrics(settings, folder)}
        for settings in (config, dataclasses.replace(config, **change))
    )
    moved = {name for name in before if before[name] != after[name]}
    expected = {
        "precision": {"background_consistency", "aesthetic_quality"},
        "device": set(DIMENSIONS),
        "musiq": {"imaging_quality"},
        "musiq_weights": {"imaging_quality"},
        "profile": {"subject_consistency", "background_consistency"},
        "batch": set(),
        "picture_side": {"subject_consistency", "background_consistency", "aesthetic_quality"},
    }
    assert moved == expected[next(iter(change))]


def test_fingerprints_follow_bytes_not_places(config: MetricsConfig, folder: Path) -> None:
    settings = dataclasses.replace(config, dimensions=("aesthetic_quality",))
    (before,) = plan_metrics(settings, folder)
    copy = folder / "copy.pth"
    copy.write_bytes((folder / "head.pth").read_bytes())
    moved = dataclasses.replace(settings, laion_head=str(copy))
    assert plan_metrics(moved, folder)[0].fingerprint == before.fingerprint
    torch.save(torch.nn.Linear(24, 1).state_dict(), copy)
    assert plan_metrics(moved, folder)[0].fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("no.such.module:Class", "cannot be imported"),
        (f"{NAMED}:Missing", "cannot be imported"),
        (f"{NAMED}:Unversioned", "version"),
        (f"{NAMED}:SIDE", "no plugin"),
    ],
)
def test_plugins_that_are_none(named: str, words: str, tmp_path: Path) -> None:
    settings = MetricsConfig(dimensions=("imaging_quality",), musiq=named)
    with pytest.raises(EvaluationError, match=words):
        plan_metrics(settings, tmp_path)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("profile", "fast", "plain, dev or proxy"),
        ("precision", "int8", "fp32"),
        ("batch", 0, "at least 1"),
        ("device", "gpu", "cuda:N"),
        ("dimensions", ("sharpness",), "each once"),
        ("dimensions", ("dynamic_degree",) * 2, "each once"),
        ("amt", "import os; os.abort()", "package.module:Class"),
        ("musiq", "module", "package.module:Class"),
    ],
)
def test_settings_say_what_is_wrong(setting: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MetricsConfig(**{setting: value})


def test_weights_of_another_shape_are_refused_by_name(config: MetricsConfig, folder: Path) -> None:
    for setting, dimension in (
        ("dino", "subject_consistency"),
        ("clip_b32", "background_consistency"),
        ("raft", "dynamic_degree"),
        ("laion_head", "aesthetic_quality"),
    ):
        file = "dinov2.pth" if setting != "dinov2" else "dino.pth"
        settings = dataclasses.replace(config, dimensions=(dimension,), **{setting: file})
        with pytest.raises(EvaluationError, match=file):
            build_metrics(settings, folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named(config: MetricsConfig, folder: Path) -> None:
    settings = dataclasses.replace(config, device="cuda", dimensions=("aesthetic_quality",))
    with pytest.raises(EvaluationError, match=r"metrics\.device=cpu"):
        build_metrics(settings, folder)


def test_weights_and_plugins_are_on_record(config: MetricsConfig, folder: Path) -> None:
    records = {plan.name: plan.provenance() for plan in plan_metrics(config, folder)}
    head = records["aesthetic_quality"].weights["laion_head"]
    assert head.sha256 == hashlib.sha256((folder / "head.pth").read_bytes()).hexdigest()
    assert Path(head.path) == folder / "head.pth"
    assert records["motion_smoothness"].plugins == {"amt": f"{NAMED}:Average 1"}


def test_plans_survive_the_way_to_a_worker(config: MetricsConfig, folder: Path) -> None:
    import pickle

    plans = plan_metrics(config, folder)
    assert pickle.loads(pickle.dumps(plans)) == plans  # noqa: S301 - what a process pool does
    assert json.loads(json.dumps([plan.fingerprint for plan in plans]))
