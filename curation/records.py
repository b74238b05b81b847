"""The rows of the catalog.

A row is a frozen dataclass; the Arrow and Iceberg schemas are derived from its annotations
(`curation.catalog`), so that a column is declared in one place. Spans are half-open
``[start, end)`` in decoded frames, counted from 0 in presentation order. What rows are found by is
made in `curation.identities`.
"""

import dataclasses
import datetime as dt


def now() -> dt.datetime:
    """The present moment in UTC, as rows record it."""
    return dt.datetime.now(dt.UTC)


def no_earlier_than(moment: dt.datetime, earlier: dt.datetime | None) -> dt.datetime:
    """A moment that comes after `earlier`: itself, unless a clock was set back in between.

    Of two rows about one thing the newer counts. Who replaces a row that was read dates the new one
    by this, or what it says would be lost for as long as the clock had been ahead.
    """
    if earlier is None or moment > earlier:
        return moment
    return earlier + dt.timedelta(microseconds=1)


@dataclasses.dataclass(frozen=True, slots=True)
class SourceRow:
    """A file that was offered, whether or not a film could be read from it. Key: uri."""

    uri: str
    """Path or address, credentials and query string stripped."""
    video_id: str | None
    """None when the bytes could not be read."""
    size: int
    mtime_ns: int
    licence: str | None
    caption: str | None
    """The caption that a manifest gave for the whole film."""
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class VideoRow:
    """A scanned film. Written last, so its presence marks the scan as done.

    Key: (video_id, scan_fingerprint).
    """

    video_id: str
    scan_fingerprint: str
    uri: str
    status: str
    """'ok', 'partial' (fewer frames than declared, or damaged ones) or 'quarantined'."""
    reason: str | None
    message: str | None
    transient: bool
    """A transient quarantine is tried again by the next run."""
    stream_index: int | None
    container: str | None
    codec: str | None
    pixel_format: str | None
    width: int | None
    """Displayed width in square pixels, right side up, borders included."""
    height: int | None
    coded_width: int | None
    coded_height: int | None
    sample_aspect: str | None
    rotation: int | None
    """Degrees clockwise that turn the coded picture right side up: 0, 90, 180 or 270."""
    fps: float | None
    """Mean rate: (frames - 1) / (last - first time). Never used to place a frame."""
    vfr: bool | None
    interlaced: bool | None
    time_base: str | None
    duration_seconds: float | None
    frame_count: int | None
    declared_frames: int | None
    decode_errors: int | None
    mended_timestamps: int | None
    """Frames whose timestamp was missing or ran backwards; such a film is never entered midway."""
    crop_x: int | None
    """Content box inside the coded picture, letterbox and pillarbox excluded (pixels)."""
    crop_y: int | None
    crop_width: int | None
    crop_height: int | None
    decodes: int | None
    """Full decodes that the scan needed: 1, or 2 when damage showed only on the way."""
    probe_frames: int | None
    """Keyframes decoded beforehand to find the borders."""
    scan_seconds: float | None
    traces_uri: str | None
    run_id: str
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class ShotRow:
    """One shot of a film, its gradual transitions excluded.

    Key: (video_id, derive_fingerprint, shot_index).
    """

    video_id: str
    derive_fingerprint: str
    shot_index: int
    start_frame: int
    """First frame that belongs to this shot alone."""
    end_frame: int
    start_seconds: float
    end_seconds: float
    transition_in: str
    """'start', 'cut', 'fade' or 'dissolve'."""
    transition_in_start: int
    """Half-open range of the transition's frames; empty for a clean cut."""
    transition_in_end: int
    transition_out: str
    """'end', 'cut', 'fade' or 'dissolve'."""
    transition_out_start: int
    transition_out_end: int
    trimmed_start: int
    """What is left after blurred edge frames are trimmed; may be empty."""
    trimmed_end: int


