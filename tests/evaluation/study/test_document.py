"""The study file: what is refused, and that what is read is what was written."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.study.document import Mode, check_videos, fingerprint, load, save
from evaluation.study.scales import APPENDIX_C
from tests.evaluation.study.small import clip_id, one_gold, one_training, study_of


def test_json_and_toml_say_the_same(tmp_path: Path) -> None:
    study = study_of(training=one_training(), gold=one_gold(motion_quality=(1, 2)), repeats=2)
    save(study, tmp_path)
    assert load(tmp_path) == study
    (tmp_path / "study.json").rename(tmp_path / "kept")
    (tmp_path / "study.toml").write_text(toml_of(json.loads((tmp_path / "kept").read_text())))
    assert load(tmp_path) == study
    assert fingerprint(load(tmp_path)) == fingerprint(study)
    (tmp_path / "kept").rename(tmp_path / "study.json")
    with pytest.raises(ValueError, match="both study"):
        load(tmp_path)


def toml_of(document: dict[str, Any]) -> str:
    """Inline tables only; TOML has no null, so what is None is left out."""

    def value(inner: Any) -> str:
        if isinstance(inner, dict):
            pairs = [f"{json.dumps(k)} = {value(v)}" for k, v in inner.items() if v is not None]
            return "{" + ", ".join(pairs) + "}"
        if isinstance(inner, list):
            return "[" + ", ".join(map(value, inner)) + "]"
        return json.dumps(inner)

    return "\n".join(
        f"{name} = {value(inner)}" for name, inner in document.items() if inner is not None
    )


def test_any_change_changes_the_fingerprint() -> None:
    study = study_of()
    stricter = dataclasses.replace(study.exclusion, min_gold_share=0.9)
    for changed in (
        dataclasses.replace(study, exclusion=stricter),
        dataclasses.replace(study, seed=8),
        dataclasses.replace(study, dimensions=APPENDIX_C[::-1]),
    ):
        assert fingerprint(changed) != fingerprint(study)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["title"], " ", "title"),
        (["sytems"], [], "sytems: Unexpected keyword argument"),
        (["schema_version"], 2, "schema_version = 2"),
        (["mode"], "triplets", "mode: Input should be 'rating' or 'pairwise'"),
        (["systems"], ["system 0", "system 0"], "stands there twice"),
        (["items", 1, "id"], "item 0", "'item 0' is empty or stands there twice"),
        (["items", 0, "videos", "system 0"], "ffffffffffffffff", "is shown, but not described"),
        (["items", 0, "videos"], {}, "every system shows every item"),
        (["container", "width"], 191, "even sides"),
        (["repeats"], 7, "repeats = 7: give 0 to 6"),
        (["items_per_rater"], 5, "items_per_rater = 5: give 1 to 4"),
        (["showings_per_item"], 0, "showings_per_item = 0"),
        (["reference"], "ours", "no such system"),
        (["exclusion", "min_gold_share"], 1.5, "exclusion: exclusion.min_gold_share"),
        (["gold", 0, "accept"], {"motion": [1, 2]}, "no dimension 'motion'"),
        (["gold", 0, "accept"], {"motion_quality": [0, 2]}, "lowest and highest of 1 to 5"),
        (["gold", 0, "accept"], {}, "name at least one"),
        (["gold", 0, "videos"], [], "0 videos, a rating study shows 1"),
        (["dimensions", 0, "name"], "Motion!", "dimension name"),
        (["dimensions"], [], "ask at least one thing"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, path: list[Any], value: Any, words: str) -> None:
    save(study_of(gold=one_gold(motion_quality=(1, 2))), tmp_path)
    file = tmp_path / "study.json"
    document = json.loads(file.read_text())
    *way, last = path
    place = document
    for step in way:
        place = place[step]
    place[last] = value
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="study") as refused:
        load(tmp_path)
    assert words in str(refused.value)


@pytest.mark.parametrize("clip", ["../../etc/passwd", "ABCDEF0123456789", "abc", ""])
def test_clip_ids_are_only_hex(clip: str) -> None:
    study = study_of()
    with pytest.raises(ValueError, match="16 hex digits"):
        dataclasses.replace(study, clips=study.clips | {clip: study.clips[clip_id("gold")]})


def test_no_study_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tempo study new"):
        load(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load(tmp_path)


def test_videos_must_be_in_place(tmp_path: Path) -> None:
    study = study_of(1, 1)
    (tmp_path / "videos").mkdir()
    for clip in study.clips:
        (tmp_path / "videos" / f"{clip}.mp4").write_bytes(bytes(1000))
    check_videos(study, tmp_path)
    gone = next((tmp_path / "videos").iterdir())
    gone.write_bytes(bytes(999))
    with pytest.raises(ValueError, match="999 bytes, not 1000"):
        check_videos(study, tmp_path)
    gone.unlink()
    with pytest.raises(ValueError, match="missing"):
        check_videos(study, tmp_path)


def test_pairs_and_answers_by_mode() -> None:
    rating, pairs = study_of(), study_of(mode=Mode.PAIRWISE)
    assert (list(rating.answers), list(pairs.answers)) == ([1, 2, 3, 4, 5], [-1, 0, 1])
    assert pairs.treatments == pairs.pairs == (
        ("system 0", "system 1"), ("system 0", "system 2"), ("system 1", "system 2"),
    )  # fmt: skip
    with pytest.raises(ValueError, match="needs at least 2"):
        study_of(1, mode=Mode.PAIRWISE)
