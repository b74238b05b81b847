"""Overriding single fields of a recipe."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.identities import canonical_json
from pipelines.curate import CurateConfig
from pipelines.recipes.curation import RECIPES, curate_offline
from pipelines.recipes.evaluation import evaluate_steps
from pipelines.recipes.training import training_recipe
from pipelines.settings import home_at, typed_config, with_overrides


def test_fields_are_replaced_at_any_depth_and_the_recipe_stays() -> None:
    recipe = curate_offline()
    config = with_overrides(
        recipe,
        [
            "select.motion.min=0.25",
            "select.clarity.max=none",
            "pack.encode.crf=20",
            "captioners=describe",
            "select.licences=CC0-1.0,CC-BY-4.0",
        ],
    )
    assert config.select.motion.min == 0.25
    assert config.select.motion.max == recipe.select.motion.max
    assert config.select.clarity.max is None
    assert config.pack.encode.crf == 20
    assert config.captioners == ("describe",)
    assert config.select.licences == ("CC0-1.0", "CC-BY-4.0")
    assert recipe == curate_offline()


def test_one_of_several_numbers_or_words_is_named_as_it_is_written() -> None:
    config = with_overrides(training_recipe("train_debug_cpu"), ["engine.zero=3"])
    assert config.engine.zero == 3
    config = with_overrides(config, ["engine.offload=optimiser"])
    assert config.engine.offload == "optimiser"
    for wrong in ("engine.zero=4", "engine.offload=disk"):
        with pytest.raises(ValueError, match="not a value of type"):
            with_overrides(config, [wrong])


@pytest.mark.parametrize("order", [1, -1])
def test_two_settings_that_are_valid_only_together(order: int) -> None:
    above = with_overrides(
        curate_offline(), ["select.motion.min=2", "select.motion.max=3"][::order]
    )
    assert (above.select.motion.min, above.select.motion.max) == (2, 3)


def test_a_list_keeps_its_empty_words_and_a_row_of_words_has_none() -> None:
    """ "" stands for a schedule's own steps: the row that others are compared with."""
    listed = with_overrides(evaluate_steps(), ['steps=["","8,4,4"]'])
    assert listed.steps == ("", "8,4,4")
    assert with_overrides(evaluate_steps(), ["seeds=1,2,"]).seeds == (1, 2)


def test_of_two_values_for_one_setting_the_last_counts() -> None:
    config = with_overrides(curate_offline(), ["pack.encode.crf=20", "pack.encode.crf=21"])
    assert config.pack.encode.crf == 21


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("select.motion.min", "PATH=VALUE"),
        ("select.motoin.min=1", "there are seconds"),
        ("select.motion=1", r"select\.motion\.min"),
        ("select.motion.min.deep=1", "no fields of its own"),
        ("select.motion.min=fast", "not a value of type"),
        ("select.motion.min=nan", "finite"),
        ("select.motion.min=9", "empty"),
        ("pack.encode.crf=99", "crf"),
        ("captioners=nobody", "there are sidecar"),
    ],
)
def test_mistakes_are_named_with_their_remedy(assignment: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        with_overrides(curate_offline(), [assignment])


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_recorded_config_reads_back_equal(recipe: object) -> None:
    import json

    assert callable(recipe)
    config = recipe()
    assert typed_config(CurateConfig, json.loads(canonical_json(config))) == config


@given(st.floats(allow_nan=False, allow_infinity=False, max_value=1.4))
def test_any_number_that_is_set_is_the_number_that_is_used(value: float) -> None:
    config = with_overrides(curate_offline(), [f"select.motion.min={value!r}"])
    assert config.select.motion.min == value


def test_a_home_in_an_object_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="TEMPO_WAREHOUSE"):
        home_at(Path("s3://bucket/home"))
    monkeypatch.setenv("TEMPO_HOME", "s3://bucket/home")
    with pytest.raises(ValueError, match="TEMPO_WAREHOUSE"):
        home_at(None)
    assert home_at(Path("s3/home")).root == Path("s3/home").absolute()