@dataclasses.dataclass(frozen=True, slots=True)
class ClipRow:
    """A clip and all that was measured on it. Key: (clip_id, derive_fingerprint).

    A measurement that could not be made is None, and `missing` says why.
    """

    clip_id: str
    video_id: str
    derive_fingerprint: str
    stream_index: int
    shot_index: int
    start_frame: int
    end_frame: int
    start_seconds: float
    seconds: float
    frame_count: int
    """Frames at constant 24 fps, as it would be packed."""
    width: int
    """Displayed size in square pixels, right side up, borders cropped."""
    height: int
    short_side: int
    source_fps: float
    duplicated_share: float
    """Share of the 24-fps frames that repeat the source frame before them."""
    dropped_share: float
    """Share of the source frames that no 24-fps frame shows."""
    clarity_mean: float | None
    clarity_min: float | None
    clarity_p10: float | None
    motion_magnitude: float | None
    """Mean optical-flow length, fraction of the diagonal per second."""
    motion_static: float | None
    """Mean share of the picture that hardly moves."""
    motion_coherence: float | None
    motion_distortion: float | None
    camera_pan: float | None
    camera_tilt: float | None
    camera_zoom: float | None
    camera_roll: float | None
    luma_mean: float | None
    luma_std: float | None
    shadows_clipped: float | None
    highlights_clipped: float | None
    missing: str | None
    """JSON object: measurement -> reason."""
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class ScoreRow:
    """What a scorer says of a clip. Key: (clip_id, fingerprint)."""

    clip_id: str
    fingerprint: str
    video_id: str
    scorer: str
    """'technical' or 'laion'."""
    score: float | None
    """Mean over the clip's evidence frames."""
    frames: list[int]
    """Numbers of these frames."""
    frame_scores: list[float]
    embedding: list[float] | None
    """Mean of the frames' embeddings, at length 1; None where the scorer makes none, or where more
    than half of the frames are too flat to be told apart."""
    frame_hashes: list[str] | None
    """Perceptual hash of each frame in hex, empty where it is too flat; None where the scorer makes
    none."""
    reason: str | None
    """Why there is no score."""
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class RefinementRow:
    """A clip that the policy keeps and a set-level step drops. Key: (clip_id, fingerprint)."""

    clip_id: str
    fingerprint: str
    """Of the steps, their settings, and the clips that they were given."""
    step: str
    """'duplicate' or 'balance'."""
    representative: str | None
    """The clip_id that is kept in its place, of a duplicate."""
    cluster: int | None
    """The cluster that is over its cap."""
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class CaptionRow:
    """What a captioner said of a clip. Key: (clip_id, fingerprint)."""

    clip_id: str
    fingerprint: str
    captioner: str
    caption: str | None
    reason: str | None
    """Why there is no caption."""
    source: str | None
    """Where the words come from: a file's name, a model, 'measurements'."""
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class SampleRow:
    """A sample in a published shard. Key: (publish_id, sample_id)."""

    publish_id: str
    sample_id: str
    kind: str
    """'single' or 'multi'."""
    video_id: str
    clip_ids: list[str]
    split: str
    shard: str
    frame_count: int
    width: int
    height: int
    caption: str
    licence: str | None
    pack_fingerprint: str
    mp4_offset: int
    """Byte offset of the member's data inside the tar."""
    mp4_size: int
    mp4_sha256: str
    txt_offset: int
    txt_size: int
    json_offset: int
    json_size: int


