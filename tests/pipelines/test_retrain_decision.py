"""When it is trained again, and what may take over."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.records import CheckpointRow, DatasetRow, EvaluationRow, PromotionRow
from model.generator_folder import CodecSpec
from pipelines.retrain_decision import Known, PromotionRule, decide_promotion, decide_training
from tests.curation.rows_for_catalog import plain


def dataset(version: int) -> DatasetRow:
    found: DatasetRow = plain(DatasetRow, name="films", version=version)
    return found


CODEC = CodecSpec("dct")
RECORDED = {"codec": {"kind": "dct"}}


def checkpoint(
    version: int, hours: float, name: str = "films", config: dict[str, Any] = RECORDED
) -> CheckpointRow:
    found: CheckpointRow = plain(
        CheckpointRow,
        checkpoint_id=f"c{version}",
        dataset=name,
        version=version,
        dataset_seconds=hours * 3600,
        training=f"base-{version}",
        config=json.dumps(config),
    )
    return found


def decision(known: Known, min_new_hours: float = 1.0) -> tuple[bool, str]:
    found = decide_training(known, "base", "films", min_new_hours, CODEC)
    return found.train, found.reason


def test_nothing_to_train_on() -> None:
    train, reason = decision(Known(None, 0.0, None, None))
    assert not train
    assert "curate it first" in reason


def test_the_first_is_trained_from_the_recipe() -> None:
    found = decide_training(Known(dataset(1), 0.2, None, None), "base", "films", 1.0, CODEC)
    assert (found.train, found.training, found.start_from) == (True, "base-films-1", None)


def test_enough_new_hours_and_too_few() -> None:
    serving = checkpoint(2, 4.0)
    enough = decide_training(Known(dataset(3), 5.0, serving, None), "base", "films", 1.0, CODEC)
    assert (enough.train, enough.start_from, enough.new_hours) == (True, "c2", 1.0)
    assert decision(Known(dataset(3), 4.9, serving, None)) == (
        False,
        "0.900 new hours since films@2, where 1 are asked for",
    )
    # A version that lost films has no new hours, however many it has.
    assert not decision(Known(dataset(3), 3.0, serving, None))[0]


def test_the_newest_is_not_trained_on_twice() -> None:
    assert not decision(Known(dataset(2), 4.0, checkpoint(2, 4.0), None), 0.0)[0]
    judged: PromotionRow = plain(PromotionRow, decision="kept", reason="total changes by -1.00")
    train, reason = decision(Known(dataset(3), 9.0, checkpoint(2, 4.0), judged))
    assert not train
    assert "films@3 was judged already and kept: total changes by -1.00" in reason


def test_another_dataset_is_new_altogether() -> None:
    assert decision(Known(dataset(1), 2.0, checkpoint(7, 100.0, "older"), None))[0]


def refusal(codec: CodecSpec, recorded: dict[str, Any], hours: float = 5.0) -> str | None:
    known = Known(dataset(3), hours, checkpoint(2, 4.0, config=recorded), None)
    found = decide_training(known, "base", "films", 1.0, codec)
    assert not (found.refused and found.train)
    return found.reason if found.refused else None


def test_weights_of_another_codec_are_refused_with_the_remedy() -> None:
    pixels = CodecSpec("dct", scale="pixels")
    assert refusal(pixels, RECORDED) == (
        "1.000 new hours since films@2, where 1 are asked for; but the serving checkpoint base-2 "
        "was trained on latents of another codec (dct, scale channels, here dct, scale pixels): "
        "keep its codec (--set train.codec.scale=channels), or retrain another --model, which "
        "begins with the recipe's weights"
    )
    assert refusal(CODEC, RECORDED) is None
    assert refusal(pixels, RECORDED, hours=4.5) is None, "nothing is due, so nothing is refused"
    other_kind = refusal(CodecSpec("wan", source="here"), RECORDED)
    assert other_kind is not None
    assert other_kind.endswith("here wan): retrain another --model, which begins with the recipe's "
                               "weights")  # fmt: skip
    moved = {"codec": {"kind": "wan", "source": "there"}}
    assert refusal(CodecSpec("wan", source="here"), moved) is None
    unsaid = refusal(CODEC, {})
    assert unsaid is not None
    assert "base-2 does not say its codec: KeyError('codec'); retrain another --model" in unsaid


def evaluation(total: float | None = None, suite: str = "s", **metrics: float) -> EvaluationRow:
    said = {
        name: {"mean": mean, "low": mean - 1, "high": mean + 1} for name, mean in metrics.items()
    }
    found: EvaluationRow = plain(
        EvaluationRow,
        schedule="f(6,24)m(1,4)",
        frames=97,
        suite_sha256=suite,
        profile="dev",
        total=total,
        metrics=json.dumps(said),
    )
    return found


def test_the_first_serves_unless_it_is_below_the_floor() -> None:
    rule = PromotionRule("total", floor=80.0)
    assert decide_promotion([evaluation(81.0, motion=97.0)], None, rule).promote
    refused = decide_promotion([evaluation(79.0, motion=97.0)], None, rule)
    assert (refused.promote, refused.reason) == (
        False,
        "total is 79.00, and nothing below 80 may serve",
    )


def test_a_gain_promotes_and_a_loss_elsewhere_forbids() -> None:
    rule = PromotionRule("total", min_gain=0.5, max_loss=1.0)
    before = [evaluation(80.0, motion=97.0, quality=60.0)]
    assert decide_promotion([evaluation(80.5, motion=96.0, quality=62.0)], before, rule).promote
    small = decide_promotion([evaluation(80.4, motion=98.0, quality=62.0)], before, rule)
    assert (small.promote, small.reason) == (
        False,
        "total changes by +0.40, where +0.5 is asked for",
    )
    bought = decide_promotion([evaluation(82.0, motion=95.9, quality=70.0)], before, rule)
    assert (bought.promote, bought.reason) == (
        False,
        "motion falls by 1.10, where 1 may be lost",
    )
    assert bought.numbers["quality"] == {"candidate": 70.0, "serving": 60.0, "gain": 10.0}


def test_means_are_over_all_rows() -> None:
    rule = PromotionRule("motion", max_loss=100.0)
    two = [evaluation(motion=90.0), dataclasses.replace(evaluation(motion=96.0), frames=121)]
    verdict = decide_promotion(two, None, rule)
    assert verdict.numbers == {"motion": {"candidate": 93.0}}


def test_what_cannot_be_compared_is_refused() -> None:
    rule = PromotionRule("motion")
    with pytest.raises(ValueError, match="another suite"):
        decide_promotion([evaluation(motion=9.0)], [evaluation(suite="t", motion=1.0)], rule)
    with pytest.raises(ValueError, match="the evaluation has motion"):
        decide_promotion([evaluation(motion=9.0)], None, PromotionRule("total"))


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 10), st.floats(0, 10))
def test_promotion_never_pays_more_than_the_rule(
    mine: float, theirs: float, gain: float, loss: float
) -> None:
    rule = PromotionRule("a", min_gain=gain, max_loss=loss)
    verdict = decide_promotion([evaluation(a=50.0, b=mine)], [evaluation(a=50.0, b=theirs)], rule)
    assert verdict.promote == (gain == 0 and theirs - mine <= loss)
