"""What a person sees in the terminal: progress bars, the funnel, where things are."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:  # every command imports this module, and a summary takes Arrow
    from pipelines.summary import DatasetSummary, Summary, Yield

_UNITS = {
    "identify": "files",
    "scan": "films",
    "score": "films",
    "caption": "clips",
    "encode": "films",
    "pack": "shards",
    "verify": "shards",
    "demo": "films",
    "prepare": "videos",
    "videos": "videos",
    "judge": "videos",
    "read": "samples",
    "text": "shards",
    "latents": "shards",
}
_SHOWN_GROUPS = 5


class ConsoleProgress:
    """Bars on a terminal, and nothing but messages where there is none.

    Args:
        quiet: say nothing at all but errors (``--json``).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.out = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.out,
            disable=quiet or not self.out.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        """A stage begins."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(name, total=total, unit=_UNITS.get(name, ""), rate="")

    def advance(self) -> None:
        """One more item is done."""
        assert self._task is not None
        self._bars.advance(self._task)
        task = self._bars.tasks[-1]
        if task.speed:
            self._bars.update(self._task, rate=f"{task.speed * 60:.3g}/min")

    def say(self, message: str) -> None:
        """A message above the bars."""
        self.out.print(escape(message))

    def report(self, summary: "Summary") -> None:
        """The funnel, before anything is packed."""
        print_funnel(self.out, summary)


def print_funnel(out: Console, summary: "Summary") -> None:
    """Films, clips, hours; what was dropped and quarantined, and why."""
    out.print(
        f"{summary.files} files, {summary.films} films ({summary.film_hours:.2f} h): "
        f"{summary.scanned} scanned now in {summary.decodes} decodes, "
        f"{summary.derived} derived again, "
        f"{summary.films - summary.scanned - summary.derived} unchanged or quarantined"
        + (f"; {summary.scored} scored" if summary.scored else "")
        + (f"; {summary.duplicates} duplicate files" if summary.duplicates else "")
        + (f"; {summary.taken_down} taken down" if summary.taken_down else "")
    )
    for problem in summary.problems:
        example = escape(printable_cell(f"{Path(problem.example).name}: {problem.message}"))
        out.print(f"  {problem.status:<12}{problem.films:>5}  {problem.reason} ({example})")
    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading, side in (("clips", "left"), ("number", "right"), ("hours", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]  # a literal, looped over
    table.add_row("all", *_cells(summary.clips))
    for rule, loss in summary.dropped.items():
        table.add_row(f"  dropped: {rule}", *_cells(loss), style="yellow")
    refined = summary.refined
    if len(summary.dropped) > 1:
        table.add_row("  (a clip counts under each rule that drops it)", "", "", style="yellow")
    if refined.kept == summary.kept:
        table.add_row("kept", *_cells(summary.kept), style="green")
    else:
        table.add_row("kept by the policy", *_cells(summary.kept))
        table.add_row("  dropped: near-duplicates", *_cells(refined.duplicates), style="yellow")
        table.add_row("  dropped: over a cluster's cap", *_cells(refined.over_cap), style="yellow")
        table.add_row("kept", *_cells(refined.kept), style="green")
    out.print(table)
    for group in refined.film_groups[:_SHOWN_GROUPS]:
        out.print(f"  copies of one film, on one side of the split: {', '.join(group)}")
    if len(refined.film_groups) > _SHOWN_GROUPS:
        out.print(f"  and {len(refined.film_groups) - _SHOWN_GROUPS} groups more")


def printable_cell(value: object) -> str:
    """A value as a terminal may show it: control characters, which could drive it, are escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value)
    )


def _cells(part: "Yield") -> tuple[str, str]:
    return str(part.clips), f"{part.hours:.4f}"


def print_dataset(
    out: Console, dataset: "DatasetSummary", report: str | None, page: str | None
) -> None:
    """What was published, and where it is."""
    state = "published" if dataset.fresh else "unchanged"
    out.print(
        f"[bold]{escape(dataset.reference)}[/bold] {state}: {dataset.train_samples} training and "
        f"{dataset.val_samples} validation samples "
        f"({dataset.samples - dataset.multi_samples} single-shot, "
        f"{dataset.multi_samples} multi-shot), {dataset.hours * 60:.2f} min in "
        f"{dataset.shards} shards, {dataset.bytes / 1e6:.1f} MB "
        f"({dataset.encoded} encoded, {dataset.copied} copied from earlier versions)"
    )
    for what, reasons in (("lost", dataset.lost), ("without caption", dataset.uncaptioned)):
        for reason, count in reasons.items():
            out.print(f"  [red]{what}: {count} ({escape(reason)})[/red]")
    for what, place in (
        ("shards", dataset.folder),
        ("catalog", dataset.catalog),
        ("summary", report),
        ("report", page),
    ):
        out.print(f"  {what:<8} {escape(str(place))}", soft_wrap=True)


def print_error(error: BaseException) -> None:
    """An error that a person can act on, on stderr."""
    Console(file=sys.stderr, highlight=False).print(
        f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True
    )