@dataclasses.dataclass(frozen=True, slots=True)
class ShardRow:
    """A published shard. Key: (publish_id, shard)."""

    publish_id: str
    shard: str
    split: str
    bytes: int
    samples: int
    frames: int
    seconds: float
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetRow:
    """A published dataset version; its append is the only commit point. Key: (name, version)."""

    name: str
    version: int
    publish_id: str
    manifest_uri: str
    manifest_sha256: str
    recipe: str
    films: int
    samples: int
    train_samples: int
    val_samples: int
    multi_samples: int | None
    """Multi-shot ones among the samples; None in versions from before there were any."""
    shards: int
    seconds: float
    bytes: int
    snapshots: str
    """JSON object: table -> snapshot id when this version was published (time travel)."""
    run_id: str
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class RunRow:
    """A finished or failed job, as it was asked for and as it ended. Key: run_id."""

    run_id: str
    kind: str
    status: str
    """'ok' or 'failed'."""
    recipe: str
    config: str
    summary: str
    code_version: str
    host: str
    started_at: dt.datetime
    finished_at: dt.datetime
    inputs: str | None = None
    """What the job was given to read, a JSON list: a manifest says more than the films in it."""


@dataclasses.dataclass(frozen=True, slots=True)
class TakedownRow:
    """A film that must not appear in any future version. Key: video_id."""

    video_id: str
    reason: str
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A complete training checkpoint. Key: checkpoint_id."""

    checkpoint_id: str
    """Hash of (training run, step)."""
    training: str
    """Name of the training run, the folder under ``checkpoints/``."""
    stage: str
    """'stage_1' or 'stage_2' of section 3.3."""
    recipe: str
    step: int
    """Optimiser steps behind it."""
    uri: str
    """Its folder."""
    generator_uri: str | None
    """The folder that `tempo generate` takes, where the checkpoint has one."""
    dataset: str
    version: int
    dataset_seconds: float
    """Length of the version's training side, to see how much has come since."""
    parent: str | None
    """The checkpoint whose weights the run started from."""
    seed: int
    world_size: int
    val_loss: float | None
    """Mean loss at fixed times and fixed noise on the held-out side, EMA weights."""
    weights_sha256: str
    config: str
    code_version: str
    run_id: str
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class SideShardsRow:
    """Tensors that an encoder made of a dataset version ahead of training. Key: side_id."""

    side_id: str
    """Hash of the version's manifest, the encoder and all that decides what is in them."""
    kind: str
    """'text' (embeddings of captions) or 'latents'."""
    dataset: str
    version: int
    manifest_sha256: str
    """Of the dataset version."""
    fingerprint: str
    """Of the encoder."""
    settings: str
    """JSON object: all else that decides what is in them."""
    uri: str
    """Their ``side.json``."""
    sha256: str
    """Of that file."""
    shards: int
    members: int
    bytes: int
    damaged: int
    """Samples of which nothing could be made."""
    recipe: str
    code_version: str
    run_id: str
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class EvaluationRow:
    """How a checkpoint's videos under one schedule were judged. Key: (evaluation_id, schedule)."""

    evaluation_id: str
    schedule: str
    frames: int
    checkpoint: str
    """Folder of the generator."""
    checkpoint_id: str | None
    """Of the catalog's checkpoint, where it is one."""
    suite: str
    suite_sha256: str
    profile: str
    """'plain' or 'dev' (VBench-Long), or 'proxy' (surrogates, never comparable with VBench)."""
    videos: int
    total: float | None
    """VBench's total score in percent; None for proxies."""
    metrics: str
    """JSON object: metric -> {mean, low, high}."""
    cost: str
    """JSON object: PFLOPs, seconds, peak bytes, seconds to the first segment, per video."""
    uri: str
    """Its folder."""
    recipe: str
    config: str
    code_version: str
    run_id: str
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class PromotionRow:
    """A decision about which checkpoint serves under a name. Key: (model, decided_at)."""

    model: str
    """The name under which a checkpoint is promoted."""
    decision: str
    """'promoted' or 'kept'."""
    candidate: str
    """checkpoint_id that was judged."""
    incumbent: str | None
    """checkpoint_id that was in place before; None at the first promotion."""
    reason: str
    rule: str
    """JSON object: the recipe's rule."""
    numbers: str
    """JSON object: what it was decided by."""
    run_id: str
    decided_at: dt.datetime
