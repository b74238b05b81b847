"""`tempo study new`, `serve`, `invite` and `report`: what people say of the videos."""

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.commands.options import HomeOption, JsonOption, WorkersOption, picture_size
from pipelines.console import ConsoleProgress

if TYPE_CHECKING:
    from rich.console import Console

    from evaluation.study.results import Results
    from pipelines.study_videos import Material

app = typer.Typer(rich_markup_mode="rich", no_args_is_help=True)

StudyArgument = Annotated[Path, typer.Argument(help="The study's folder.")]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        help="Address of a PostgreSQL or SQLite database; default $TEMPO_STUDY_DATABASE or "
        "study.db in the folder."
    ),
]
UrlOption = Annotated[
    str, typer.Option("--url", help="Where raters' browsers reach it: https://study.example.org")
]


class ModeName(StrEnum):
    """How raters judge."""

    RATING = "rating"
    PAIRWISE = "pairwise"


@app.callback()
def study() -> None:
    """Let people judge videos blindly (Appendix C of the paper), and work out what they say."""


@app.command("new")
def new_command(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    system: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of videos; one option for each system.")
    ] = None,
    from_run: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead: an evaluation of the home (its id, or latest); may be several."
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="What raters read.")] = "How good are these videos?",
    mode: Annotated[ModeName, typer.Option(help="One video at a time, or two.")] = ModeName.RATING,
    prompts: Annotated[
        Path | None, typer.Option(help="JSON {item: prompt} or CSV; default: NAME.txt beside.")
    ] = None,
    training: Annotated[Path | None, typer.Option(help="Folder of practice videos.")] = None,
    gold: Annotated[Path | None, typer.Option(help="Folder of videos with known answers.")] = None,
    frozen_gold: Annotated[
        int, typer.Option(min=0, help="Items that are shown standing still, as gold.")
    ] = 0,
    repeats: Annotated[int, typer.Option(min=0, help="Videos that a rater sees twice.")] = 0,
    items_per_rater: Annotated[int | None, typer.Option(help="Default: all.")] = None,
    showings_per_item: Annotated[
        int | None, typer.Option(help="Systems (pairs) of an item that a rater sees; default: all.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Compare this system with each other; default: all pairs.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT; default: the smallest there is.")
    ] = None,
    fps: Annotated[int, typer.Option(help="Frames per second of all videos.")] = 24,
    frames: Annotated[int | None, typer.Option(help="Trim all videos to so many.")] = None,
    seed: Annotated[int, typer.Option(help="Of orders and sides.")] = 0,
    home: HomeOption = None,
    workers: WorkersOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Make a study: all videos in one container under opaque names, and the study file.

    Videos of one item have the same name in each system's folder. Read study.json before you serve
    it: texts, rules of exclusion and amounts may still be changed there, and are fixed afterwards.

    Examples:
      tempo study new first --system ours=out/a --system base=out/b --repeats 4 --frozen-gold 2
      tempo study new pairs --mode pairwise --system ours=a/ --system base=b/ --reference ours
      tempo study new schedules --from-run latest --frozen-gold 2
    """
    from evaluation.study.document import Mode
    from pipelines.engine import LocalEngine
    from pipelines.study_new import StudyRequest, document_of, new_study

    request = StudyRequest(
        folder=folder,
        material=_material(system, from_run, prompts, home),
        title=title,
        mode=Mode(mode.value),
        training=training,
        gold=gold,
        frozen_gold=frozen_gold,
        repeats=repeats,
        items_per_rater=items_per_rater,
        showings_per_item=showings_per_item,
        reference=reference,
        size=picture_size(size) if size else None,
        fps=fps,
        frames=frames,
        seed=seed,
    )
    progress = ConsoleProgress(quiet=as_json)
    with progress:
        made = new_study(request, LocalEngine(workers), progress)
    box, out = made.study.container, progress.out
    out.print(
        f"[bold]{escape(made.study.title)}[/bold]: {len(made.study.items)} items, "
        f"{len(made.study.systems)} systems, {len(made.study.clips)} videos of "
        f"{box.width}x{box.height} at {box.fps} fps"
    )
    for warning in made.warnings:
        out.print(f"  [yellow]{escape(warning)}[/yellow]")
    out.print(f"  study    {escape(str(folder / 'study.json'))} (holds the unblinding map)")
    out.print(f"  secrets  {escape(str(folder / 'secrets.json'))} (the owner's token)")
    out.print(f"next: tempo study invite {escape(str(folder))} --count 20 --url https://…")
    if as_json:
        typer.echo(json.dumps(document_of(made), sort_keys=True))


@app.command("invite")
def invite_command(
    folder: StudyArgument,
    url: UrlOption,
    count: Annotated[int, typer.Option(min=1, help="New raters.")] = 1,
    again: Annotated[
        str | None, typer.Option(help="A rater, e.g. R003: a new link; the old one is void.")
    ] = None,
    days: Annotated[float, typer.Option(help="How long links are good.")] = 14,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue invitation links, one for each rater. A link works in the first browser that takes it.

    Who got which link is for you to note: the study knows raters by number only.

    Examples:
      tempo study invite first --count 20 --url https://study.example.org
      tempo study invite first --again R003 --url https://study.example.org
    """
    from pipelines.study import invite

    issued = invite(folder, url, count=count, again=again, days=days, database=database)
    out = ConsoleProgress(quiet=as_json).out
    for one in issued:
        out.print(f"{one.rater}  {escape(one.link)}", soft_wrap=True)
    if as_json:
        listed = [dataclasses.asdict(one) for one in issued]
        typer.echo(json.dumps({"invitations": listed}, sort_keys=True))


