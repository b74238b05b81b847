"""Options that several commands share, and how their texts are read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from pipelines.engine import Engine

NumberT = TypeVar("NumberT", int, float)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where everything is kept; default $TEMPO_HOME or ./tempo-home."),
]


def set_option(example: str) -> Any:  # noqa: ANN401 - as typer.Option itself is typed
    """`--set`, with a field of the command that it is an option of."""
    return typer.Option("--set", metavar="PATH=VALUE", help=f"Override a field, e.g. {example}")


SetOption = Annotated[list[str] | None, set_option("select.motion.min=0.01")]
TrainSetOption = Annotated[list[str] | None, set_option("optimiser.lr=2e-5")]
EvaluateSetOption = Annotated[list[str] | None, set_option("sampler.batch=8")]
RetrainSetOption = Annotated[list[str] | None, set_option("train.steps=5000")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object as the last line, and nothing else.")
]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that work at the same time.")]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray|ray://HOST:PORT",
        help="Where they work: on this machine, or on a Ray cluster ($RAY_ADDRESS).",
    ),
]


def engine_named(name: str, workers: int) -> "Engine":
    """The engine that ``--engine`` names.

    Raises:
        ValueError: there is none of that name, Ray is not installed, or no cluster answers.
    """
    if name == "local":
        from pipelines.engine import LocalEngine

        return LocalEngine(workers)
    if name != "ray" and not name.startswith("ray://"):
        raise ValueError(f"engine={name!r}: write local, ray, or ray://HOST:PORT")
    try:
        from pipelines.ray_engine import RayEngine
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ValueError(f"engine={name!r}: install it with: pip install 'tempomaster[ray]'") from (
            error
        )
    return RayEngine(workers, None if name == "ray" else name)


def per_level(name: str, text: str, number: Callable[[str], NumberT]) -> tuple[NumberT, ...]:
    """Read one number, or one for each level of a schedule, as ``50,40,30``.

    Args:
        name: of the option, for the error.
        text: what was written.
        number: `int` or `float`.

    Raises:
        ValueError: it is written otherwise.
    """
    try:
        return tuple(map(number, text.split(",")))
    except ValueError as error:
        raise ValueError(
            f"{name}={text!r}: write one number, or one for each level, e.g. 50,40,30"
        ) from error


def picture_size(text: str) -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT``.

    Raises:
        ValueError: it is written otherwise.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if match is None:
        raise ValueError(f"size={text!r}: write width x height in pixels, e.g. 832x480")
    return int(match[1]), int(match[2])
