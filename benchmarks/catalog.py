"""How long it takes to select and plan a dataset version among millions of clips.

Synthetic clips, each under two derive fingerprints, go into a catalog in a temporary folder. Then,
in a fresh process each, so that its peak memory is its own: what `tempo curate` does (choose among
the clips of one fingerprint, assign films to sides, plan shards), and as a peer DuckDB over the
same Parquet files with the policy as SQL, which keeps the same clips but neither orders nor plans.

    python -m benchmarks.catalog --clips 3000000
"""

import argparse
import dataclasses
import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.measure import peak_bytes
from curation.catalog.connection import CatalogSettings
from curation.catalog.schema import TABLES
from curation.catalog.store import Catalog
from curation.derive import DeriveConfig
from curation.identities import digest
from curation.multishot import MultiShotConfig, assemble
from curation.records import VideoRow
from curation.scan import ScanConfig
from curation.selection import COLUMNS, SelectionPolicy
from curation.shards.planning import PackConfig, plan_shards
from curation.splits import SplitConfig, split_of_groups
from pipelines.steps.choose import choose

SCAN, DERIVE = ScanConfig(), DeriveConfig()
FINGERPRINTS = (digest("another derivation"), DERIVE.fingerprint(SCAN.fingerprint))
CLIPS_PER_FILM = 40
ROWS_PER_APPEND = 250_000
TARGET_SECONDS = 20.0
TARGET_BYTES = 3e9
PLANNED = ["clip_id", "video_id", "frame_count", "width", "height"]
POLICY = SelectionPolicy()
FILMS = "films.json"


def hex_ids(rng: np.random.Generator, count: int) -> pa.Array:
    """Random ids of 32 hex digits, built without a Python object each."""
    text = rng.bytes(16 * count).hex().encode()
    offsets = np.arange(count + 1, dtype=np.int32) * 32
    return pa.Array.from_buffers(
        pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    )


