"""Options that several commands share, and how their texts are read."""

import re
from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where everything is kept; default $TEMPO_HOME or ./tempo-home."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Override a field, e.g. select.motion.min=0.01"
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object as the last line, and nothing else.")
]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that work at the same time.")]


def picture_size(text: str) -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT``.

    Raises:
        ValueError: it is written otherwise.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if match is None:
        raise ValueError(f"size={text!r}: write width x height in pixels, e.g. 832x480")
    return int(match[1]), int(match[2])
