"""The `tempo` command, assembled: what each command does lives in `pipelines.commands`."""

import typer

from curation.errors import CurationError
from pipelines.commands import catalog, curation
from pipelines.console import print_error

app = typer.Typer(
    name="tempo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Films in, versioned training shards out.",
    rich_markup_mode="rich",
)

app.command("demo")(curation.demo_command)
app.command("curate")(curation.curate_command)
app.command("preview")(curation.preview_command)
app.command("datasets")(catalog.datasets_command)
app.command("sql")(catalog.sql_command)
app.command("doctor")(catalog.doctor_command)
app.command("forget")(catalog.forget_command)


def main() -> None:
    """Run the command; a mistake of the user's ends in one line, not in a traceback."""
    try:
        app()
    except (CurationError, ValueError) as error:
        print_error(error)
        raise SystemExit(1) from error
