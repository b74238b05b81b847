"""What raters did, as rows that are only ever added.

Answers, finished plays, invitations and the registered study are facts; none is changed later, and
triggers in the database refuse it from any program. Every key is the fact itself, such as (rater,
task): the same fact sent twice is stored once, so a phone may repeat a request until it hears back.
The price is that a rater cannot take an answer back once it is sent.

No names, addresses or devices are stored: a rater is a number.
"""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from evaluation.errors import StudyError
from evaluation.study.database import Database
from evaluation.study.design import Kind, Task
from evaluation.study.document import Study, fingerprint
from evaluation.study.tables import (
    ACCEPTANCES,
    ANSWERS,
    INVITATIONS,
    PLACES,
    PLAYS,
    REGISTRATIONS,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answered task, with all that is needed to read it without dealing again."""

    rater: str
    task: int
    kind: Kind
    subject: str
    clips: tuple[str, ...]
    systems: tuple[str, ...]
    swapped: bool
    scores: dict[str, int]
    answered_at: str


@dataclasses.dataclass(frozen=True, slots=True)
class Invited:
    """A rater as the owner knows them."""

    rater: str
    edition: int
    """Links that were issued; only the last one is good."""
    expires_at: float
    place: int | None
    """None until the rater has begun."""
    answered: int


class Store:
    """The study's rows.

    Args:
        url: SQLAlchemy address of an SQLite or PostgreSQL database.

    Raises:
        StudyError: it cannot be reached.
        ValueError: the address is of another kind of database, or none.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def register(self, study: Study) -> str:
        """Fix what the study is; a fixed study is opened only as it was.

        Returns:
            When it was registered.

        Raises:
            StudyError: another one is registered, and it has answers.
        """
        mark = fingerprint(study)
        with self._database.writing() as connection:
            last = connection.execute(
                sa.select(REGISTRATIONS).order_by(REGISTRATIONS.c.number.desc()).limit(1)
            ).first()
            if last is not None and last.fingerprint == mark:
                return str(last.registered_at)
            if last is not None and connection.scalar(sa.select(sa.func.count(ANSWERS.c.task))):
                raise StudyError(
                    f"the study file is not the one that was registered on {last.registered_at} "
                    "and has answers since: put the registered one back (column document of the "
                    "table registrations), or make another study"
                )
            now = _now()
            connection.execute(
                REGISTRATIONS.insert().values(
                    number=0 if last is None else last.number + 1,
                    fingerprint=mark,
                    document=json.dumps(dataclasses.asdict(study), sort_keys=True),
                    registered_at=now,
                )
            )
            return now

    def registration(self) -> tuple[str, str] | None:
        """Fingerprint and time of the registered study; None while it was never served."""
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(REGISTRATIONS).order_by(REGISTRATIONS.c.number.desc()).limit(1)
            ).first()
        return None if row is None else (row.fingerprint, row.registered_at)

    def invite(self, expires_at: float, rater: str | None = None) -> tuple[str, int]:
        """Issue an invitation: for a new rater, or a further one that voids the rater's last.

        Returns:
            The rater and the edition.

        Raises:
            ValueError: there is no such rater.
        """
        for _ in range(20):
            with contextlib.suppress(IntegrityError), self._database.writing() as connection:
                if rater is None:
                    count = connection.scalar(
                        sa.select(sa.func.count(sa.distinct(INVITATIONS.c.rater)))
                    )
                    name, edition = f"R{(count or 0) + 1:03d}", 1
                else:
                    last = connection.scalar(
                        sa.select(sa.func.max(INVITATIONS.c.edition)).where(
                            INVITATIONS.c.rater == rater
                        )
                    )
                    if last is None:
                        raise ValueError(f"rater {rater!r}: was never invited")
                    name, edition = rater, last + 1
                connection.execute(
                    INVITATIONS.insert().values(rater=name, edition=edition, expires_at=expires_at)
                )
                return name, edition
        raise StudyError("others keep inviting at the same moment; try again")

    def is_open(self, rater: str, edition: int, now: float) -> bool:
        """Whether an invitation is the rater's last one and has not expired."""
        newest = (
            sa.select(INVITATIONS)
            .where(INVITATIONS.c.rater == rater)
            .order_by(INVITATIONS.c.edition.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(newest).first()
        return row is not None and row.edition == edition and now < row.expires_at

    def accept(self, rater: str, edition: int, browser: str) -> bool:
        """Bind an invitation to one browser, for ever.

        Args:
            rater: who was invited.
            edition: of the invitation.
            browser: hash of the browser's secret.

        Returns:
            False when another browser took it before. The same one may ask again.
        """
        with contextlib.suppress(IntegrityError), self._database.writing() as one:
            one.execute(
                ACCEPTANCES.insert().values(
                    rater=rater, edition=edition, browser=browser, accepted_at=_now()
                )
            )
        with self._database.reading() as connection:
            holder = connection.scalar(
                sa.select(ACCEPTANCES.c.browser).where(
                    ACCEPTANCES.c.rater == rater, ACCEPTANCES.c.edition == edition
                )
            )
        if holder != browser:
            return False
        self._place(rater)
        return True

    def holder(self, browser: str) -> tuple[str, int] | None:
        """The rater and edition that a browser's secret stands for."""
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(ACCEPTANCES.c.rater, ACCEPTANCES.c.edition).where(
                    ACCEPTANCES.c.browser == browser
                )
            ).first()
        return None if row is None else (row.rater, row.edition)

    def place(self, rater: str) -> int:
        """The rater's place in the design; one is given to who has none yet."""
        known = sa.select(PLACES.c.place).where(PLACES.c.rater == rater)
        with self._database.reading() as connection:
            found = connection.scalar(known)
        if found is None:
            self._place(rater)
            with self._database.reading() as connection:
                found = connection.scalar(known)
        assert found is not None
        return int(found)

    def _place(self, rater: str) -> None:
        """Give the next free place to a rater who has none."""
        for _ in range(50):
            with contextlib.suppress(IntegrityError):
                with self._database.writing() as connection:
                    known = sa.select(PLACES.c.place).where(PLACES.c.rater == rater)
                    if connection.scalar(known) is None:
                        free = connection.scalar(sa.select(sa.func.max(PLACES.c.place) + 1)) or 0
                        connection.execute(PLACES.insert().values(rater=rater, place=free))
                return
        raise StudyError("others keep beginning at the same moment; try again")

    def played(self, rater: str, task: int) -> frozenset[int]:
        """Slots of a task that the rater has played to the end."""
        with self._database.reading() as connection:
            rows = connection.execute(
                sa.select(PLAYS.c.slot).where(PLAYS.c.rater == rater, PLAYS.c.task == task)
            )
            return frozenset(row.slot for row in rows)

    def add_play(self, rater: str, task: int, slot: int, clip: str, seconds: float) -> None:
        """Record that a video has played to its end; once is enough."""
        self._database.add(
            PLAYS.insert().values(
                rater=rater, task=task, slot=slot, clip=clip, seconds=seconds, finished_at=_now()
            )
        )

    def answered(self, rater: str) -> int:
        """How many tasks the rater has answered; they are answered in order."""
        with self._database.reading() as connection:
            found = sa.select(sa.func.count(ANSWERS.c.task)).where(ANSWERS.c.rater == rater)
            return int(connection.scalar(found) or 0)

    def add_answer(self, rater: str, number: int, task: Task, scores: dict[str, int]) -> bool:
        """Store an answer.

        Returns:
            False when the task was answered differently before; what was said first stays.
        """
        self._database.add(
            ANSWERS.insert().values(
                rater=rater,
                task=number,
                kind=task.kind.value,
                subject=task.subject,
                clips=json.dumps(task.clips),
                systems=json.dumps(task.systems),
                swapped=task.swapped,
                scores=json.dumps(scores, sort_keys=True),
                answered_at=_now(),
            )
        )
        with self._database.reading() as connection:
            stored = connection.scalar(
                sa.select(ANSWERS.c.scores).where(
                    ANSWERS.c.rater == rater, ANSWERS.c.task == number
                )
            )
        return bool(json.loads(stored or "null") == scores)

    def answers(self) -> list[Answer]:
        """All answers, by rater and task."""
        query = sa.select(ANSWERS).order_by(ANSWERS.c.rater, ANSWERS.c.task)
        with self._database.reading() as connection:
            return [_answer(row) for row in connection.execute(query).mappings()]

    def raters(self) -> list[Invited]:
        """All who were invited."""
        counts = (
            sa.select(ANSWERS.c.rater, sa.func.count().label("answered"))
            .group_by(ANSWERS.c.rater)
            .subquery()
        )
        newest = (
            sa.select(INVITATIONS.c.rater, sa.func.max(INVITATIONS.c.edition).label("edition"))
            .group_by(INVITATIONS.c.rater)
            .subquery()
        )
        query = (
            sa.select(INVITATIONS, PLACES.c.place, counts.c.answered)
            .join(
                newest,
                sa.and_(
                    newest.c.rater == INVITATIONS.c.rater,
                    newest.c.edition == INVITATIONS.c.edition,
                ),
            )
            .outerjoin(PLACES, PLACES.c.rater == INVITATIONS.c.rater)
            .outerjoin(counts, counts.c.rater == INVITATIONS.c.rater)
            .order_by(INVITATIONS.c.rater)
        )
        with self._database.reading() as connection:
            return [
                Invited(row.rater, row.edition, row.expires_at, row.place, row.answered or 0)
                for row in connection.execute(query)
            ]


def browser_hash(secret: str) -> str:
    """What is stored of a browser's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _answer(row: sa.RowMapping) -> Answer:
    return Answer(
        rater=row["rater"],
        task=row["task"],
        kind=Kind(row["kind"]),
        subject=row["subject"],
        clips=tuple(json.loads(row["clips"])),
        systems=tuple(json.loads(row["systems"])),
        swapped=row["swapped"],
        scores=json.loads(row["scores"]),
        answered_at=row["answered_at"],
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
