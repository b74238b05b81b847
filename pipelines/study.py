"""The jobs around a study that is made: invite raters, serve it, work it out."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from evaluation.study.credentials import load_credentials
from evaluation.study.database import sqlite_url
from evaluation.study.document import check_videos, load
from evaluation.study.storage import Store

if TYPE_CHECKING:  # statistics are loaded where they are needed
    from evaluation.study.results import Results

DATABASE_VARIABLE = "TEMPO_STUDY_DATABASE"


@dataclasses.dataclass(frozen=True, slots=True)
class Invitation:
    """A link for one rater."""

    rater: str
    link: str


def open_store(folder: Path, database: str | None) -> Store:
    """The study's database: given, else from the environment, else beside the study file."""
    return Store(database or os.environ.get(DATABASE_VARIABLE) or sqlite_url(folder))


def check_address(base_url: str) -> str:
    """Where browsers reach a study, without a slash at its end.

    Raises:
        ValueError: not an address, or one with more than a host and a port.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url {base_url!r}: write https://study.example.org")
    if parts.path.strip("/") or parts.query or parts.username:
        raise ValueError(f"url {base_url!r}: a study has a host of its own, without a path")
    return f"{parts.scheme}://{parts.netloc}"


def invite(
    folder: Path,
    base_url: str,
    *,
    count: int = 1,
    again: str | None = None,
    days: float = 14,
    database: str | None = None,
) -> list[Invitation]:
    """Issue links: for new raters, or a new one for a rater whose last one is void from then on.

    Raises:
        StudyError: the database cannot be reached.
        ValueError: no study is here, no such rater, or nothing to issue.
    """
    if count < 1 or days <= 0:
        raise ValueError(f"count = {count}, days = {days}: both must be above 0")
    load(folder)
    base, credentials = check_address(base_url), load_credentials(folder)
    store = open_store(folder, database)
    try:
        until = time.time() + days * 86400
        issued = [store.invite(until, again) for _ in range(1 if again else count)]
    finally:
        store.close()
    return [
        Invitation(rater, f"{base}/join/{credentials.invitation(rater, edition)}")
        for rater, edition in issued
    ]


def serve(
    folder: Path,
    base_url: str,
    *,
    host: str,
    port: int,
    database: str | None = None,
    ready: Callable[[], None],
) -> None:
    """Serve a study until interrupted. From its first start on, its file is fixed.

    Args:
        folder: the study's.
        base_url: where browsers reach it.
        host: to listen on.
        port: to listen on.
        database: where answers go.
        ready: called when everything is in order, before the first request is taken.

    Raises:
        StudyError: the study is not the registered one, or the database cannot be reached.
        ValueError: no study is here, a video is missing, or the address makes no sense.
    """
    import uvicorn

    from evaluation.study.app import create_app
    from evaluation.study.desk import Desk

    base, study, credentials = check_address(base_url), load(folder), load_credentials(folder)
    check_videos(study, folder)
    store = open_store(folder, database)
    try:
        store.register(study)
        app = create_app(Desk(study, folder, store, credentials), base)
        ready()
        # Links are secrets, so no access log; nobody's address is needed, so no proxy headers.
        uvicorn.run(
            app, host=host, port=port, access_log=False, server_header=False, proxy_headers=False,
            log_level="warning",
        )  # fmt: skip
    finally:
        store.close()


def report(folder: Path, database: str | None = None) -> "tuple[Results, tuple[Path, Path, Path]]":
    """Work out a study and write `report/report.html`, `report.md` and `results.json`.

    Raises:
        StudyError: the database cannot be reached.
        ValueError: no study is here.
    """
    from evaluation.study.report import write_report
    from evaluation.study.results import collect

    study, store = load(folder), open_store(folder, database)
    try:
        results = collect(study, store)
    finally:
        store.close()
    return results, write_report(results, folder / "report")