def synthetic_clips(count: int, seed: int) -> pa.Table:
    """Clips as a broad library has them: the policy keeps about 70 %."""
    rng = np.random.default_rng(seed)
    films = hex_ids(rng, -(-count // CLIPS_PER_FILM))
    height = rng.choice([360, 480, 720, 1080, 2160], count, p=[0.1, 0.15, 0.35, 0.35, 0.05])
    width = height * 16 // 9
    seconds = 0.5 + rng.gamma(2.0, 3.0, count)
    start = rng.integers(0, 150_000, count)
    clarity = rng.lognormal(np.log(150), 1.0, count)
    columns: dict[str, object] = {
        "clip_id": hex_ids(rng, count),
        "video_id": films.take(pa.array(np.arange(count) // CLIPS_PER_FILM)),
        "derive_fingerprint": pa.nulls(count, pa.string()),
        "stream_index": np.zeros(count, np.int64),
        "shot_index": np.arange(count) % CLIPS_PER_FILM,
        "start_frame": start,
        "end_frame": start + np.ceil(seconds * 25).astype(np.int64),
        "start_seconds": start / 25,
        "seconds": seconds,
        "frame_count": np.floor(seconds * 24).astype(np.int64),
        "width": width,
        "height": height,
        "short_side": height,
        "source_fps": rng.choice([15.0, 24000 / 1001, 25.0, 30.0], count, p=[0.05, 0.3, 0.35, 0.3]),
        "duplicated_share": rng.beta(0.2, 8.0, count),
        "dropped_share": rng.beta(1.0, 6.0, count),
        "clarity_mean": clarity,
        "clarity_min": clarity * rng.uniform(0.3, 1.0, count),
        "clarity_p10": clarity * rng.uniform(0.5, 1.0, count),
        "motion_magnitude": rng.lognormal(np.log(0.05), 1.2, count),
        "motion_static": rng.beta(0.5, 1.0, count),
        "motion_coherence": rng.beta(4.0, 2.0, count),
        "motion_distortion": rng.beta(1.5, 6.0, count),
        "luma_mean": rng.normal(100.0, 35.0, count).clip(0.0, 255.0),
        "luma_std": rng.gamma(6.0, 8.0, count),
        "shadows_clipped": rng.beta(0.5, 10.0, count),
        "highlights_clipped": rng.beta(0.5, 10.0, count),
        "missing": pa.nulls(count, pa.string()),
        "recorded_at": pa.repeat(pa.scalar(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)), count),
    }
    for camera in ("camera_pan", "camera_tilt", "camera_zoom", "camera_roll"):
        columns[camera] = rng.normal(0.0, 0.02, count)
    return pa.table({name: columns[name] for name in TABLES["clips"].arrow_schema.names})


def fill(home: Path, clips: int) -> None:
    """Append all clips under both fingerprints and say how fast that went."""
    started = time.perf_counter()
    films: set[str] = set()
    appends: list[float] = []
    with Catalog.open(CatalogSettings(home)) as catalog:
        for fingerprint in FINGERPRINTS:
            for first in range(0, clips, ROWS_PER_APPEND):
                rows = synthetic_clips(min(ROWS_PER_APPEND, clips - first), seed=first)
                made_by = pa.array([fingerprint] * rows.num_rows)
                index = rows.column_names.index("derive_fingerprint")
                rows = rows.set_column(index, "derive_fingerprint", made_by)
                before = time.process_time()
                catalog.append("clips", rows)
                appends.append(time.process_time() - before)
                films.update(rows["video_id"].unique().to_pylist())
        catalog.append("videos", [usable_film(video_id) for video_id in sorted(films)])
    (home / FILMS).write_text(json.dumps(sorted(films)))
    seconds = time.perf_counter() - started
    size = sum(file.stat().st_size for file in home.rglob("*.parquet"))
    print(
        f"filled: {2 * clips:,} rows in {seconds:.0f} s, making them up included; "
        f"{size / 1e6:,.0f} MB of Parquet; appends of {ROWS_PER_APPEND:,} rows at most took "
        f"{appends[0]:.1f} s of CPU (the first) to {max(appends):.1f} s (the slowest)"
    )


def usable_film(video_id: str) -> VideoRow:
    """A film that was scanned, and nothing else is said of it."""
    unsaid: dict[str, Any] = {field.name: None for field in dataclasses.fields(VideoRow)}
    said = {
        "video_id": video_id, "scan_fingerprint": SCAN.fingerprint, "uri": "", "status": "ok",
        "transient": False, "run_id": "", "recorded_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    }  # fmt: skip
    return VideoRow(**unsaid | said)


def select_and_plan(home: Path) -> dict[str, float]:
    """What a run does between its scans and its captions; seconds by step."""
    licences: dict[str, str | None] = dict.fromkeys(json.loads((home / FILMS).read_text()))
    started = time.perf_counter()
    with Catalog.open(CatalogSettings(home)) as catalog:
        kept = choose(catalog, licences, SCAN, DERIVE, POLICY).kept()
    chosen = time.perf_counter()
    sides = split_of_groups(set(kept["video_id"].unique().to_pylist()), SplitConfig())
    plan = plan_shards(assemble(kept, sides, MultiShotConfig()), PackConfig())
    planned = time.perf_counter()
    return {
        "select": chosen - started,
        "plan": planned - chosen,
        "kept": kept.num_rows,
        "shards": len(plan["shard"].unique()),
    }


def select_by_duckdb(home: Path) -> dict[str, float]:
    """The peer: the same policy as SQL over the same files; it counts, and plans nothing."""
    tests = [f"derive_fingerprint = '{FINGERPRINTS[1]}'"]
    for name, column in COLUMNS.items():
        bounds = getattr(POLICY, name)
        if bounds.min is not None:
            tests.append(f"{column}::FLOAT >= {bounds.min}::FLOAT")
        if bounds.max is not None:
            tests.append(f"{column}::FLOAT <= {bounds.max}::FLOAT")
    files = home / "warehouse" / "tempo" / "clips" / "data" / "**" / "*.parquet"
    started = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE TABLE kept AS SELECT {', '.join(PLANNED)} FROM read_parquet('{files}') "  # noqa: S608 - our own names
            f"WHERE {' AND '.join(tests)}"
        )
        seconds = time.perf_counter() - started
        (kept,) = connection.execute("SELECT count(*) FROM kept").fetchall()[0]
    return {"select": seconds, "kept": float(kept)}


def in_fresh_process(phase: str, home: Path) -> dict[str, float]:
    """Run a phase by itself; its steps, and the peak memory of its process."""
    command = [sys.executable, "-m", "benchmarks.catalog", "--phase", phase, "--home", str(home)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, float] = json.loads(output)
    return result


def report(home: Path, clips: int, rounds: int) -> None:
    """Interleave both ways and print what they took, the median of the rounds."""
    ours, peers = [], []
    for _ in range(rounds):
        ours.append(in_fresh_process("ours", home))
        peers.append(in_fresh_process("peer", home))
    our, peer = middle(ours), middle(peers)
    assert our["kept"] == peer["kept"], "both keep the same clips"
    total = our["select"] + our["plan"]
    print(
        f"of {clips:,} clips {our['kept']:,.0f} kept: select {our['select']:.1f} s + plan "
        f"{our['plan']:.1f} s ({our['shards']:,.0f} shards) = {total:.1f} s (target "
        f"{TARGET_SECONDS:.0f} s), peak memory {our['peak'] / 1e9:.2f} GB (target "
        f"{TARGET_BYTES / 1e9:.0f} GB)"
    )
    print(
        f"DuckDB keeps the same clips in {peer['select']:.1f} s with {peer['peak'] / 1e9:.2f} GB: "
        f"select takes {our['select'] / peer['select']:.1f}x its time"
    )
    scale = 300e6 / clips
    print(
        f"300 million clips, in proportion: {total * scale / 60:.0f} min and "
        f"{(our['peak'] - our['empty']) * scale / 1e9:.0f} GB in one process"
    )


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}


def main() -> None:
    """Fill a catalog and measure, or run one measured phase in this process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clips", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--phase", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.phase:
        measure = select_and_plan if arguments.phase == "ours" else select_by_duckdb
        empty = peak_bytes()
        print(json.dumps(measure(arguments.home) | {"empty": empty, "peak": peak_bytes()}))
        return
    with tempfile.TemporaryDirectory(prefix="tempo-benchmark-") as folder:
        fill(Path(folder), arguments.clips)
        report(Path(folder), arguments.clips, arguments.rounds)


if __name__ == "__main__":
    main()
