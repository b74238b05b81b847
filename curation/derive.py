"""From traces to shots, clips and their measurements: pure, and nothing is decoded.

Because the traces hold raw numbers, shot thresholds, trimming and clip lengths can all be changed
for a whole library without opening a film again.
"""

import dataclasses
import json
from fractions import Fraction
from typing import Any

import numpy.typing as npt

from curation.clips import ClipConfig, Timeline, split_span, timeline
from curation.components import fingerprint
from curation.identities import clip_id_of
from curation.measure import clarity, exposure, motion
from curation.measure.shots.find import Shot, ShotConfig, find_shots, trim_blurred_edges
from curation.measure.shots.judged import TransNetRule
from curation.measure.shots.trace import ShotTrace
from curation.records import ClipRow, ShotRow, VideoRow, now
from curation.traces import Traces, column
from curation.video.geometry import content_size
from curation.video.retime import PACKED_RATE, repeated_and_dropped


@dataclasses.dataclass(frozen=True, slots=True)
class DeriveConfig:
    """How shots and clips are made from traces."""

    shots: ShotConfig = dataclasses.field(default_factory=ShotConfig)
    clips: ClipConfig = dataclasses.field(default_factory=ClipConfig)

    def fingerprint(self, scan_fingerprint: str) -> str:
        """What made shots and clips: this config, on traces of that scan."""
        config = dataclasses.asdict(self)
        if self.shots.transnet == TransNetRule():
            del config["shots"]["transnet"]
            # A home from before that rule keeps what it derived. Where its defaults move, the
            # version of this component must.
        return fingerprint("derive", {"config": config, "scan": scan_fingerprint})


@dataclasses.dataclass(frozen=True, slots=True)
class Derived:
    """Everything that was derived for one film."""

    shots: list[ShotRow]
    clips: list[ClipRow]


def derive_film(video: VideoRow, traces: Traces, config: DeriveConfig) -> Derived:
    """Find the shots of a film, trim and split them into clips, and measure each clip.

    Args:
        video: the film's row; not quarantined.
        traces: its traces.
        config: thresholds and lengths.
    """
    frames = traces.frames()
    trace = ShotTrace.from_table(frames)
    times = timeline(column(frames, "pts"), Fraction(video.time_base or "0"))
    sampled = traces.samples()
    samples = {name: column(sampled, name) for name in sampled.column_names}
    made_by = config.fingerprint(video.scan_fingerprint)
    fps = video.fps or PACKED_RATE
    shot_rows: list[ShotRow] = []
    clip_rows: list[ClipRow] = []
    shots = find_shots(trace, fps, config.shots, traces.transitions())
    for number, shot in enumerate(shots):
        trimmed = trim_blurred_edges(shot, trace.sharpness, fps, config.shots.trim)
        shot_rows.append(_shot_row(video, made_by, number, shot, trimmed, times))
        clip_rows += [
            _clip_row(video, made_by, number, span, times, samples)
            for span in split_span(times, *trimmed, config.clips)
        ]
    return Derived(shot_rows, clip_rows)


def _shot_row(
    video: VideoRow,
    made_by: str,
    number: int,
    shot: Shot,
    trimmed: tuple[int, int],
    times: Timeline,
) -> ShotRow:
    return ShotRow(
        video_id=video.video_id,
        derive_fingerprint=made_by,
        shot_index=number,
        start_frame=shot.start,
        end_frame=shot.end,
        start_seconds=times.seconds(shot.start),
        end_seconds=times.seconds(shot.end),
        transition_in=shot.transition_in.kind,
        transition_in_start=shot.transition_in.start,
        transition_in_end=shot.transition_in.end,
        transition_out=shot.transition_out.kind,
        transition_out_start=shot.transition_out.start,
        transition_out_end=shot.transition_out.end,
        trimmed_start=trimmed[0],
        trimmed_end=trimmed[1],
    )


def _clip_row(
    video: VideoRow,
    made_by: str,
    shot_index: int,
    span: tuple[int, int],
    times: Timeline,
    samples: "dict[str, npt.NDArray[Any]]",
) -> ClipRow:
    start, end = span
    offsets = times.offsets(start, end)
    duplicated, dropped = repeated_and_dropped(offsets, end - start)
    width, height = content_size(video)
    measured, missing = _measure(samples, start, end)
    assert video.stream_index is not None
    return ClipRow(
        clip_id=clip_id_of(video.video_id, video.stream_index, start, end),
        video_id=video.video_id,
        derive_fingerprint=made_by,
        stream_index=video.stream_index,
        shot_index=shot_index,
        start_frame=start,
        end_frame=end,
        start_seconds=times.seconds(start),
        seconds=times.seconds(end) - times.seconds(start),
        frame_count=len(offsets),
        width=width,
        height=height,
        short_side=min(width, height),
        source_fps=video.fps or 0.0,
        duplicated_share=duplicated,
        dropped_share=dropped,
        missing=json.dumps(missing, sort_keys=True) if missing else None,
        recorded_at=now(),
        **measured,
    )


def _measure(
    samples: "dict[str, npt.NDArray[Any]]", start: int, end: int
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Clip measurements by column, and the reason for each that is missing."""
    in_clip = (samples["frame"] >= start) & (samples["frame"] < end)
    inside = {name: values[in_clip] for name, values in samples.items()}
    measured: tuple[tuple[Any, type, str], ...] = (
        (clarity.clip_clarity(inside["clarity"]), clarity.ClipClarity, clarity.NO_SAMPLE),
        (exposure.clip_exposure(inside), exposure.ClipExposure, exposure.NO_SAMPLE),
        (motion.clip_motion(samples, start, end), motion.ClipMotion, motion.NO_PAIR),
    )
    values: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    for of_clip, kind, reason in measured:
        for field in dataclasses.fields(kind):
            value = None if of_clip is None else getattr(of_clip, field.name)
            values[field.name] = value
            if value is None:
                missing[field.name] = reason if of_clip is None else motion.NO_CAMERA
    return values, missing