@app.command("serve")
def serve_command(
    folder: StudyArgument,
    url: UrlOption = "http://127.0.0.1:8765",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8765,
    database: DatabaseOption = None,
) -> None:
    """Serve the study to raters until interrupted. Its file is fixed from the first start on.

    Listen on 127.0.0.1 and let a proxy with a certificate (Caddy, nginx) stand before it. With an
    https --url cookies travel by https only, and only that host name is answered to.

    Examples:
      tempo study serve first
      tempo study serve first --url https://study.example.org --port 8765
    """
    from pipelines.study import serve

    def ready() -> None:
        out = ConsoleProgress().out
        out.print(f"serving {escape(str(folder))} at {escape(url)} (Ctrl-C ends; answers are kept)")
        out.print(
            f"  owner    {escape(url.rstrip('/'))}/owner, with the owner_token of "
            f"{escape(str(folder / 'secrets.json'))}"
        )

    serve(folder, url, host=host, port=port, database=database, ready=ready)


@app.command("report")
def report_command(
    folder: StudyArgument, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Work out the study: scores with intervals, agreement, tests; as HTML, markdown and JSON.

    Example: [bold]tempo study report first[/bold]
    """
    from pipelines.study import report

    results, places = report(folder, database)
    out = ConsoleProgress(quiet=as_json).out
    _print_results(out, results)
    for what, place in zip(("report", "markdown", "numbers"), places, strict=True):
        out.print(f"  {what:<9}{escape(str(place))}", soft_wrap=True)
    if as_json:
        files = dict(zip(("page", "markdown", "numbers"), map(str, places), strict=True))
        typer.echo(json.dumps(results.json() | {"files": files}, sort_keys=True))
    if not results.answers:
        raise typer.Exit(1)


def _material(
    systems: list[str] | None, runs: list[str] | None, prompts: Path | None, home: Path | None
) -> "Material":
    """What the study is about.

    Raises:
        ValueError: neither folders nor runs, or both.
    """
    from pipelines.settings import standing_home
    from pipelines.study_videos import material_in

    if bool(systems) == bool(runs) or (runs and prompts):
        raise ValueError("give --system NAME=FOLDER (and --prompts), or --from-run RUN")
    if systems:
        return material_in(_systems(systems), prompts)
    from pipelines.study_runs import material_of

    return material_of(standing_home(home), runs or [])


def _systems(options: list[str]) -> dict[str, Path]:
    """Read NAME=FOLDER.

    Raises:
        ValueError: an option is written otherwise, or a name stands there twice.
    """
    found: dict[str, Path] = {}
    for option in options:
        name, separator, folder = option.partition("=")
        if not separator or not name.strip() or not folder or name.strip() in found:
            raise ValueError(f"--system {option!r}: write NAME=FOLDER, each name once")
        found[name.strip()] = Path(folder)
    return found


def _print_results(out: "Console", results: "Results") -> None:
    from evaluation.study.report import between, p_value, shown
    from evaluation.study.results import TOTAL

    out.print(
        f"[bold]{escape(results.title)}[/bold]: {len(results.counted)} of {len(results.raters)} "
        f"raters count, {results.answers} answers"
    )
    if not results.as_registered:
        out.print("[yellow]the study file is not one that raters have seen[/yellow]")
    for rater in results.raters:
        if rater.excluded:
            out.print(f"  [yellow]{rater.rater} excluded: {escape('; '.join(rater.excluded))}[/]")
    table = Table(box=None, pad_edge=False)
    for heading in ("first", "second", "total, difference", "95 %", "p (Holm)"):
        table.add_column(heading)
    for one in results.comparisons:
        if one.outcome == TOTAL:
            ends = between(one.difference)
            cells = (one.first, one.second, shown(one.difference.value), ends, p_value(one.p_holm))
            table.add_row(*map(escape, cells))
    if results.scores:
        _print_scores(out, results)
    out.print(table)


def _print_scores(out: "Console", results: "Results") -> None:
    from evaluation.study.report import between, shown
    from evaluation.study.results import TOTAL

    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column(TOTAL)
    table.add_column("95 %", no_wrap=True)
    for title in results.dimensions.values():
        table.add_column(escape(title.split()[0].lower()))
    for system in results.systems:
        total = results.score(system, TOTAL).score
        cells = [shown(results.score(system, name).score.value) for name in results.dimensions]
        table.add_row(escape(system), shown(total.value), between(total), *cells)
    if set(results.dimensions) == set(results.paper[0].scores):
        for row in results.paper:
            printed = [f"{row.scores[name]:.2f}" for name in results.dimensions]
            table.add_row(f"{row.model} (paper)", f"{row.total:.2f}", "", *printed, style="dim")
    out.print(table)
