import io

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.report import synthetic_version
from curation.report.leakage import clip_hash, frame_hash, leakage, look_alikes, sides


def picture(seed: int) -> Image.Image:
    """A smooth scene of its own, as films are and noise is not."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), np.uint8)
    return Image.fromarray(cv2.resize(coarse, (512, 288), interpolation=cv2.INTER_CUBIC))


def jpeg(image: Image.Image, quality: int = 88) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def hashed(*images: Image.Image, quality: int = 88) -> np.ndarray:
    found = clip_hash([frame_hash(jpeg(image, quality)) for image in images])
    assert found is not None
    return found


def test_a_worse_and_smaller_copy_is_found_and_a_stranger_is_not() -> None:
    scene = [picture(seed) for seed in (1, 2, 3)]
    copy = [image.resize((320, 180)) for image in scene]
    train = {"scene": hashed(*scene), "stranger": hashed(*[picture(seed) for seed in (7, 8, 9)])}
    (pair,) = look_alikes(train, {"copy": hashed(*copy, quality=40)})
    assert (pair.train, pair.val) == ("scene", "copy")
    assert pair.distance < 0.08


def test_most_frames_have_to_agree() -> None:
    shared, own = picture(1), [picture(seed) for seed in (2, 3, 4, 5)]
    train = {"a": hashed(shared, own[0], own[1])}
    assert not look_alikes(train, {"b": hashed(shared, own[2], own[3])})


def test_blank_frames_prove_nothing() -> None:
    blank = jpeg(Image.new("RGB", (512, 288), (12, 12, 12)))
    assert frame_hash(blank) == b""
    assert clip_hash([b"", b""]) is None


def test_a_film_on_both_sides_is_named() -> None:
    version = synthetic_version(60)
    assert not leakage(version, {}).films_on_both_sides
    film = version.samples["video_id"][0].as_py()
    here = [place for place, of in enumerate(version.samples["video_id"].to_pylist()) if of == film]
    assert len(here) > 1
    split = version.samples["split"].to_pylist()
    split[here[0]] = {"train": "val", "val": "train"}[split[here[0]]]
    index = version.samples.column_names.index("split")
    mixed = version.samples.set_column(index, "split", [split])
    assert leakage(
        type(version)(**{**vars_of(version), "samples": mixed}), {}
    ).films_on_both_sides == (film,)


def vars_of(version: object) -> dict[str, object]:
    return {name: getattr(version, name) for name in type(version).__dataclass_fields__}


def test_pairs_are_reported_with_what_was_compared() -> None:
    version = synthetic_version(400)
    (train, *_), (val, *_) = sides(version).values()
    same = hashed(picture(1), picture(2), picture(3))
    found = leakage(version, {train: same, val: same})
    assert found.pairs_found == 1
    assert (found.pairs[0].train, found.pairs[0].val) == (train, val)
    assert found.pairs[0].distance == 0.0
    assert (found.compared_train, found.compared_val) == (1, 1)
    assert found.total_train + found.total_val == pytest.approx(version.packed.sum())
