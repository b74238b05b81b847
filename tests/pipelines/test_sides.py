"""Where the films of a dataset stand already."""

import json
from pathlib import Path

from curation.catalog.datasets import publish_dataset
from curation.catalog.store import Catalog
from curation.records import DatasetRow, SampleRow, ShardRow
from curation.splits import SplitConfig, Standing
from pipelines.settings import Home
from pipelines.steps.sides import earlier_sides
from tests.curation.rows_for_catalog import plain


def publish(catalog: Catalog, home: Home, name: str, sides: dict[str, str], share: float) -> None:
    publish_id = f"{name} {sides} {share}"
    samples = [
        plain(SampleRow, publish_id=publish_id, sample_id=f"{film} {k}", video_id=film, split=side)
        for film, side in sides.items()
        for k in range(2)
    ]
    shards = [plain(ShardRow, publish_id=publish_id)]
    row = plain(DatasetRow, name=name, publish_id=publish_id, samples=len(samples), shards=1)
    version = publish_dataset(catalog, row, samples, shards).version
    folder = home.datasets / name / str(version)
    folder.mkdir(parents=True)
    config = {"split": {"val_share": share, "seed": 0}}
    (folder / "manifest.json").write_text(json.dumps({"config": config}))


def test_the_newest_side_and_the_first_version_of_a_film_count(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with Catalog.open(home.catalog()) as catalog:
        assert earlier_sides(catalog, home, "films", SplitConfig(0.1)) == {}
        publish(catalog, home, "films", {"a": "train", "b": "val"}, 0.1)
        publish(catalog, home, "films", {"a": "val", "z": "train"}, 0.5)
        publish(catalog, home, "other", {"a": "val", "z": "train"}, 0.1)
        publish(catalog, home, "films", {"b": "train", "c": "val"}, 0.1)
        assert earlier_sides(catalog, home, "films", SplitConfig(0.1)) == {
            "a": Standing(1, "train"), "b": Standing(1, "train"), "c": Standing(3, "val"),
        }  # fmt: skip
        (home.datasets / "films" / "3" / "manifest.json").unlink()
        assert earlier_sides(catalog, home, "films", SplitConfig(0.1)) == {
            "a": Standing(1, "train"), "b": Standing(1, "val"),
        }  # fmt: skip
