"""A dry run of training: the dataset first, then what it would need and be shown."""

import dataclasses

import pytest

from curation.errors import DatasetError
from pipelines.recipes.training import training_recipe
from pipelines.settings import Home, with_overrides
from pipelines.train_dry_run import dry_run
from tests.training.tiny_dataset import TinyDataset
from training.budget import Machine, budget
from training.data import TrainingData
from training.errors import CheckpointError


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


def test_as_json(tiny: TinyDataset) -> None:
    planned = dry_run(training_recipe("train_debug_cpu"), "tiny", Home(tiny.home), Machine())
    document = planned.document()
    assert document["dataset"] == "tiny@1" and document["fits"] is True
    assert planned.shown is not None
    assert document["shown"] == dataclasses.asdict(planned.shown)
    assert isinstance(document["gpu"], dict)
