"""A job's row in `runs`: what is recorded of a failure, and what is raised."""

import json
from pathlib import Path

import pytest

from curation.catalog.connection import CatalogSettings
from curation.catalog.store import Catalog
from curation.records import RunRow, now
from pipelines.run_record import RunRecord, failure_recorded

RUN = RunRecord("r1", "curate", "offline", {"depth": 3}, now(), ("films/",))


def test_a_failure_is_recorded_and_raised_again(tmp_path: Path) -> None:
    settings, said = CatalogSettings(home=tmp_path), list[str]()
    with pytest.raises(KeyboardInterrupt), failure_recorded(RUN, settings, said.append):
        raise KeyboardInterrupt
    with failure_recorded(RUN, settings, said.append):
        pass  # nothing failed
    with Catalog.open(settings) as catalog:
        (row,) = catalog.rows(RunRow)
    assert (row.kind, row.status, row.config) == ("curate", "failed", '{"depth":3}')
    assert json.loads(row.summary) == {"error": "KeyboardInterrupt: "}
    assert json.loads(row.inputs or "") == ["films/"]
    assert row.finished_at >= row.started_at
    assert said == []


def test_a_catalog_that_is_away_does_not_hide_what_failed(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, where there should be a folder")
    settings, said = CatalogSettings(home=tmp_path / "home"), list[str]()
    with (
        pytest.raises(ValueError, match="no such recipe"),
        failure_recorded(RUN, settings, said.append),
    ):
        raise ValueError("no such recipe")
    assert len(said) == 1
    assert "could not be recorded either" in said[0]
