"""A dry run of training: the dataset first, then what it would need and be shown."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from curation.catalog.store import Catalog
from curation.errors import DatasetError
from curation.records import SideShardsRow, now
from pipelines.recipes.training import RECIPES, training_recipe
from pipelines.settings import Home, with_overrides
from pipelines.train_dry_run import dry_run
from tests.training.tiny_dataset import TinyDataset
from training.budget import Machine, budget
from training.data import TrainingData
from training.errors import CheckpointError
from training.versions import published_version


def test_what_would_be_needed_and_shown(tiny: TinyDataset) -> None:
    config = training_recipe("train_debug_cpu")
    planned = dry_run(config, "tiny", Home(tiny.home), Machine())
    assert planned.dataset == "tiny@1"
    assert planned.budget == budget(config, Machine())
    assert planned.shown is not None
    assert planned.shown.samples == len(tiny.of_split("train"))
    with TrainingData.open(tiny.manifest, config.data) as data:
        last = data.plan.step(int(planned.shown.epoch_steps))[-1]
    assert last.epoch in (0, 1), "an epoch ends within that step"
    assert planned.shown.epochs * planned.shown.epoch_steps == pytest.approx(config.steps)
    lines = "\n".join(planned.lines())
    assert "tiny@1" in lines and "steps an epoch" in lines and "memory of each GPU" in lines


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_end_after_what_they_do_now_and_then(name: str) -> None:
    config = training_recipe(name)
    every = config.validation.every
    assert config.checkpoint.every <= config.steps
    assert every is None or every <= config.steps
    assert config.optimiser.warmup < config.steps


def test_a_dataset_that_cannot_be_shown_is_a_warning(tiny: TinyDataset) -> None:
    """The figures of a large recipe are worth knowing before its films are there."""
    config = training_recipe("train_stage2_a14b")
    planned = dry_run(config, "tiny@1", Home(tiny.home), Machine(ranks=32))
    assert planned.shown is None and not planned.budget.fits and planned.remedy
    assert any("tiny@1 cannot be trained from as it is" in said for said in planned.warnings)
    assert any("--from CHECKPOINT" in said for said in planned.warnings)


def test_a_mistyped_name_comes_before_all_else(tiny: TinyDataset) -> None:
    home, config = Home(tiny.home), training_recipe("train_stage1_a14b")
    with pytest.raises(DatasetError, match="tinny"):
        dry_run(config, "tinny", home, Machine(ranks=64))
    with pytest.raises(ValueError, match="ranks = 64"):
        dry_run(config, "tiny", home, Machine(ranks=64))
    from_nowhere = ["network.init.kind=checkpoint", "network.init.source=nowhere"]
    with pytest.raises(CheckpointError, match="no checkpoint 'nowhere'"):
        dry_run(with_overrides(config, from_nowhere), "tiny", home, Machine(ranks=32))


def test_the_text_encoder_counts_where_nothing_is_precomputed(
    tiny: TinyDataset, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(tiny.home, home.root)
    a14b = training_recipe("train_stage1_a14b")
    with Catalog.open(home.catalog()) as catalog:
        version = published_version(catalog, "tiny")
        row = SideShardsRow(
            side_id="0" * 32, kind="text", dataset="tiny", version=1,
            manifest_sha256=version.sha256, fingerprint="umt5:0a",
            settings=f'{{"length":{a14b.text.length},"width":4096}}', uri="side.json",
            sha256="0" * 64, shards=1, members=1, bytes=1, damaged=0, recipe="train_stage1_a14b",
            code_version="0", run_id="0", recorded_at=now(),
        )  # fmt: skip
        catalog.append("side_shards", [row])

    def assumed(*settings: str) -> tuple[str, bool]:
        planned = dry_run(with_overrides(a14b, list(settings)), "tiny", home, Machine(ranks=32))
        assert any(line.split() == ["text", "embeddings", *planned.text.split()]
                   for line in planned.lines())  # fmt: skip
        return planned.text, "text encoder" in planned.budget.gpu

    assert assumed() == ("precomputed (assumed)", False)
    assert assumed("precomputed.text=require") == ("precomputed (required)", False)
    assert assumed("precomputed.text=never") == ("encoded on the fly", True)
    assert assumed("text.length=300") == ("encoded on the fly", True)


def test_as_json(tiny: TinyDataset) -> None:
    planned = dry_run(training_recipe("train_debug_cpu"), "tiny", Home(tiny.home), Machine())
    document = planned.document()
    assert document["dataset"] == "tiny@1" and document["fits"] is True
    assert planned.shown is not None
    assert document["shown"] == dataclasses.asdict(planned.shown)
    assert isinstance(document["gpu"], dict)
