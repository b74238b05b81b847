"""The study's database: facts are added once, and never changed."""

import dataclasses
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from evaluation.errors import StudyError
from evaluation.study.database import sqlite_url
from evaluation.study.design import schedule
from evaluation.study.storage import Store
from tests.evaluation.study.small import enrol, study_of

STUDY = study_of()
SCORES = {dimension.name: 3 for dimension in STUDY.dimensions}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(sqlite_url(tmp_path))
    yield opened
    opened.close()


def test_an_answer_is_stored_once(store: Store) -> None:
    rater, task = enrol(store, "a"), schedule(STUDY, 0)[0]
    assert store.add_answer(rater, 0, task, SCORES)
    assert store.add_answer(rater, 0, task, SCORES)
    assert not store.add_answer(rater, 0, task, SCORES | {"motion_quality": 1})
    (answer,) = store.answers()
    assert (answer.scores, answer.clips, answer.systems) == (SCORES, task.clips, task.systems)
    assert store.answered(rater) == 1


@pytest.mark.parametrize("statement", ["update answers set task = 9", "delete from answers"])
def test_the_database_refuses_to_change_answers(
    store: Store, tmp_path: Path, statement: str
) -> None:
    store.add_answer(enrol(store, "a"), 0, schedule(STUDY, 0)[0], SCORES)
    with (
        sqlite3.connect(tmp_path / "study.db") as other,
        pytest.raises(sqlite3.IntegrityError, match="answers is append-only"),
    ):
        other.execute(statement)
    other.close()
    assert len(store.answers()) == 1


def test_raters_are_numbers_and_places_follow_who_begins(store: Store) -> None:
    invited = [store.invite(4e9)[0] for _ in range(3)]
    assert invited == ["R001", "R002", "R003"]
    assert store.accept("R003", 1, "c")
    assert store.accept("R001", 1, "a")
    assert (store.place("R003"), store.place("R001")) == (0, 1)
    assert [(r.rater, r.place, r.answered) for r in store.raters()] == [
        ("R001", 1, 0), ("R002", None, 0), ("R003", 0, 0),
    ]  # fmt: skip


def test_a_link_belongs_to_the_first_browser(store: Store) -> None:
    rater, edition = store.invite(4e9)
    assert store.accept(rater, edition, "first")
    assert store.accept(rater, edition, "first")
    assert not store.accept(rater, edition, "second")
    assert store.holder("first") == (rater, edition)
    assert store.holder("second") is None


def test_a_new_link_voids_the_old_one_and_keeps_the_place(store: Store) -> None:
    enrol(store, "somebody else")
    rater, first = store.invite(4e9)
    assert store.accept(rater, first, "old phone")
    place = store.place(rater)
    _, second = store.invite(4e9, rater)
    assert not store.is_open(rater, first, now=1)
    assert store.is_open(rater, second, now=1)
    assert not store.is_open(rater, second, now=5e9)
    assert store.accept(rater, second, "new phone")
    assert store.place(rater) == place == 1
    with pytest.raises(ValueError, match="never invited"):
        store.invite(4e9, "R999")


def test_a_study_is_fixed_once_it_has_answers(store: Store) -> None:
    first = store.register(STUDY)
    assert store.register(STUDY) == first
    longer = dataclasses.replace(STUDY, title="Another title")
    store.register(longer)  # nobody has answered yet
    store.add_answer(enrol(store, "a"), 0, schedule(STUDY, 0)[0], SCORES)
    store.register(longer)
    with pytest.raises(StudyError, match="not the one that was registered"):
        store.register(STUDY)


def test_many_begin_at_once(store: Store) -> None:
    """Threads of a server: everybody gets a place of their own."""
    raters = [store.invite(4e9)[0] for _ in range(12)]
    threads = [
        threading.Thread(target=store.accept, args=(rater, 1, f"browser {rater}"))
        for rater in raters
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.place(rater) for rater in raters) == list(range(12))


def test_other_databases_and_lost_ones_are_explained(tmp_path: Path) -> None:
    for url in (
        "mysql://user:secret@host/db",
        "no address",
        "postgresql+nothing://u:secret@h/d",
        "postgresql+asyncpg://u:secret@h/d",
    ):
        with pytest.raises(ValueError, match="database") as refused:
            Store(url)
        assert "secret" not in str(refused.value)
    with pytest.raises(StudyError, match="unable to open") as lost:
        Store(f"sqlite:///{tmp_path}/nowhere/study.db")
    assert "check that" in str(lost.value)


def test_it_is_plain_sql(store: Store, tmp_path: Path) -> None:
    """An owner may read it with any tool."""
    store.add_answer(enrol(store, "a"), 0, schedule(STUDY, 0)[0], SCORES)
    with sa.create_engine(sqlite_url(tmp_path)).connect() as connection:
        row = connection.execute(sa.text("select rater, task, kind from answers")).one()
    assert tuple(row) == ("R001", 0, "main")
