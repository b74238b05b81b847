"""A film that hangs its decoder: stopped at its limit, quarantined, and no other film the worse."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

from curation.catalog.store import Catalog
from curation.records import VideoRow
from pipelines.curate import curate
from pipelines.engine import ItemT, LocalEngine, Outcome, SerialEngine, Stage, StateT, ValueT
from pipelines.job import Silence
from pipelines.settings import Home
from tests.pipelines import stages_for_engine as stages
from tests.pipelines.tiny_library import published_files, render, request

STUCK, SECONDS = "second.mp4", 3.0


class HangingEngine(LocalEngine):
    """Real workers under the stage's own limits, in which the scan of one film never returns."""

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        if stage.name == "scan":
            run = functools.partial(stages.hang_on, STUCK, stage.run)
            stage = dataclasses.replace(stage, run=run)
        return super().map(stage, items)


def test_a_stuck_film_is_quarantined_and_healed_when_asked_again(tmp_path: Path) -> None:
    films, home, sound = render(tmp_path / "films"), Home(tmp_path / "a"), Home(tmp_path / "b")
    aside = (films / STUCK).rename(tmp_path / STUCK)
    curate(request(films), home, SerialEngine(), Silence())  # so that none but it has to be quick
    aside.rename(films / STUCK)
    limit = f"ingest.film_seconds={SECONDS}"
    summary = curate(request(films, limit), home, HangingEngine(2), Silence())
    with Catalog.open(home.catalog()) as catalog:
        rows = {Path(row.uri).name: row for row in catalog.rows(VideoRow)}
    assert {name: row.status for name, row in rows.items()} == {
        "first.mp4": "ok",
        STUCK: "quarantined",
        "third.mp4": "ok",
    }
    stuck = rows[STUCK]
    assert (stuck.reason, stuck.transient) == ("decoder_timeout", False)
    assert "no answer after 3 s" in (stuck.message or "")
    assert summary.dataset is not None
    assert not summary.dataset.fresh  # the others are published as they were
    assert not list(home.films.rglob(".*.partial"))
    again = curate(request(films), home, SerialEngine(), Silence())
    assert again.scanned == 0  # it is not tried by itself
    healed = curate(request(films, retry=True), home, LocalEngine(2), Silence())
    assert (healed.scanned, healed.status) == (1, {"ok": 3})
    curate(request(films), sound, SerialEngine(), Silence())
    healed_tars = {name: sha for name, sha in published_files(home).items() if name[:2] == "2/"}
    sound_tars = published_files(sound)
    for name, sha in sound_tars.items():
        if name.endswith(".tar"):
            assert healed_tars[f"2/{name.removeprefix('1/')}"] == sha
