"""The importer, on files in the form of VBench's own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.suites import read_suite
from evaluation.vbench_i2v import import_suite

CLIFF = "a beach with a lot of buildings on the side of a cliff"
INFO = [
    {
        "prompt_en": CLIFF,
        "dimension": [
            "i2v_background", "background_consistency", "aesthetic_quality", "imaging_quality",
            "temporal_flickering",
        ],
        "image_type": "architecture",
        "image_name": f"{CLIFF}.jpg",
    },
    {
        "prompt_en": f"{CLIFF}, camera pans left",
        "dimension": ["camera_motion"],
        "image_type": "architecture",
        "image_name": f"{CLIFF}.jpg",
    },
    # As early versions of the list have it.
    {
        "prompt_en": "Ein Eichhörnchen",
        "dimension": ["i2v_subject"],
        "image_type": "animal",
        "image_name": "squirrel.jpg",
    },
]  # fmt: skip
BOXES = [
    {"file_name": f"{CLIFF}.jpg", "diff_ratio_crop": {"16-9": [0, 8, 64, 36], "1-1": [0, 0, 8, 8]}},
    {"file_name": "squirrel.jpg", "diff_ratio_crop": {"16-9": [16, 0, 32, 18]}},
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (64, 1, 3))
    (tmp_path / "origin").mkdir()
    for picture in BOXES:
        Image.fromarray(ramp).save(tmp_path / "origin" / str(picture["file_name"]), quality=95)
    write(tmp_path / "info.json", INFO)
    write(tmp_path / "boxes.json", BOXES)
    return tmp_path


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def test_pictures_that_are_cut_already(files: Path) -> None:
    out = files / "suite.jsonl"
    assert import_suite(files / "info.json", files / "origin", out) == 2
    cliff, squirrel = read_suite(out).prompts
    assert cliff.text == CLIFF
    assert cliff.dimensions == ("background_consistency", "imaging_quality", "aesthetic_quality")
    assert squirrel.id == "001-ein-eichhornchen"
    assert squirrel.dimensions == (
        "subject_consistency", "motion_smoothness", "dynamic_degree", "imaging_quality",
        "aesthetic_quality",
    )  # fmt: skip
    assert squirrel.image == files / "origin" / "squirrel.jpg"
    assert "Pexels" in squirrel.licence


def test_whole_pictures_are_cut_by_their_boxes(files: Path) -> None:
    out = files / "suite.jsonl"
    import_suite(files / "info.json", files / "origin", out, boxes=files / "boxes.json")
    _, squirrel = read_suite(out).prompts
    assert squirrel.image is not None
    with Image.open(squirrel.image) as cut:
        assert cut.size == (32, 18)
        left, right = (np.asarray(cut)[:, at].mean() for at in (0, -1))
    assert left == pytest.approx(16 * 4, abs=6)
    assert right == pytest.approx(47 * 4, abs=6)


@pytest.mark.parametrize(
    ("info", "boxes", "message"),
    [
        ({"prompt": 1}, BOXES, "not VBench's list of Entry"),
        ([{"prompt_en": "p"}], BOXES, "not VBench's list of Entry"),
        ([INFO[1]], BOXES, "no prompt in it"),
        ([INFO[0] | {"image_name": "../secret.jpg"}], BOXES, "no file's name"),
        ([INFO[0] | {"image_name": "none.jpg"}], BOXES, "no 16-9 box"),
        (INFO, [BOXES[1]], "no 16-9 box"),
        (INFO, [BOXES[0] | {"diff_ratio_crop": {"16-9": [0, 8, 65, 36]}}], "not inside"),
        (INFO, "boxes", "not VBench's list of Boxes"),
    ],
)
def test_hostile_files(files: Path, info: Any, boxes: Any, message: str) -> None:
    write(files / "info.json", info)
    write(files / "boxes.json", boxes)
    out = files / "suite.jsonl"
    with pytest.raises(ValueError, match=message):
        import_suite(files / "info.json", files / "origin", out, boxes=files / "boxes.json")
    assert not out.exists()


def test_a_shape_that_has_no_boxes(files: Path) -> None:
    with pytest.raises(ValueError, match="5-4"):
        import_suite(files / "info.json", files / "origin", files / "s.jsonl", ratio="5-4")
