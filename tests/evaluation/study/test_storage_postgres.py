"""The study's database on a real PostgreSQL server: the same rules hold there."""

import threading

import pytest
import sqlalchemy as sa

from evaluation.errors import StudyError
from evaluation.study.design import schedule
from evaluation.study.storage import Store
from tests.curation.test_catalog_postgres import address, server
from tests.evaluation.study.small import enrol, study_of

__all__ = ["server"]
STUDY = study_of()
SCORES = {dimension.name: 3 for dimension in STUDY.dimensions}


def url_of(server: int) -> str:
    return address(server).render_as_string(hide_password=False)


def test_rules_hold_on_postgresql(server: int) -> None:
    stores: list[Store] = []
    starts = [threading.Thread(target=lambda: stores.append(Store(url_of(server)))) for _ in "12"]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    store, second = stores
    assert store.register(STUDY) == second.register(STUDY)
    rater, task = enrol(store, "a"), schedule(STUDY, 0)[0]
    store.add_play(rater, 0, 0, task.clips[0], 2.0)
    second.add_play(rater, 0, 0, task.clips[0], 9.0)
    assert second.played(rater, 0) == {0}
    assert store.add_answer(rater, 0, task, SCORES)
    assert second.add_answer(rater, 0, task, SCORES)
    assert not second.add_answer(rater, 0, task, SCORES | {"motion_quality": 1})
    (answer,) = second.answers()
    assert answer.scores == SCORES
    engine = sa.create_engine(url_of(server))
    for statement in ("update answers set task = 9", "delete from plays"):
        with engine.connect() as one, pytest.raises(sa.exc.DBAPIError, match="is append-only"):
            one.execute(sa.text(statement))
    engine.dispose()
    raters = [store.invite(4e9)[0] for _ in range(8)]
    threads = [
        threading.Thread(target=(store, second)[k % 2].accept, args=(name, 1, f"browser {name}"))
        for k, name in enumerate(raters)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.place(name) for name in raters) == list(range(1, 9))
    with pytest.raises(StudyError, match="not the one that was registered"):
        store.register(study_of(seed=8))
    store.close()
    second.close()


def test_a_wrong_password_is_not_shown(server: int) -> None:
    words = "a very secret word"
    wrong = address(server).set(password=words)
    with pytest.raises(StudyError, match="check that") as refused:
        Store(wrong.render_as_string(hide_password=False))
    assert "secret" not in str(refused.value)
