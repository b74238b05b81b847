"""The job that makes an evaluation's report: numbers read, videos found, a page written.

The page stands beside `evaluation.json` in the run's folder. Small videos are embedded, so that the
page can be sent; larger ones are linked relatively, so that it must stay in its home. Nothing is
generated or judged.
"""

import base64
import contextlib
import dataclasses
import datetime as dt
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import filelock
from PIL import Image

from curation.unfinished import replacing
from evaluation.aggregate import by_prompt, compared
from evaluation.errors import EvaluationError
from evaluation.report.choosing import shown_prompts
from evaluation.report.page import Media, render_report
from evaluation.results import SCHEMA_VERSION, Comparison, Evaluation, JudgedVideo, PromptShown
from evaluation.statistics import Draws
from evaluation.suites import Suite
from pipelines.evaluate_cells import VIDEO
from pipelines.settings import Home, typed_config

NUMBERS, PAGE = "evaluation.json", "report.html"
_LOCK = ".lock"
EMBEDDED_BYTES = 10_000_000
"""All videos together: base64 makes 13 MB of them. More are linked."""
_PICTURE_HEIGHT = 96
LATEST = "latest"


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenEvaluation:
    """Where a report is.

    Attributes:
        evaluation: its id.
        against: id of the one it is held against.
        page: the file.
        videos: that it plays.
        embedded: whether they stand in the page.
        bytes: of the page.
    """

    evaluation: str
    against: str | None
    page: str
    videos: int
    embedded: bool
    bytes: int


def write_report(home: Home, run: str, against: str | None) -> WrittenEvaluation:
    """Make the report of an evaluation anew.

    Args:
        home: where it was made.
        run: its id, the beginning of one, or ``latest``.
        against: another one, likewise.

    Raises:
        EvaluationError: no such evaluation, or several.
    """
    evaluation = read_evaluation(home, run)
    other = read_evaluation(home, against) if against is not None else None
    return write_page(home, evaluation, other, {})


@contextlib.contextmanager
def written_alone(home: Home, evaluation: str) -> Iterator[Path]:
    """Lend the folder of an evaluation to one process at a time, made if needed.

    Two runs of the same evaluation help each other with its videos, and so end together: their
    files have the same names until they are whole.
    """
    folder = home.runs / evaluation
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / _LOCK):
        yield folder


def write_page(
    home: Home,
    evaluation: Evaluation,
    against: Evaluation | None,
    images: Mapping[str, Path],
) -> WrittenEvaluation:
    """Write the page of an evaluation that is at hand.

    Args:
        home: that holds the videos.
        evaluation: shown.
        against: held against it.
        images: prompt -> its picture; kept beside the page for later reports.
    """
    changes = changes_against(evaluation, against)
    with written_alone(home, evaluation.id) as folder:
        media = _media(home, folder, evaluation, against, images)
        page = render_report(evaluation, against, changes, media).encode()
        with replacing(folder / PAGE) as partial:
            partial.write_bytes(page)
    return WrittenEvaluation(
        evaluation=evaluation.id,
        against=against.id if against else None,
        page=str(folder / PAGE),
        videos=len(media.videos),
        embedded=not media.linked,
        bytes=len(page),
    )


def read_evaluation(home: Home, run: str) -> Evaluation:
    """Find an evaluation by its id, the beginning of one, or ``latest``, finished last.

    Raises:
        EvaluationError: none or several of that name, or it is of another version of this code; or
            which is the latest cannot be told.
    """
    there = {path.parent.name: path for path in home.runs.glob(f"*/{NUMBERS}")}
    if run == LATEST and there:
        run = max(there, key=lambda name: (_finished(there[name]), name))
    found = [run] if run in there else sorted(name for name in there if name.startswith(run))
    if len(found) != 1:
        known = ", ".join(sorted(found or there)) or "none yet: tempo evaluate makes them"
        many = "several evaluations begin" if found else "no evaluation begins"
        raise EvaluationError(f"{many} with {run!r}; there are {known}")
    path = there[found[0]]
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema_version"] != SCHEMA_VERSION:
            raise EvaluationError(
                f"{path} is of another version of tempomaster: run the same tempo evaluate again, "
                "which makes no video twice"
            )
        return typed_config(Evaluation, document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} cannot be read: {error}") from error


