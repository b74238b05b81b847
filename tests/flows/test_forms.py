"""What Prefect shows of the flows: forms that explain themselves, pages that say what was found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest
from prefect import Flow
from prefect.utilities.callables import parameter_schema

import flows.curate
import flows.evaluate
import flows.retrain
import flows.train
from flows.curves import bars, training_curve
from pipelines.job import Silence
from pipelines.recipes import curation, evaluation, retraining, training
from pipelines.retrain import Retrained, RetrainError
from pipelines.retrain_decision import TrainingDecision, Verdict
from pipelines.train import Trained

FLOWS = {
    "curate-videos": flows.curate.curate_videos,
    "train-model": flows.train.train_model,
    "evaluate-model": flows.evaluate.evaluate_model,
    "retrain": flows.retrain.retrain_model,
}


@pytest.mark.parametrize("name", FLOWS)
def test_every_parameter_is_explained(name: str) -> None:
    flow: Flow[..., Any] = FLOWS[name]
    assert flow.name == name
    properties = parameter_schema(flow).properties
    assert {"home", "recipe", "set"} <= properties.keys()
    for parameter, schema in properties.items():
        assert schema.get("description"), parameter


@pytest.mark.parametrize(
    ("offered", "known"),
    [
        (flows.curate.Recipe, curation.RECIPES),
        (flows.train.Recipe, training.RECIPES),
        (flows.evaluate.Recipe, evaluation.RECIPES),
        (flows.retrain.Recipe, retraining.RECIPES),
    ],
)
def test_forms_offer_all_recipes(offered: Any, known: dict[str, Any]) -> None:
    assert set(get_args(offered)) == known.keys()


def test_a_training_curve() -> None:
    assert bars([4.0, 3.0, 1.0, 0.5]) == "█▆▂▁"
    assert bars([2.0, 2.0]) == "▁▁"
    trained = Trained(
        training="base-films-3",
        dataset="films@3",
        steps=100,
        began_at=0,
        seconds=60.0,
        loss=0.5,
        val_loss=0.75,
        checkpoint=Path("step-00000100"),
        generator=None,
        folder=Path("runs/base-films-3"),
        samples=None,
        warnings=[],
    )
    page = training_curve(trained, [(step, 2.0 - step / 100) for step in range(100)])
    assert "Step 100 on films@3, validation loss 0.7500." in page
    assert "| 0-8 | 1.9600 |" in page
    assert "| 99-99 | 1.0100 |" in page
    assert 'x-axis "step" 0 --> 99' in page
    (line,) = [line for line in page.splitlines() if line.startswith("    line [")]
    drawn = [float(mean) for mean in line.partition("[")[2].rstrip("]").split(", ")]
    assert drawn == [pytest.approx(2.0 - (step + 0.5) / 100) for step in range(0, 100, 2)]
    assert "e+" not in training_curve(trained, [(1, 3e7)])  # the drawer knows no exponents
    assert "No step had a loss" in training_curve(trained, [])


def test_a_decision() -> None:
    decision = TrainingDecision(True, "2.0 new hours", "films@3", 5.0, 2.0, "base-films-3", "c1")
    numbers = {"total": {"candidate": 81.0, "serving": 80.0, "gain": 1.0}, "new": {"candidate": 3}}
    verdict = Verdict(False, "motion falls by 2.00, where 1 may be lost", numbers)
    page = flows.retrain.decision_page(
        Retrained("base", decision, verdict, "c1", Path("generator")),
        retraining.retrain_production(),
    )
    assert "**Trained**: 2.0 new hours." in page
    assert "**Kept out**: motion falls by 2.00" in page
    assert "| total | 81.00 | 80.00 | 1.00 |" in page
    assert "| new | 3.00 |  |  |" in page


def test_a_refused_decision_is_shown_before_the_run_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the page would go on showing the decision before it."""
    why = "2.0 new hours; but c1 was trained on latents of another codec"
    decision = TrainingDecision(False, why, "films@3", 5.0, 2.0, "base-films-3", "c1", refused=True)
    errors = [
        RetrainError(why, refused=Retrained("base", decision, None, "c1", Path("generator"))),
        RetrainError("evaluation e1 is incomplete"),
    ]
    shown: list[dict[str, str]] = []
    (tmp_path / "catalog.db").touch()  # it is a home
    monkeypatch.setattr(flows.retrain, "FlowProgress", Silence)
    monkeypatch.setattr(
        flows.retrain, "create_markdown_artifact", lambda **artifact: shown.append(artifact)
    )
    for error in errors:
        monkeypatch.setattr(flows.retrain, "retrain", raising(error))
        with pytest.raises(RetrainError) as failed:
            flows.retrain.retrain_model.fn("films", "base", home=str(tmp_path))
        assert failed.value is error
    (artifact,) = shown
    assert artifact["key"] == "retrain-decision"
    assert f"**Refused**: {why}." in artifact["markdown"]
    assert "Serving: `c1`" in artifact["markdown"]


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail
