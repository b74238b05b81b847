"""The report's numbers against the tables that they are made from, counted in another way."""

import dataclasses
import json

import pyarrow as pa
import pytest

from benchmarks.report import synthetic_version
from curation.report.alerts import judged
from curation.report.collect import collect
from curation.report.document import Report, Share
from curation.report.tables import VersionTables
from curation.selection import Range, SelectionPolicy


@pytest.fixture(scope="module")
def version() -> VersionTables:
    return synthetic_version(800, policy=SelectionPolicy(clarity=Range(min=60)))


@pytest.fixture(scope="module")
def report(version: VersionTables) -> Report:
    return collect(version, None, {})


def titles(report: Report) -> str:
    return " | ".join(f"{alert.severity}: {alert.title}" for alert in judged(report)[1])


def with_samples(version: VersionTables, **columns: list[object]) -> VersionTables:
    samples = version.samples
    for name, values in columns.items():
        index = samples.column_names.index(name)
        samples = samples.set_column(index, name, pa.array(values, samples.schema.field(name).type))
    return dataclasses.replace(version, samples=samples)


def test_losses_are_what_sql_counts(version: VersionTables, report: Report) -> None:
    clips = version.clips.to_pylist()
    policy = version.policy
    low = [
        row
        for row in clips
        if row["clarity_mean"] is not None and row["clarity_mean"] < policy.clarity.min
    ]
    kept = next(stage for stage in report.funnel if stage.name == "Kept by the policy")
    loss = next(loss for loss in kept.losses if loss.reason == "clarity_low")
    assert loss.amount.clips == len(low)
    assert loss.amount.hours == pytest.approx(sum(row["seconds"] for row in low) / 3600)
    ids = {row["clip_id"] for row in low}
    others = {
        row["clip_id"]
        for index, row in enumerate(clips)
        if set(version.selection.reasons(index)) - {"clarity_low"}
    }
    assert loss.alone.clips == len(ids - others)


def test_the_funnel_narrows_and_ends_at_the_samples(report: Report) -> None:
    counts = [stage.count for stage in report.funnel if stage.unit == "clips"]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == report.totals.samples == report.totals.packed.clips


def test_what_if_starts_at_what_the_policy_keeps(version: VersionTables, report: Report) -> None:
    assert report.whatif.kept.clips == version.selection.kept.sum()
    named = {threshold.name: threshold for threshold in report.whatif.thresholds}
    assert (named["clarity"].min, named["clarity"].recipe_min) == (60, 20)


def test_every_measurement_is_counted_whole(version: VersionTables, report: Report) -> None:
    for measurement in report.measurements:
        counted = sum(measurement.histogram.series["all"]) + measurement.missing
        assert counted == version.clips.num_rows, measurement.name
    assert {"clarity", "camera_pan", "dropped_share"} <= {m.name for m in report.measurements}


def test_the_json_is_plain(report: Report) -> None:
    document = report.json()
    assert json.loads(json.dumps(document, allow_nan=False))["totals"]["samples"] > 0


def test_a_report_without_trouble_is_good(report: Report) -> None:
    quiet = dataclasses.replace(
        report,
        captions=dataclasses.replace(report.captions, by_captioner={"sidecar": 1}),
    )
    verdict, alerts = judged(quiet)
    assert verdict.state == "good"
    assert {alert.severity for alert in alerts} <= {"note"}


def test_alerts_name_what_is_wrong(version: VersionTables, report: Report) -> None:
    samples = version.samples.num_rows
    no_val = dataclasses.replace(report, totals=dataclasses.replace(report.totals, val_samples=0))
    assert "warning: There is no validation side" in titles(no_val)
    same = collect(with_samples(version, caption=["again"] * samples), None, {})
    assert "100 % of the captions are not unique" in titles(same)
    empty = collect(with_samples(version, caption=[" "] * samples), None, {})
    assert judged(empty)[0].state == "error"
    missing = dataclasses.replace(version, shard_states={"train-000000": "missing"})
    assert "error: 1 shard is not as published" in titles(collect(missing, None, {}))
    film = Share("one.mp4", 9, 0.9 * report.totals.sample_hours)
    films = (film, *report.composition.films[1:])
    heavy = dataclasses.replace(
        report, composition=dataclasses.replace(report.composition, films=films)
    )
    assert "One film is 90 % of the dataset" in titles(heavy)


def test_left_out_clips_have_their_reason(version: VersionTables) -> None:
    ids = [row[0] for row in version.samples["clip_ids"].to_pylist()]
    fewer = dataclasses.replace(
        version, samples=version.samples.slice(3), set_aside={ids[0]: "duplicate"}
    )
    captions = version.captions.to_pylist()
    for row in captions:
        if row["clip_id"] == ids[1]:
            row["caption"], row["reason"] = None, "refused"
    fewer = dataclasses.replace(
        fewer, captions=pa.Table.from_pylist(captions, schema=version.captions.schema)
    )
    last = collect(fewer, None, {}).funnel[-1]
    assert {loss.reason: loss.amount.clips for loss in last.losses} == {
        "duplicate": 1,
        "refused": 1,
        "not_packed": 1,
    }
    assert "1 kept clip has no caption" in titles(collect(fewer, None, {}))


def test_multi_shot_captions_are_counted_by_their_tags(version: VersionTables) -> None:
    samples = version.samples.to_pylist()
    samples[0]["clip_ids"] += samples[1]["clip_ids"]
    samples[0]["kind"] = "multi"
    samples[0]["caption"] = "<MultiShot> a tree <Scene Cut> a red car"
    samples[2]["caption"] = "<MultiShot> but only one shot"
    changed = dataclasses.replace(
        version, samples=pa.Table.from_pylist(samples, schema=version.samples.schema)
    )
    report = collect(changed, None, {})
    assert report.captions.scene_cut_tags == 1
    assert report.captions.multishot_tags == 2
    assert report.captions.broken_tags == 1
    shots = {share.name: share.count for share in report.composition.shots_per_sample}
    assert shots == {"1": len(samples) - 1, "2": 1}
    uses = {share.name: share.count for share in report.composition.clip_uses}
    assert uses["2"] == 1
