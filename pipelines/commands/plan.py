"""`tempo plan`: a tree generation as a picture with its cost, before anything is generated."""

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from model.flops import PETA, TEXT_TOKENS
from model.presets import DiTConfig, a14b, debug, shape_1_3b
from model.schedule import Schedule
from model.tree import WINDOW_CAP, Plan, plan_tree
from model.tree_cost import PlanCost, plan_cost
from model.tree_picture import svg_picture, text_picture
from pipelines.commands.options import JsonOption, per_level, picture_size
from pipelines.console import ConsoleProgress

_WIDEST = 120  # characters; a picture wider than that does not tell more
_BYTE_TOKENS = 64  # of model.text.ByteEncoder; importing it would load torch


class Network(StrEnum):
    """Sizes of the network that a plan can be priced for."""

    A14B = "a14b"
    SHAPE_1_3B = "1.3b"
    DEBUG = "debug"

    def config(self) -> DiTConfig:
        """The size itself."""
        presets = {Network.A14B: a14b, Network.SHAPE_1_3B: shape_1_3b, Network.DEBUG: debug}
        return presets[self]()

    @property
    def text_length(self) -> int:
        """Text tokens that it reads: UMT5's, or the byte encoder's."""
        return _BYTE_TOKENS if self is Network.DEBUG else TEXT_TOKENS


def plan_command(
    schedule: Annotated[str, typer.Argument(help="Rates and segments, as f(6,12,24)m(1,2,4).")],
    frames: Annotated[int, typer.Option(help="Frames at 24 fps, given ones included.")] = 481,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "832x480",
    network: Annotated[Network, typer.Option(help="Whose cost.")] = Network.A14B,
    steps: Annotated[
        str | None, typer.Option(help="Denoising steps of each level, e.g. 50,40,30.")
    ] = None,
    prefix: Annotated[int, typer.Option(help="Leading frames given (continuation: 121).")] = 0,
    given: Annotated[list[int] | None, typer.Option(help="A single given frame.")] = None,
    strict: Annotated[bool, typer.Option(help="Refuse given frames off a level's grid.")] = False,
    window_cap: Annotated[int, typer.Option(help="Longest window trained, in frames.")] = (
        WINDOW_CAP
    ),
    svg: Annotated[Path | None, typer.Option(help="Write the picture there as well.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which windows a schedule generates, what conditions them, and what it costs.

    Nothing is generated and no weights are needed. Costs are one forward a step; guidance doubles
    them.

    Examples:
      tempo plan "f(6,12,24)m(1,2,4)" --frames 481
      tempo plan "f(6,24)m(1,8)" --frames 500 --given 0 --given 499 --svg plan.svg
      tempo plan "f(6,12,24)m(1,2,4)" --frames 601 --prefix 121
    """
    width, height = picture_size(size)
    if svg is not None and (svg.is_dir() or not svg.absolute().parent.is_dir()):
        raise ValueError(f"svg={svg}: name a file in a folder that is there")
    plan = plan_tree(
        Schedule.parse(schedule, steps=per_level("steps", steps, int) if steps else ()),
        frames,
        prefix=prefix,
        given=given or (),
        strict=strict,
        window_cap=window_cap,
    )
    cost = plan_cost(plan, network.config(), height, width, network.text_length)
    out = ConsoleProgress(quiet=as_json).out
    for line in text_picture(plan, min(out.width, _WIDEST)):
        out.print(line, markup=False)
    out.print()
    out.print(_levels(cost))
    for line in _summary(plan, cost, network, size):
        out.print(line)
    if svg is not None:
        svg.write_text(svg_picture(plan), encoding="utf-8")
        out.print(f"picture  {svg}", markup=False)
    if as_json:
        document = {
            "plan": plan.document(),
            "cost": dataclasses.asdict(cost),
            "network": network.value,
            "size": [width, height],
            "svg": None if svg is None else str(svg),
        }
        typer.echo(json.dumps(document, sort_keys=True))


def _levels(cost: PlanCost) -> Table:
    table = Table(box=None, pad_edge=False)
    headings = ("fps", "windows", "frames", "latents", "tokens", "steps", "PFLOPs", "share")
    for heading in headings:
        table.add_column(heading, justify="right")
    for level in cost.levels:
        table.add_row(
            *map(str, (level.rate, level.segments, level.frames, level.latents)),
            f"{level.tokens:,}",
            str(level.steps),
            _peta(level.operations),
            f"{level.operations / cost.operations:.0%}",
        )
    return table


def _summary(plan: Plan, cost: PlanCost, network: Network, size: str) -> list[str]:
    total, longest, single = map(_peta, (cost.operations, cost.critical, cost.monolithic))
    saved, hastened = (cost.monolithic / part for part in (cost.operations, cost.critical))
    times = f"{saved:.2f} times all, {hastened:.2f} times the latter"
    length = plan.end + 1
    lines = [
        "",
        f"{total} PFLOPs for {network.value} at {size}, one forward a step (guidance: twice that)",
        f"{longest} PFLOPs of them one after the other when the windows of a level run in parallel",
        f"{single} PFLOPs as one window of {length} frames: {times}",
        f"pairs of frames: {cost.pairs:,} in all, {cost.parallel_pairs:,} in parallel; "
        + _equations(cost),
    ]
    if length != plan.frames:
        lines.append(f"planned as {length} frames, cut to {plan.frames} at the end")
    for placement in plan.placements:
        if placement.moved:
            rate = plan.schedule.rates[placement.level]
            moved = "left to finer levels" if placement.placed is None else f"at {placement.placed}"
            lines.append(f"given frame {placement.asked} stands {moved} at {rate} fps")
    return [*lines, *(f"[yellow]warning:[/yellow] {warning}" for warning in plan.warnings)]


def _peta(operations: int) -> str:
    value = operations / PETA
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _equations(cost: PlanCost) -> str:
    if cost.equation_5 is None or cost.equation_6 is None:
        return "the paper's Eq. 5 and 6 do not apply (they double rates and split alike)"
    return f"as the paper's Eq. 5 and 6 print: {cost.equation_5:,.0f} and {cost.equation_6:,.0f}"
