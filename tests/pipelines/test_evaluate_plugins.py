"""VBench's six dimensions to a total: networks from files, AMT-S and MUSIQ from a user's own file.

Networks have toy shapes and random weights; everything between them and the printed total is real.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

from evaluation.metrics.config import MetricsConfig
from evaluation.score import DIMENSIONS, total_score
from tests.evaluation.metrics.tiny_networks import write_networks
from tests.pipelines.process_for_evaluation import WORDS, write_generator
from tests.pipelines.test_cli import tempo

ADAPTERS = """
import numpy as np
import torch


class Amt:
    version = "blend 2"

    def __init__(self, weights, device):
        self.share = float(torch.load(weights, map_location=device, weights_only=True)["share"])

    def __call__(self, before, after):
        return np.rint((1 - self.share) * before + self.share * after).astype(np.uint8)


class Musiq:
    version = "tiny 1"

    def __init__(self, weights, device):
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
            torch.nn.Linear(4, 1), torch.nn.Sigmoid(),
        ).to(device)
        self.network.load_state_dict(torch.load(weights, map_location=device, weights_only=True))

    def __call__(self, pictures):
        return 100 * self.network(pictures)[:, 0]
"""
SIDE, FRAMES = 128, 9


@pytest.fixture
def adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's file beside its weights, where Python looks for modules."""
    (tmp_path / "own_adapters.py").write_text(ADAPTERS)
    torch.save({"share": torch.tensor(0.5)}, tmp_path / "amt.pth")
    torch.manual_seed(1)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, 1),
    )  # fmt: skip
    torch.save(network.state_dict(), tmp_path / "musiq.pth")
    monkeypatch.syspath_prepend(tmp_path)  # as PYTHONPATH does; workers search where we do
    return tmp_path


def settings(weights: Path, adapters: Path) -> list[str]:
    weights.mkdir(parents=True)
    config = dataclasses.replace(
        write_networks(weights),
        profile="plain",
        amt="own_adapters:Amt",
        amt_weights=str(adapters / "amt.pth"),
        musiq="own_adapters:Musiq",
        musiq_weights=str(adapters / "musiq.pth"),
        dreamsim="",
    )
    changed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(MetricsConfig(profile="proxy"), field.name)
    }
    given = [f"metrics.{name}={value}" for name, value in changed.items()]
    given += [f"sampler.width={SIDE}", f"sampler.height={SIDE}"]
    return [part for setting in given for part in ("--set", setting)]


def test_a_total_from_plugins_in_a_file_of_the_users(tmp_path: Path, adapters: Path) -> None:
    home, suite = tmp_path / "home", tmp_path / "one.jsonl"
    suite.write_text(json.dumps(WORDS))
    asked = tempo(
        "evaluate", "evaluate_debug_cpu", "--checkpoint", str(write_generator(tmp_path / "g")),
        "--suite", str(suite), "--home", str(home), "--workers", "1", "--json",
        "--frames", str(FRAMES), "--schedules", "f(24)m(1)",
        *settings(home / "weights", adapters),
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    done = json.loads(asked.stdout.splitlines()[-1])
    (row,) = done["table"]
    assert row["total"] == pytest.approx(total_score({name: row[name] for name in DIMENSIONS}))
    judges = json.loads(Path(done["numbers"]).read_text())["origin"]["metrics"]
    page = Path(done["page"]).read_text()
    for metric, setting, version in (
        ("motion_smoothness", "amt", "own_adapters:Amt blend 2"),
        ("imaging_quality", "musiq", "own_adapters:Musiq tiny 1"),
    ):
        sha256 = hashlib.sha256((adapters / f"{setting}.pth").read_bytes()).hexdigest()
        assert judges[metric]["plugins"] == {setting: version}
        assert judges[metric]["weights"][setting]["sha256"] == sha256
        assert version in page
        assert sha256 in page
