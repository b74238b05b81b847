"""The `tempo` command, assembled: what each command does lives in `pipelines.commands`."""

import typer

from curation.errors import FULL_OR_READ_ONLY, CurationError
from model.errors import ModelError
from pipelines.commands import caption, catalog, curation, generate, plan, report, verify
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
app.add_typer(caption.app, name="caption")
app.command("preview")(curation.preview_command)
app.command("report")(report.report_command)
app.command("verify")(verify.verify_command)
app.command("plan")(plan.plan_command)
app.command("generate")(generate.generate_command)
app.command("datasets")(catalog.datasets_command)
app.command("sql")(catalog.sql_command)
app.command("doctor")(catalog.doctor_command)
app.command("forget")(catalog.forget_command)


def main() -> None:
    """Run the command; what a user can mend ends in one line, not in a traceback."""
    try:
        app()
    except (CurationError, ModelError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in FULL_OR_READ_ONLY:
            raise
        print_error(error)
        raise SystemExit(1) from error
