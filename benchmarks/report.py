"""How large the report of many clips is, and how long a browser takes to open it.

A version of synthetic clips is reported with as many pictures as a page holds; the pictures are
noise, which JPEG hates, so real pages are smaller. Then Chromium opens the file several times, each
in a fresh context, and a page of the same bytes without scripts is opened in between as the peer:
what a browser needs for reading and parsing alone.

    python -m benchmarks.report --clips 10000
"""

import argparse
import datetime as dt
import io
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from benchmarks.catalog import synthetic_clips
from curation.identities import digest
from curation.records import DatasetRow, ShardRow, VideoRow
from curation.report.collect import collect
from curation.report.document import Report
from curation.report.embedding import PageData, gallery_data, strip_data, whatif_data
from curation.report.gallery import shown
from curation.report.page import MAX_BYTES, render_report
from curation.report.strips import Strip, strip_of, strip_size
from curation.report.tables import IDENTITY, VersionTables
from curation.selection import SelectionPolicy, select
from pipelines.report import PICTURE_BYTES

TARGET_SECONDS = 2.0
PUBLISHED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
COMMAND = {"curate": ["tempo curate films"], "base": [], "preview": ["tempo preview"]}


def synthetic_version(
    clips: int, seed: int = 0, policy: SelectionPolicy | None = None
) -> VersionTables:
    """A version of made-up clips; every clip that the policy keeps is a sample of its own."""
    policy = policy or SelectionPolicy()
    drawn = synthetic_clips(clips, seed)
    names = [
        name
        for name in drawn.column_names
        if name not in {"derive_fingerprint", "missing", "recorded_at", "stream_index", *IDENTITY}
    ]
    table = drawn.select([*IDENTITY, *names]).sort_by("clip_id")
    table = table.append_column("licence", pa.nulls(clips, pa.string()))
    selection = select(table, policy)
    kept = table.filter(pa.array(selection.kept))
    films = sorted(set(table["video_id"].to_pylist()))
    samples = synthetic_samples(kept)
    return VersionTables(
        row=dataset_row(samples, len(films)),
        manifest={
            "dataset": "synthetic",
            "films": films,
            "lost": [],
            "fingerprints": {name: digest(name) for name in ("scan", "derive", "pack")},
            "config": {"captioners": ["describe"], "pack": {"short_side": None}},
        },
        policy=policy,
        recipe_policy=SelectionPolicy(),
        clips=table,
        selection=selection,
        set_aside={},
        taken_down=frozenset(),
        videos=[video_row(film, number) for number, film in enumerate(films)],
        samples=samples,
        shards=[shard_row(samples)],
        shard_states={"train-000000": "in place"},
        verified=None,
        captions=pa.table(
            {
                "clip_id": kept["clip_id"],
                "captioner": pa.array(["describe"] * kept.num_rows),
                "caption": samples["caption"],
                "reason": pa.nulls(kept.num_rows, pa.string()),
            }
        ),
        folder="datasets/synthetic/1",
    )


def synthetic_samples(kept: pa.Table) -> pa.Table:
    """A sample for each clip, every tenth film in validation."""
    films = sorted(set(kept["video_id"].to_pylist()))
    held_out = set(films[::10])
    rows = []
    for row in kept.to_pylist():
        side = "val" if row["video_id"] in held_out else "train"
        rows.append(
            {
                "sample_id": digest("sample", row["clip_id"]),
                "kind": "single",
                "video_id": row["video_id"],
                "clip_ids": [row["clip_id"]],
                "split": side,
                "shard": "train-000000",
                "frame_count": row["frame_count"],
                "width": row["width"],
                "height": row["height"],
                "caption": f"A made-up clip number {row['clip_id'][:6]}.",
                "licence": None,
            }
        )
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("sample_id", "kind", "video_id", "split", "shard")),
            ("clip_ids", pa.list_(pa.string())),
            *((name, pa.int64()) for name in ("frame_count", "width", "height")),
            *((name, pa.string()) for name in ("caption", "licence")),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def dataset_row(samples: pa.Table, films: int) -> DatasetRow:
    """The version's own row."""
    sides = samples["split"].to_pylist()
    return DatasetRow(
        name="synthetic",
        version=1,
        publish_id=digest("synthetic"),
        manifest_uri="datasets/synthetic/1/manifest.json",
        manifest_sha256=digest("manifest"),
        recipe="curate_production",
        films=films,
        samples=samples.num_rows,
        train_samples=sides.count("train"),
        val_samples=sides.count("val"),
        multi_samples=0,
        shards=1,
        seconds=float(samples["frame_count"].to_numpy().sum()) / 24,
        bytes=1_000_000,
        snapshots="{}",
        run_id="synthetic",
        recorded_at=PUBLISHED,
    )


