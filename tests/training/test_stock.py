"""The same shards through webdataset itself."""

import numpy as np
import pytest

from tests.training.tiny_dataset import TinyDataset, stamp
from training.errors import TrainingDataError
from training.stock import stock_pipeline

# webdataset leaves the last tar of an iteration to the garbage collector.
LEAVES_TAR_OPEN = pytest.mark.filterwarnings(
    "ignore:.*unclosed file:ResourceWarning",
    "ignore:Exception ignored in. <_io:pytest.PytestUnraisableExceptionWarning",
)


@LEAVES_TAR_OPEN
@pytest.mark.parametrize(("split", "rate"), [("train", 6), ("val", 24)])
def test_whole_samples_in_order(tiny: TinyDataset, split: str, rate: int) -> None:
    seen = set()
    for sample in stock_pipeline(tiny.manifest, split=split, rate=rate):
        document = tiny.documents[sample["__key__"]]
        frames = sample["frames"].numpy()
        assert frames.dtype == np.uint8
        assert list(map(stamp, frames)) == tiny.stamps(sample["__key__"])[:: 24 // rate]
        assert sample["document"] == document
        assert sample["caption"] == document["caption"]
        seen.add(sample["__key__"])
    assert seen == tiny.of_split(split).keys()


@LEAVES_TAR_OPEN
def test_webdataset_s_own_stages_follow(tiny: TinyDataset) -> None:
    shuffled = stock_pipeline(tiny.manifest, shuffle_shards=4, rate=6).shuffle(100, initial=100)
    keys = [sample["__key__"] for sample in shuffled]
    assert sorted(keys) == sorted(tiny.of_split("train"))


def test_a_split_that_is_empty_is_named(tiny: TinyDataset) -> None:
    with pytest.raises(TrainingDataError, match=r"'test', all are in train, val"):
        stock_pipeline(tiny.manifest, split="test")
