"""Options that several commands share."""

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
