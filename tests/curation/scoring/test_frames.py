"""From frames to clips: means over the right frames, and evidence that is read in fixed batches."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import CurationError
from curation.scoring.frames import NO_FRAME, Judged, JudgedFilm, judge_film
from curation.traces import EVIDENCE, EVIDENCE_SCHEMA, Traces

U8 = npt.NDArray[np.uint8]


class MeanLevel:
    """A scorer that says how light a picture is, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def judge(self, pictures: list[U8]) -> Judged:
        self.batches.append(len(pictures))
        levels = np.array([picture.mean() for picture in pictures], np.float32)
        return Judged(levels, telling=levels > 10)


def evidence(folder: Path, levels: list[int], every: int = 12) -> Traces:
    """Evidence of flat grey pictures, in row groups of 4."""
    folder.mkdir(exist_ok=True)
    jpegs = [cv2.imencode(".jpg", np.full((32, 32, 3), level, np.uint8))[1] for level in levels]
    table = pa.table(
        {
            "frame": [every * number for number in range(len(levels))],
            "width": [32] * len(levels),
            "height": [32] * len(levels),
            "jpeg": [jpeg.tobytes() for jpeg in jpegs],
        },
        schema=EVIDENCE_SCHEMA,
    )
    pq.write_table(table, folder / EVIDENCE, row_group_size=4)
    return Traces(folder)


def film(scores: list[float], every: int = 12, **fields: object) -> JudgedFilm:
    values = np.array(scores, np.float32)
    frames = np.arange(len(scores), dtype=np.int32) * every
    given_ = {"telling": np.ones(len(scores), np.bool_)} | fields
    return JudgedFilm(frames, Judged(values, **given_))  # type: ignore[arg-type] - fields by name


def test_every_frame_is_judged_once_in_batches_of_the_asked_size(tmp_path: Path) -> None:
    scorer = MeanLevel()
    judged = judge_film(evidence(tmp_path, list(range(0, 220, 20))), scorer, batch=5)
    assert scorer.batches == [5, 5, 1]
    assert judged.frames.tolist() == [12 * number for number in range(11)]
    assert judged.judged.scores == pytest.approx(range(0, 220, 20), abs=1)


def test_damaged_evidence_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    traces = evidence(tmp_path, [10, 20])
    table = pq.read_table(tmp_path / EVIDENCE)
    broken = table.set_column(3, table.schema.field(3), pa.array([b"no picture"] * 2, pa.binary()))
    pq.write_table(broken, tmp_path / EVIDENCE)
    with pytest.raises(CurationError, match=f"{tmp_path.name} is damaged"):
        judge_film(traces, MeanLevel(), 5)
    (tmp_path / EVIDENCE).write_bytes(b"no table")
    with pytest.raises(CurationError, match="cannot be read"):
        judge_film(traces, MeanLevel(), 5)


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=20), st.data())
def test_a_clip_has_the_mean_of_its_own_frames(scores: list[float], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, 12 * len(scores)))
    end = data.draw(st.integers(start, 12 * len(scores)))
    inside = [number for number in range(len(scores)) if start <= 12 * number < end]
    clip = film(scores).clip(start, end)
    assert clip.frames == [12 * number for number in inside]
    assert clip.frame_scores == [scores[number] for number in inside]
    if inside:
        assert clip.score == pytest.approx(np.mean([scores[number] for number in inside]))
        assert clip.reason is None
    else:
        assert (clip.score, clip.reason) == (None, NO_FRAME)


def test_embedding_is_the_unit_mean_of_telling_frames() -> None:
    embeddings = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    telling = np.array([True, True, False, False])
    judged = film([1, 2, 3, 4], embeddings=embeddings, telling=telling)
    assert judged.clip(0, 48).embedding == pytest.approx([2**-0.5, 2**-0.5])
    assert judged.clip(12, 48).embedding is None  # most of it tells nothing
    assert judged.clip(24, 48).score == pytest.approx(3.5)  # and has a score all the same


def test_hashes_stand_beside_their_frames_and_are_empty_where_flat() -> None:
    hashes = np.array([[1, 2], [3, 4], [255, 0]], np.uint8)
    judged = film([1, 2, 3], hashes=hashes, telling=np.array([True, False, True]))
    assert judged.clip(0, 36).frame_hashes == ["0102", "", "ff00"]
    assert film([1]).clip(0, 12).frame_hashes is None
