"""What every scorer shares: from judged frames of a film to the scores of its clips.

A scorer judges all evidence frames of a film, in their order and in batches of a fixed size, and
knows nothing of clips: so a frame's score depends on the film alone (the batch that a picture
stands in moves the last digits of a model's answer), and a frame of two clips is judged once. The
trade-off: frames that belong to no clip, those of transitions, are judged as well.
"""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from curation.errors import CurationError
from curation.traces import Traces

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

NO_FRAME = "no_evidence_inside_clip"

FLATTEST = 12.0
"""Standard deviation of a picture's luma at 32 x 32 below which it is flat. Of the development
films, black frames, fades and bare watermarks lie below 6, the faintest slide at 15."""
_FLATNESS_SIDE = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """What a scorer says of n pictures."""

    scores: F32
    """[n]."""
    telling: npt.NDArray[np.bool_]
    """[n] `tells_something` of each."""
    embeddings: F32 | None = None
    """[n, d], each of length 1; None where the scorer makes none."""
    hashes: U8 | None = None
    """[n, b] perceptual hashes of 8b bits; None where the scorer makes none."""


class Scorer(Protocol):
    """Judges pictures. Holds the model, so it is made once in each worker."""

    def judge(self, pictures: list[U8]) -> Judged:
        """Judge some pictures [h, w, 3], BGR, 8 bit."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClipScore:
    """What a scorer says of a clip, named as in `curation.records.ScoreRow`."""

    score: float | None
    frames: list[int]
    frame_scores: list[float]
    embedding: list[float] | None
    frame_hashes: list[str] | None
    reason: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class JudgedFilm:
    """What a scorer says of a film's evidence frames."""

    frames: npt.NDArray[np.int32]
    """[n] frame numbers, rising."""
    judged: Judged

    def clip(self, start: int, end: int) -> ClipScore:
        """The score of the clip ``[start, end)``: the mean over its evidence frames."""
        first, last = (int(at) for at in np.searchsorted(self.frames, (start, end)))
        if first == last:
            return ClipScore(None, [], [], None, None, NO_FRAME)
        scores = self.judged.scores[first:last]
        return ClipScore(
            score=float(scores.mean(dtype=np.float64)),
            frames=self.frames[first:last].tolist(),
            frame_scores=scores.tolist(),
            embedding=self._embedding(first, last),
            frame_hashes=self._hashes(first, last),
            reason=None,
        )

    def _embedding(self, first: int, last: int) -> list[float] | None:
        """Mean over the telling frames, at length 1; None where fewer than half tell something."""
        if self.judged.embeddings is None:
            return None
        telling = self.judged.telling[first:last]
        if 2 * telling.sum() < len(telling):
            return None
        mean = self.judged.embeddings[first:last][telling].mean(axis=0, dtype=np.float64)
        unit: list[float] = (mean / np.linalg.norm(mean)).astype(np.float32).tolist()
        return unit

    def _hashes(self, first: int, last: int) -> list[str] | None:
        if self.judged.hashes is None:
            return None
        pairs = zip(self.judged.hashes[first:last], self.judged.telling[first:last], strict=True)
        return [bits.tobytes().hex() if telling else "" for bits, telling in pairs]


def judge_film(traces: Traces, scorer: Scorer, batch: int) -> JudgedFilm:
    """Judge all evidence frames of a film, `batch` at a time. No film is opened.

    Raises:
        CurationError: the evidence cannot be read.
    """
    numbers: list[npt.NDArray[np.int32]] = []
    judged: list[Judged] = []
    for frames, pictures in _pictures(traces, batch):
        numbers.append(frames)
        judged.append(scorer.judge(pictures))
    return JudgedFilm(np.concatenate(numbers), _together(judged))


def _pictures(traces: Traces, batch: int) -> Iterator[tuple[npt.NDArray[np.int32], list[U8]]]:
    for piece in traces.evidence_batches(batch):
        pictures = []
        for jpeg in piece["jpeg"].to_pylist():
            picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                raise CurationError(
                    f"evidence in {traces.folder} is damaged; remove that folder and curate again: "
                    "the film is then scanned anew"
                )
            pictures.append(picture.astype(np.uint8, copy=False))
        yield piece["frame"].to_numpy(), pictures


def _together(pieces: list[Judged]) -> Judged:
    embeddings = [piece.embeddings for piece in pieces if piece.embeddings is not None]
    hashes = [piece.hashes for piece in pieces if piece.hashes is not None]
    return Judged(
        scores=np.concatenate([piece.scores for piece in pieces]),
        telling=np.concatenate([piece.telling for piece in pieces]),
        embeddings=np.concatenate(embeddings) if embeddings else None,
        hashes=np.concatenate(hashes) if hashes else None,
    )


def tells_something(picture: U8) -> bool:
    """Whether a picture [h, w, 3], BGR, has structure enough to be known again.

    All black frames look alike, to a hash and to a model; none of them makes two films the same.
    """
    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    side = (_FLATNESS_SIDE, _FLATNESS_SIDE)
    return float(cv2.resize(luma, side, interpolation=cv2.INTER_AREA).std()) >= FLATTEST