def _finished(numbers: Path) -> dt.datetime:
    """When an evaluation was finished, by its own word: a copied home has other times of its files.

    Raises:
        EvaluationError: it does not say. It may be the latest, so no other is taken for it.
    """
    try:
        document = json.loads(numbers.read_text(encoding="utf-8"))
        return dt.datetime.fromisoformat(document["origin"]["finished"]).astimezone(dt.UTC)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{numbers} does not say when it was finished ({error!r}), so which evaluation is the "
            f"{LATEST} cannot be told: name one by its id, or remove that folder"
        ) from error


def changes_against(
    evaluation: Evaluation, against: Evaluation | None
) -> dict[str, dict[str, Comparison]]:
    """Variant's label -> measure -> the report's own minus the other, where both have the variant.

    Only what is the same in both is compared: prompts by their words and picture, for other suites
    use the same ids, and metrics by their fingerprint, for profiles share names. Intervals draw
    prompts as the evaluation itself did.
    """
    if against is None:
        return {}
    theirs = {_asked(prompt) for prompt in against.prompts}
    known = {prompt.id for prompt in evaluation.prompts if _asked(prompt) in theirs}
    theirs_by = {name: judge.fingerprint for name, judge in against.origin.metrics.items()}
    alike = {
        name
        for name, judge in evaluation.origin.metrics.items()
        if theirs_by.get(name) == judge.fingerprint
    }
    draws = Draws(
        [prompt.id for prompt in evaluation.prompts], **evaluation.origin.config["confidence"]
    )
    others = {result.variant: number for number, result in enumerate(against.variants)}
    changes = {}
    for number, result in enumerate(evaluation.variants):
        if result.variant not in others:
            continue
        first, second = (
            by_prompt(
                evaluation.prompts,
                [
                    _judged_by(alike, video)
                    for video in run.videos
                    if video.variant == variant and video.prompt in known
                ],
            )
            for run, variant in ((against, others[result.variant]), (evaluation, number))
        )
        found = compared((number, first), (number, second), draws)
        changes[result.label] = {comparison.measure: comparison for comparison in found}
    return changes


def _asked(prompt: PromptShown) -> tuple[str, str, str]:
    return prompt.id, prompt.text, prompt.image_sha256


def _judged_by(metrics: Collection[str], video: JudgedVideo) -> JudgedVideo:
    """The video with what these metrics say alone."""
    kept = {name: result for name, result in video.metrics.items() if name in metrics}
    return dataclasses.replace(video, metrics=kept)


def _media(
    home: Home,
    folder: Path,
    evaluation: Evaluation,
    against: Evaluation | None,
    images: Mapping[str, Path],
) -> Media:
    runs = [evaluation] if against is None else [evaluation, against]
    prompts = set(shown_prompts(evaluation, against))
    paths = {
        video.key: path
        for run in runs
        for video in run.videos
        if video.prompt in prompts and (path := home.generated / video.key / VIDEO).is_file()
    }
    linked = sum(path.stat().st_size for path in paths.values()) > EMBEDDED_BYTES
    videos = {
        key: os.path.relpath(path, folder) if linked else _address("video/mp4", path.read_bytes())
        for key, path in paths.items()
    }
    return Media(videos, _pictures(folder, prompts, images), linked)


def _pictures(folder: Path, prompts: Iterable[str], images: Mapping[str, Path]) -> dict[str, str]:
    """Small first frames; made once, for the suite's own may be elsewhere later."""
    kept = folder / "pictures"
    found = {}
    for prompt in prompts:
        small = kept / f"{prompt}.jpg"
        if prompt in images and not small.is_file():
            kept.mkdir(exist_ok=True)
            with Image.open(images[prompt]) as picture, replacing(small) as partial:
                picture.thumbnail((_PICTURE_HEIGHT * 4, _PICTURE_HEIGHT))
                picture.convert("RGB").save(partial, format="JPEG", quality=80)
        if small.is_file():
            found[prompt] = _address("image/jpeg", small.read_bytes())
    return found


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def images_of(suite: Suite) -> dict[str, Path]:
    """The pictures of a suite that is at hand."""
    return {prompt.id: prompt.image for prompt in suite.prompts if prompt.image is not None}
