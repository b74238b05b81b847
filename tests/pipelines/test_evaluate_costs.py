"""What docs/evaluation.md says that the paper's tables cost is what the code counts."""

import dataclasses
import re

import pytest

from model.flops import PETA, TEXT_TOKENS
from model.presets import a14b
from pipelines.evaluate_cells import petaflops
from pipelines.recipes.evaluation import LONG, RECIPES, SHORT, evaluate_table3
from tests.conftest import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "evaluation.md").read_text(encoding="utf-8")
PROMPTS = 355


def row_of(name: str) -> list[float]:
    """Numbers of the row of a table that begins with a name."""
    (cells,) = re.findall(rf"^\| {re.escape(name)}[^|]* \|(.*)\|$", DOCUMENT, re.MULTILINE)
    return [float(re.sub(r"[^\d.]", "", cell)) for cell in cells.split("|")]


@pytest.mark.parametrize("schedule", evaluate_table3().schedules)
def test_a_video_by_each_schedule(schedule: str) -> None:
    sampler = evaluate_table3().sampler
    single = dataclasses.replace(sampler, guidance=(1.0,))
    counted = {
        (variant.frames, number): petaflops(variant, how, a14b(), TEXT_TOKENS)
        for number, how in enumerate((sampler, single))
        for variant in evaluate_table3().variants
        if variant.schedule == schedule
    }
    long, long_single, _, short, short_single, _ = row_of(schedule)
    written = {(LONG, 0): long, (LONG, 1): long_single, (SHORT, 0): short, (SHORT, 1): short_single}
    assert written == {case: pytest.approx(cost, abs=0.051) for case, cost in counted.items()}


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "evaluate_debug_cpu"])
def test_the_whole_suite_by_each_recipe(recipe: str) -> None:
    config = RECIPES[recipe]()
    each = sum(petaflops(v, config.sampler, a14b(), TEXT_TOKENS) for v in config.variants)
    whole = each * PROMPTS * len(config.seeds)
    hours = whole * PETA / (0.4 * 989e12) / 3600
    written = row_of(f"`{recipe}`")
    assert written == [
        pytest.approx(each, abs=0.51), pytest.approx(whole / 1e6, abs=0.0051),
        pytest.approx(hours, abs=0.51),
    ]  # fmt: skip
