"""Pictures and prices of plans, and the command that prints them."""

import json
import xml.dom.minidom
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from model import flops
from model.presets import a14b, debug
from model.schedule import Schedule
from model.text import ByteEncoder
from model.tree import plan_tree
from model.tree_cost import plan_cost
from model.tree_picture import svg_picture, text_picture
from pipelines.commands.plan import plan_command

THREE = Schedule.parse("f(6,12,24)m(1,2,4)")


# -- pictures ---------------------------------------------------------------------------------


def test_text_draws_each_level_to_scale() -> None:
    six, twelve, top, axis = text_picture(plan_tree(THREE, 481), 88)
    assert [line[:7] for line in (six, twelve, top)] == [" 6 fps ", "12 fps ", "24 fps "]
    assert [k for k, c in enumerate(twelve) if c in "├┼┤"] == [7, 47, 87]
    assert [k for k, c in enumerate(top) if c in "├┼┤"] == [7, 27, 47, 67, 87]
    assert "─ 1.1 ─" in twelve
    assert axis.split() == ["0", "120", "240", "360", "480"]


def test_text_marks_what_the_user_gave() -> None:
    prefix, last = text_picture(plan_tree(THREE, 601, prefix=121), 80)[1:3]
    assert prefix.strip() == "=" * len(prefix.strip())
    assert len(prefix.strip()) > 10
    assert last.index("├") == prefix.rindex("=")
    ends = text_picture(plan_tree(THREE, 481, given=[0, 480]), 80)[1]
    assert ends.count("^") == 2


@given(
    st.sampled_from(["f(6,12,24)m(1,2,4)", "f(6,24)m(1,9)", "f(24)m(1)", "f(6,12,24)m(1,3,7)"]),
    st.integers(1, 900),
    st.integers(20, 160),
)
@settings(max_examples=40, deadline=None)
def test_pictures_hold_any_plan(notation: str, frames: int, width: int) -> None:
    plan = plan_tree(Schedule.parse(notation), frames, given=[0, frames - 1])
    assert all(len(line) <= width for line in text_picture(plan, width))
    page = xml.dom.minidom.parseString(svg_picture(plan))  # noqa: S318  # our own text
    assert page.documentElement is not None
    assert page.documentElement.tagName == "svg"


def test_svg_draws_every_window_its_frames_and_its_anchors() -> None:
    plan = plan_tree(THREE, 481)
    page = xml.dom.minidom.parseString(svg_picture(plan))  # noqa: S318  # our own text
    words = [text.firstChild.data for text in page.getElementsByTagName("text")]
    assert {node.id for node in plan.nodes} <= set(words)
    ticks = len(page.getElementsByTagName("line"))
    assert ticks == sum(len(n.frames) + len(n.anchors) for n in plan.nodes)
    assert len(page.getElementsByTagName("path")) == 6  # each node but the root has one parent


# -- prices -----------------------------------------------------------------------------------


def test_the_default_costs_what_table_3_says() -> None:
    cost = plan_cost(plan_tree(THREE, 481), a14b(), 480, 832)
    published = 774.23  # the paper counts the text twice, which is 0.07 % here
    assert cost.operations / 1e15 == pytest.approx(published, rel=1e-3)
    assert [level.tokens for level in cost.levels] == [31 * 1560] * 3


def test_costs_are_sums_over_windows_and_steps() -> None:
    cost = plan_cost(plan_tree(Schedule.parse("f(6,24)m(1,7)"), 481), debug(), 64, 96, 64)
    root, *leaves = (flops.exact(debug(), latents, 64, 96, 64) for latents in (31, 18, 19))
    # 120 units in 7 parts: six of 17 and one of 18, each a latent more
    assert cost.operations == 50 * root + 30 * (6 * leaves[0] + leaves[1])
    assert cost.critical == 50 * root + 30 * leaves[1]
    assert cost.monolithic == 50 * flops.exact(debug(), 121, 64, 96, 64)


def test_pairs_come_from_the_tree_and_the_papers_equations_beside_them() -> None:
    cost = plan_cost(plan_tree(THREE, 481), debug(), 64, 64)
    assert cost.pairs == 7 * 121**2
    assert cost.parallel_pairs == 3 * 121**2
    # Eq. 5 with N=481, K=3, W=2: N²/64 (1 + 2 + 4); Eq. 6: N²/64 (1 + 1 + 1)
    assert cost.equation_5 == pytest.approx(481**2 / 64 * 7)
    assert cost.equation_6 == pytest.approx(481**2 / 64 * 3)


@pytest.mark.parametrize(
    "notation", ["f(6,24)m(1,4)", "f(6,12,24)m(1,2,6)", "f(24)m(1)", "f(6,12)m(1,2)"]
)
def test_the_papers_equations_are_left_out_where_they_do_not_apply(notation: str) -> None:
    cost = plan_cost(plan_tree(Schedule.parse(notation), 481), debug(), 64, 64)
    assert cost.equation_5 is None
    assert cost.equation_6 is None


# -- the command ------------------------------------------------------------------------------


@pytest.fixture
def tempo() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(plan_command)
    return app


def test_plan_prints_a_picture_and_what_to_know(tempo: typer.Typer, tmp_path: Path) -> None:
    page = tmp_path / "plan.svg"
    arguments = ["f(6,24)m(1,2)", "--frames", "500", "--given", "499", "--svg", str(page)]
    result = CliRunner().invoke(tempo, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "24 fps ├" in result.stdout
    assert "planned as 513 frames, cut to 500" in result.stdout
    assert "given frame 499 stands at 500 at 6 fps" in result.stdout
    assert "warning:" in result.stdout
    assert str(page) in result.stdout
    assert page.read_text().startswith("<svg")


def test_plan_as_json_is_one_object(tempo: typer.Typer) -> None:
    arguments = ["f(6,12,24)m(1,2,4)", "--network", "debug", "--size", "64x64", "--json"]
    result = CliRunner().invoke(tempo, arguments, catch_exceptions=False)
    document = json.loads(result.stdout)
    assert document["plan"]["end"] == 480
    assert len(document["plan"]["nodes"]) == 7
    assert document["cost"]["pairs"] == 7 * 121**2
    assert document["size"] == [64, 64]
    expected = 120 * flops.exact(debug(), 31, 64, 64, ByteEncoder().length)
    assert document["cost"]["critical"] == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["f(6,24)"], "schedule="),
        (["f(24)m(1)", "--size", "480p"], "size='480p'"),
        (["f(24)m(1)", "--size", "830x480"], "multiple of 16"),
        (["f(24)m(1)", "--steps", "many"], "steps='many'"),
        (["f(24)m(1)", "--steps", "50,40"], "give 1 numbers of steps"),
        (["f(6,24)m(1,4)", "--given", "499", "--frames", "500", "--strict"], "give frame 500"),
    ],
)
def test_mistakes_are_named(tempo: typer.Typer, arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CliRunner().invoke(tempo, arguments, catch_exceptions=False)