def shard_row(samples: pa.Table) -> ShardRow:
    """One shard that holds everything."""
    frames = int(samples["frame_count"].to_numpy().sum())
    return ShardRow(
        publish_id=digest("synthetic"),
        shard="train-000000",
        split="train",
        bytes=1_000_000,
        samples=samples.num_rows,
        frames=frames,
        seconds=frames / 24,
        sha256=digest("shard"),
    )


def video_row(video_id: str, number: int) -> VideoRow:
    """A film that could be read."""
    absent: dict[str, Any] = dict.fromkeys(VideoRow.__dataclass_fields__)
    known: dict[str, Any] = {
        "video_id": video_id,
        "scan_fingerprint": digest("scan"),
        "uri": f"/films/film {number:05d}.mp4",
        "status": "ok",
        "transient": False,
        "container": "mov,mp4",
        "codec": "h264",
        "fps": 25.0,
        "duration_seconds": 600.0,
        "run_id": "synthetic",
        "recorded_at": PUBLISHED,
    }
    return VideoRow(**(absent | known))


def noisy_strips(clips: list[str], seed: int = 0) -> dict[str, Strip]:
    """A strip of noise for each clip, until the bytes for pictures are used up."""
    random = np.random.default_rng(seed)
    size = strip_size(len(clips), PICTURE_BYTES)
    strips: dict[str, Strip] = {}
    spent = 0
    for clip in clips:
        frames = random.integers(0, 255, (size.frames, 96, 160, 3), np.uint8)
        strip = strip_of([_jpeg(frame) for frame in frames], size)
        if spent + len(strip.jpeg) > PICTURE_BYTES:
            break
        strips[clip] = strip
        spent += len(strip.jpeg)
    return strips


def _jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def synthetic_page(version: VersionTables, *, pictures: bool = True) -> tuple[Report, str]:
    """The report of a synthetic version, with as many pictures as a page may hold, or none."""
    report = collect(version, None, {})
    chosen = shown(version, [])
    ids = version.clips["clip_id"].to_pylist()
    strips = noisy_strips([ids[clip.index] for clip in chosen]) if pictures else {}
    data = PageData(
        whatif=whatif_data(version, report, COMMAND),
        gallery=gallery_data(version, report, chosen),
        strips=strip_data(strips),
    )
    return report, render_report(report, data)


def seconds_to_open(browser: Browser, page: Path, ready: str) -> float:
    """Wall seconds until a page says that it can be used, in a context of its own."""
    context = browser.new_context()
    try:
        tab = context.new_page()
        begun = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector(ready, state="attached")
        return time.perf_counter() - begun
    finally:
        context.close()


def measure(page: Path, plain: Path, rounds: int) -> tuple[float, float]:
    """Median seconds to open the report and its peer, interleaved."""
    ours, peers = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for _ in range(rounds):
            ours.append(seconds_to_open(browser, page, "html[data-ready]"))
            peers.append(seconds_to_open(browser, plain, "body"))
        browser.close()
    return statistics.median(ours), statistics.median(peers)


def main() -> None:
    """Make the page, open it, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    version = synthetic_version(arguments.clips)
    begun = time.perf_counter()
    _, html = synthetic_page(version)
    made = time.perf_counter() - begun
    with tempfile.TemporaryDirectory(prefix="tempo-benchmark-") as folder:
        page, plain = Path(folder) / "report.html", Path(folder) / "plain.html"
        page.write_text(html, encoding="utf-8")
        plain.write_text(f"<!doctype html><body><pre hidden>{html[: len(html)]!a}", "utf-8")
        ours, peer = measure(page, plain, arguments.rounds)
    print(
        f"{arguments.clips:,} clips: {len(html.encode()) / 1e6:.1f} MB (limit "
        f"{MAX_BYTES / 1e6:.0f} MB), made in {made:.1f} s; opens in {ours:.2f} s (target "
        f"{TARGET_SECONDS:.0f} s), {ours / peer:.1f}x the time of a page of the same bytes that "
        "only shows text"
    )


if __name__ == "__main__":
    main()
