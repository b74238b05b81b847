"""The `tempo` command, assembled: what each command does lives in `pipelines.commands`."""

import gc

import typer

from curation.errors import FULL_OR_READ_ONLY, CurationError
from evaluation.errors import EvaluationError
from model.errors import ModelError
from pipelines.commands import (
    caption,
    catalog,
    curation,
    estimate,
    evaluate,
    generate,
    plan,
    precompute,
    report,
    retrain,
    study,
    suite,
    train,
    verify,
)
from pipelines.console import print_error
from training.errors import TrainingError

app = typer.Typer(
    name="tempo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Films in, training shards out; a long-video model trained, run as a tree and judged.",
    rich_markup_mode="rich",
)

app.command("demo")(curation.demo_command)
app.command("curate")(curation.curate_command)
app.add_typer(caption.app, name="caption")
app.command("estimate")(estimate.estimate_command)
app.command("preview")(curation.preview_command)
app.command("report")(report.report_command)
app.command("verify")(verify.verify_command)
app.command("precompute")(precompute.precompute_command)
app.command("train")(train.train_command)
app.command("export")(train.export_command)
app.command("replay")(train.replay_command)
app.command("retrain")(retrain.retrain_command)
app.command("plan")(plan.plan_command)
app.command("generate")(generate.generate_command)
app.add_typer(study.app, name="study")
app.add_typer(suite.app, name="suite")
app.command("evaluate")(evaluate.evaluate_command)
app.command("report-eval")(evaluate.report_eval_command)
app.command("datasets")(catalog.datasets_command)
app.command("sql")(catalog.sql_command)
app.command("doctor")(catalog.doctor_command)
app.command("forget")(catalog.forget_command)


def main() -> None:
    """Run the command; what a user can mend ends in one line, not in a traceback."""
    # Most commands are done a moment after their imports, of which the default of 700 costs a
    # seventh: garbage is looked for in what is going to stay.
    gc.set_threshold(10_000)
    try:
        app()
    except (
        CurationError,
        EvaluationError,
        ModelError,
        TrainingError,
        ValueError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno not in FULL_OR_READ_ONLY:
            raise
        print_error(error)
        raise SystemExit(1) from error
