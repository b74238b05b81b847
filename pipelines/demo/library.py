"""Render the demo library: films, captions beside them, a manifest, and the truth about them.

Films are independent, so they are rendered in parallel processes, each with one thread. A film is
written under a temporary name and renamed; only then does it enter ``truth.json``, so that a film
listed there is complete, and a run that was killed continues where it stopped. A second run on the
same folder waits for the first.
"""

import csv
import dataclasses
import hashlib
import io
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
from filelock import FileLock

from curation.unfinished import replacing
from curation.video.encode import EncodeSettings, FilmWriter
from pipelines.demo.films import FILMS
from pipelines.demo.timeline import Film, frame_count, pictures, timestamps
from pipelines.demo.truth import LICENCE, FilmTruth, film_truth

TRUTH_FILE = "truth.json"
MANIFEST_FILE = "manifest.csv"
"""For `tempo curate` instead of the folder: with it the licence reaches the samples."""
_ENCODING = EncodeSettings(crf=18, preset="veryfast", gop=48)

Progress = Callable[[int, int, str], None]
"""Called with how many films are there, how many there will be, and the name of the newest."""


def library_truth(films: Sequence[Film] = FILMS) -> tuple[FilmTruth, ...]:
    """What is true of the films, without rendering any."""
    return tuple(film_truth(film) for film in films)


def library_version() -> str:
    """Hash of the code that paints the films: other code may give other pictures."""
    source = hashlib.sha256()
    folder = Path(__file__).parent
    for file in sorted(folder.rglob("*.py")):
        source.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return source.hexdigest()[:16]


def render_library(
    folder: Path,
    workers: int = 2,
    *,
    films: Sequence[Film] = FILMS,
    progress: Progress | None = None,
) -> Path:
    """Bring a folder to hold the demo library; what is there already is not rendered again.

    Args:
        folder: is made where it is missing.
        workers: how many films are rendered at the same time.
        films: which films.
        progress: told after each film, also after those that were there.

    Returns:
        The file with the truth.

    Raises:
        ValueError: fewer than one worker, or the folder holds files of the same names that are not
            of the demo library.
        EncodeError: a film cannot be written.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers}: rendering needs at least 1")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        whole = _kept(folder, films)
        _write_records(folder, films, whole)
        for count, name in enumerate(whole, start=1):
            _tell(progress, count, len(films), name)
        missing = [film for film in films if film.name not in whole]
        for name, sha256 in _rendered(folder, missing, workers):
            whole[name] = sha256
            _write_records(folder, films, whole)
            _tell(progress, len(whole), len(films), name)
    return folder / TRUTH_FILE


def render_film(film: Film, folder: Path) -> str:
    """Render one film into a folder, its caption beside it.

    Returns:
        The sha256 of the film's bytes.

    Raises:
        EncodeError: the film cannot be written.
    """
    target = folder / f"{film.name}.mp4"
    ticks, unit = timestamps(film)
    with (
        replacing(target) as partial,
        FilmWriter(
            partial, *film.size, fps=film.rate, time_base=unit, settings=_ENCODING
        ) as writer,
    ):
        for tick, picture in zip(ticks, pictures(film), strict=True):
            writer.write_rgb(picture, tick)
    if film.caption is not None:
        target.with_suffix(".txt").write_text(film.caption + "\n", encoding="utf-8")
    return _sha256(target)


def _rendered(folder: Path, films: Sequence[Film], workers: int) -> Iterator[tuple[str, str]]:
    """Render films and yield name and sha256 of each, in the order in which they are done."""
    # The longest first: a long film begun last would leave the other processes idle.
    queue = sorted(films, key=lambda film: -frame_count(film) * film.size.width)
    if workers == 1 or len(queue) < 2:
        for film in queue:
            yield film.name, render_film(film, folder)
        return
    context = multiprocessing.get_context("spawn")  # forking a process with threads may hang
    with ProcessPoolExecutor(
        min(workers, len(queue)), context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        jobs = {pool.submit(render_film, film, folder): film.name for film in queue}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _kept(folder: Path, films: Sequence[Film]) -> dict[str, str]:
    """Films that are there as they should be, with their sha256; what is outdated is removed."""
    version, recorded = _recorded(folder, films)
    wanted = {film.name: film for film in films}
    whole = {}
    for name, sha256 in recorded.items():
        current = version == library_version() and name in wanted
        if current and _is_intact(folder, wanted[name], sha256):
            whole[name] = sha256
        else:
            (folder / f"{name}.mp4").unlink(missing_ok=True)
            (folder / f"{name}.txt").unlink(missing_ok=True)
    return whole


def _is_intact(folder: Path, film: Film, sha256: str) -> bool:
    file, text = folder / f"{film.name}.mp4", folder / f"{film.name}.txt"
    captioned = film.caption is None or text.is_file()
    return captioned and file.is_file() and _sha256(file) == sha256


def _recorded(folder: Path, films: Sequence[Film]) -> tuple[str, dict[str, str]]:
    """Version of the library in a folder, and the sha256 of each film by name."""
    file = folder / TRUTH_FILE
    if not file.exists():
        for film in films:
            if (folder / f"{film.name}.mp4").exists():
                raise ValueError(
                    f"{folder / film.name}.mp4 is there but no {TRUTH_FILE}: it is not of the demo "
                    "library and would be replaced; choose another folder"
                )
        return "", {}
    try:
        truth = json.loads(file.read_text(encoding="utf-8"))
        hashes = {Path(film["file"]).stem: str(film["sha256"]) for film in truth["films"]}
        return str(truth["version"]), hashes
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is not the truth of a demo library: choose another folder, or remove that file"
        ) from error


def _write_records(folder: Path, films: Sequence[Film], whole: dict[str, str]) -> None:
    """Write the manifest and the truth of the films that are there."""
    there = [(film_truth(film), whole[film.name]) for film in films if film.name in whole]
    rows = io.StringIO(newline="")
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(("uri", "licence", "caption"))
    table.writerows((truth.file, truth.licence, truth.caption) for truth, _ in there)
    _replace(folder / MANIFEST_FILE, rows.getvalue())
    record = {
        "version": library_version(),
        "licence": LICENCE,
        "films": [dataclasses.asdict(truth) | {"sha256": sha256} for truth, sha256 in there],
    }
    _replace(folder / TRUTH_FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _replace(file: Path, text: str) -> None:
    """Write a text file in one step."""
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tell(progress: Progress | None, count: int, total: int, name: str) -> None:
    if progress is not None:
        progress(count, total, name)
