"""One decode of a film feeds every measurer and leaves traces and evidence.

Nothing is decided here: no shot, no clip, no verdict. What is stored is enough to derive all of
those again with other parameters. The price is disk, mostly for evidence (see docs/curation.md for
what an hour of film takes).
"""

import dataclasses
import time
from array import array
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.components import fingerprint
from curation.errors import FilmError
from curation.measure import clarity, exposure, motion
from curation.measure.shots.trace import FRAME_TRACE_SCHEMA, FrameTracer
from curation.measure.shots.transnet import Network, TransitionMeter, TransNetConfig
from curation.pictures import cut_picture, evidence_pictures, motion_luma, sample_luma
from curation.records import VideoRow, now
from curation.traces import EVIDENCE, SAMPLES, TRANSITIONS, TraceWriter
from curation.video.decode import DecodeLog
from curation.video.film import Film, FilmInfo, Frame
from curation.video.geometry import Box

U8 = npt.NDArray[np.uint8]

FRAME_SCHEMA = pa.schema(
    [
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("pts", pa.int64(), nullable=False),
        pa.field("key", pa.bool_(), nullable=False),
        *FRAME_TRACE_SCHEMA,
    ]
)
SAMPLE_SCHEMA = pa.schema(
    [
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("clarity", pa.float32(), nullable=False),
        *(
            pa.field(field.name, pa.float32(), nullable=False)
            for field in dataclasses.fields(exposure.ExposureSample)
        ),
        pa.field("pair_frame", pa.int32()),
        *(pa.field(field.name, pa.float32()) for field in dataclasses.fields(motion.MotionSample)),
    ]
)
_NO_MOTION = (None,) * len(dataclasses.fields(motion.MotionSample))
_LATEST_PAIR = 4.0  # a pair whose frames lie further apart than this many gaps says nothing
_VFR_DEVIATION, _VFR_SHARE = 0.25, 0.01
_ROW_GROUP = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class ScanConfig:
    """How densely a film is sampled, and how large the pictures are.

    Attributes:
        sample_every_seconds: cadence of clarity, exposure, motion and evidence.
        motion_gap_seconds: distance of the two frames of a flow pair.
        cut_long_side: picture for shot detection; 256 is PySceneDetect's own working width.
        luma_short_side: picture for clarity and exposure (the definition of clarity fixes 480).
        evidence_short_side: pictures that models judge, and of flow pairs; 288 is more than
            CLIP's 224, and than the width of 256 at which flow is computed.
        evidence_quality: JPEG quality.
        probe_keyframes: keyframes that are looked at beforehand for letterbox borders.
        transnet: a network that judges every frame beside the rules; none by default.
    """

    sample_every_seconds: float = 0.5
    motion_gap_seconds: float = 1 / 12
    cut_long_side: int = 256
    luma_short_side: int = 480
    evidence_short_side: int = 288
    evidence_quality: int = 88
    probe_keyframes: int = 12
    transnet: TransNetConfig = dataclasses.field(default_factory=TransNetConfig)

    def __post_init__(self) -> None:
        if not 0 < self.motion_gap_seconds < self.sample_every_seconds:
            raise ValueError(
                f"scan.motion_gap_seconds = {self.motion_gap_seconds}: give more than 0 and less "
                f"than scan.sample_every_seconds = {self.sample_every_seconds}"
            )
        for name in ("cut_long_side", "luma_short_side", "evidence_short_side"):
            if getattr(self, name) < 32:
                raise ValueError(f"scan.{name} = {getattr(self, name)}: give at least 32 pixels")
        if not 1 <= self.evidence_quality <= 100:
            raise ValueError(f"scan.evidence_quality = {self.evidence_quality}: give 1 to 100")
        if self.probe_keyframes < 0:
            raise ValueError(f"scan.probe_keyframes = {self.probe_keyframes}: give 0 or more")

    @property
    def fingerprint(self) -> str:
        """What made the traces.

        Raises:
            ValueError: a network is asked for, and the config is not `settled`.
        """
        identity = dataclasses.asdict(self)
        del identity["transnet"]  # without a network, a home from before there were any is as good
        if self.transnet.wanted:
            identity["transnet"] = self.transnet.identity()
        return fingerprint("scan", identity)

    def settled(self, weights: Path) -> "ScanConfig":
        """The same, with the files that it names found and hashed.

        Args:
            weights: the home's folder of weights.

        Raises:
            CurationError: a file is absent, or is not what it should be.
        """
        return dataclasses.replace(self, transnet=self.transnet.settled(weights))


def scan_film(
    path: Path,
    folder: Path,
    *,
    video_id: str,
    uri: str,
    run_id: str,
    config: ScanConfig,
    threads: int = 1,
    network: Network | None = None,
) -> VideoRow:
    """Decode a film once and write its traces.

    Args:
        path: the film's file.
        folder: where the traces go (`curation.traces.trace_folder`).
        video_id: content hash of the file.
        uri: what the row calls the file.
        run_id: who asked.
        config: sampling and sizes.
        threads: decoder threads while the film proves sound. A damaged one is decoded again with
            one, since what several threads save of it differs from run to run.
        network: the one that `config.transnet` asks for, loaded; a process scans many films.

    Raises:
        FilmError: the film cannot be used; nothing is left behind.
        NetworkError: the network says what it must not; likewise.
    """
    if config.transnet.wanted != (network is not None):
        raise ValueError("the network that config.transnet asks for must be given, and no other")
    started = time.perf_counter()
    film = Film(path)
    box, probed = probe_borders(film, config.probe_keyframes)
    sound_so_far = 1 if film.info.truncated else threads
    decodes = 0
    while True:
        decodes += 1
        log = DecodeLog()
        with TraceWriter(folder, FRAME_SCHEMA, SAMPLE_SCHEMA, judged=network is not None) as writer:
            pts = _trace(film, box, config, writer, log, sound_so_far, network)
            if log.damaged and sound_so_far > 1:
                sound_so_far = 1
                continue
            row = _film_row(film.info, box, pts, log, config)
            row = dataclasses.replace(
                row,
                video_id=video_id,
                uri=uri,
                decodes=decodes,
                probe_frames=probed,
                scan_seconds=round(time.perf_counter() - started, 3),
                traces_uri=folder.name,
                run_id=run_id,
            )
            writer.finish(row)
            return row


def probe_borders(film: Film, keyframes: int) -> tuple[Box, int]:
    """Find letterbox and pillarbox borders before the decode.

    Most films have none, and one or two frames prove it; up to `keyframes` are looked at.

    Returns:
        The part of the picture inside the borders, and how many frames were decoded for it.
    """
    whole, black = film.info.whole, film.info.colour.black
    lumas: list[U8] = []
    lit = np.zeros(4, np.bool_)
    for frame in film.keyframes(keyframes):
        lumas.append(frame.planes()[0].copy())
        lit |= exposure.lit_sides(lumas[-1], black)
        if lit.all():
            return whole, len(lumas)
    if not lumas:
        return whole, 0
    x, y, width, height = exposure.content_box(lumas, black)
    return Box(x, y, min(width, whole.width - x), min(height, whole.height - y)), len(lumas)


def _trace(
    film: Film,
    box: Box,
    config: ScanConfig,
    writer: TraceWriter,
    log: DecodeLog,
    threads: int,
    network: Network | None,
) -> "array[int]":
    """The decode loop: each frame is looked at by everyone, then let go."""
    frames = _FrameTraces(writer)
    sampler = _Sampler(film.info, box, config, writer)
    judge = _Judge(network, config.transnet, film.info, writer) if network else None
    for frame in film.frames(threads=threads, log=log):
        picture = cut_picture(frame, film.info, box, config.cut_long_side)
        frames.look(frame, picture)
        if judge:
            judge.look(picture)
        sampler.look(frame)
    frames.flush()
    sampler.finish()
    if judge:
        judge.finish()
    if not frames.pts:
        raise FilmError("no_frames", "not one frame of this film can be decoded")
    return frames.pts


class _FrameTraces:
    """A row for every frame, written a row group at a time."""

    def __init__(self, writer: TraceWriter) -> None:
        self._writer = writer
        self._tracer = FrameTracer(_ROW_GROUP)
        self._keys: list[bool] = []
        self.pts = array("q")
        """Of all frames: eight bytes each, the one thing that grows with the film."""

    def look(self, frame: Frame, bgr: U8) -> None:
        """Trace one frame."""
        self._tracer.measure(bgr)
        self._keys.append(frame.key)
        self.pts.append(frame.pts)
        if len(self._keys) == _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are held."""
        rows, end = len(self._keys), len(self.pts)
        if not rows:
            return
        place = {
            "frame": pa.array(range(end - rows, end), pa.int32()),
            "pts": pa.array(self.pts[end - rows :], pa.int64()),
            "key": pa.array(self._keys, pa.bool_()),
        }
        self._writer.add_frames(place | self._tracer.take())
        self._keys.clear()


class _Judge:
    """Writes what a network says of every frame."""

    def __init__(
        self, network: Network, config: TransNetConfig, info: FilmInfo, writer: TraceWriter
    ) -> None:
        self._meter = TransitionMeter(
            network, config.channels, info.rotation, mirrored=info.mirrored
        )
        self._writer = writer

    def look(self, bgr: U8) -> None:
        """Show it the next frame."""
        self._write(self._meter.look(bgr))

    def finish(self) -> None:
        """Write what it says of the last frames."""
        self._write(self._meter.finish())

    def _write(self, probabilities: list[float]) -> None:
        for probability in probabilities:
            self._writer.add(TRANSITIONS, (probability,))


class _Sampler:
    """Measures the frames on a fixed grid of time: clarity, exposure, motion; keeps evidence."""

    def __init__(self, info: FilmInfo, box: Box, config: ScanConfig, writer: TraceWriter) -> None:
        self._info, self._box, self._config, self._writer = info, box, config, writer
        self._meter = motion.MotionMeter()
        self._first_pts: int | None = None
        self._due = 0
        """Number of the next sample."""
        self._pending: tuple[float, int, float, tuple[float, ...], U8] | None = None
        """Sampled frame that waits for its partner; the luma is `motion_luma`."""

    def look(self, frame: Frame) -> None:
        """Take what is due at this frame."""
        if self._first_pts is None:
            self._first_pts = frame.pts
        seconds = (frame.pts - self._first_pts) * float(self._info.time_base)
        self._pair(frame, seconds)
        if seconds >= self._due * self._config.sample_every_seconds:
            self._due = int(seconds / self._config.sample_every_seconds) + 1
            self._sample(frame, seconds)

    def _pair(self, frame: Frame, seconds: float) -> None:
        if self._pending is None:
            return
        since, index, clarity_, exposure_, luma = self._pending
        gap = seconds - since
        if gap < self._config.motion_gap_seconds:
            return
        if gap > _LATEST_PAIR * self._config.motion_gap_seconds:
            self.finish()
            return
        size = self._config.evidence_short_side
        flow = self._meter.measure(luma, motion_luma(frame, self._info, self._box, size), gap)
        motion_ = dataclasses.astuple(flow)
        self._writer.add(SAMPLES, (index, clarity_, *exposure_, frame.index, *motion_))
        self._pending = None

    def _sample(self, frame: Frame, seconds: float) -> None:
        if self._pending is not None:
            self.finish()
        luma = sample_luma(frame, self._info, self._box, self._config.luma_short_side)
        exposed = dataclasses.astuple(exposure.exposure_of(luma))
        clear = clarity.clarity_of(luma)
        picture, motion_luma_ = evidence_pictures(
            frame, self._info, self._box, self._config.evidence_short_side
        )
        self._pending = (seconds, frame.index, clear, exposed, motion_luma_)
        self._writer.add(EVIDENCE, (frame.index, *self._evidence(picture)))

    def finish(self) -> None:
        """Write the sample whose partner never came."""
        if self._pending is not None:
            _, index, clarity_, exposure_, _ = self._pending
            self._writer.add(SAMPLES, (index, clarity_, *exposure_, None, *_NO_MOTION))
            self._pending = None

    def _evidence(self, picture: U8) -> tuple[int, int, bytes]:
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._config.evidence_quality]
        ok, jpeg = cv2.imencode(".jpg", picture, quality)
        assert ok  # an 8-bit BGR picture always encodes
        return picture.shape[1], picture.shape[0], jpeg.tobytes()


def _film_row(
    info: FilmInfo, box: Box, pts: "array[int]", log: DecodeLog, config: ScanConfig
) -> VideoRow:
    """What the decode has shown of the film."""
    times = np.frombuffer(pts, np.int64)
    steps = np.diff(times)
    typical = (
        float(np.median(steps)) if len(steps) else 1 / float(info.nominal_fps * info.time_base)
    )
    span = float((times[-1] - times[0]) * info.time_base)
    uneven = np.abs(steps - typical) > _VFR_DEVIATION * typical
    reason, message = _why_partial(info, times, typical, log)
    width, height = info.display_size(info.whole)
    return VideoRow(
        video_id="",
        scan_fingerprint=config.fingerprint,
        uri="",
        status="partial" if reason else "ok",
        reason=reason,
        message=message,
        transient=False,
        stream_index=info.stream_index,
        container=info.container,
        codec=info.codec,
        pixel_format=info.pixel_format,
        width=width,
        height=height,
        coded_width=info.coded_width,
        coded_height=info.coded_height,
        sample_aspect=f"{info.sample_aspect.numerator}:{info.sample_aspect.denominator}",
        rotation=info.rotation,
        fps=(len(times) - 1) / span if span else float(info.nominal_fps),
        vfr=bool(uneven.mean() > _VFR_SHARE) if len(steps) else False,
        interlaced=info.interlaced,
        time_base=f"{info.time_base.numerator}/{info.time_base.denominator}",
        duration_seconds=span + typical * float(info.time_base),
        frame_count=len(times),
        declared_frames=info.declared_frames,
        decode_errors=log.errors + log.corrupt,
        mended_timestamps=log.mended_pts,
        crop_x=box.x,
        crop_y=box.y,
        crop_width=box.width,
        crop_height=box.height,
        decodes=None,
        probe_frames=None,
        scan_seconds=None,
        traces_uri=None,
        run_id="",
        recorded_at=now(),
    )


def _why_partial(
    info: FilmInfo, pts: npt.NDArray[np.int64], step: float, log: DecodeLog
) -> tuple[str | None, str | None]:
    """Reason and words when the film gave less than it promised (`curation.video.promised`).

    Where frames are counted, two per cent are allowed for: some are never shown. Where an end is
    named, the last frame may stand as long as any frame before it did.
    """
    frames = len(pts)
    if log.damaged:
        words = log.message or f"{log.corrupt} damaged frames"
        return "decode_errors", f"{words} ({log.errors} packets, {log.corrupt} damaged frames)"
    if info.declared_frames and frames < 0.98 * info.declared_frames - 1:
        return "fewer_frames", f"{frames} of {info.declared_frames} declared frames"
    if info.truncated:
        return "truncated", "the container names bytes beyond the end of the file"
    longest = float(np.diff(pts).max(initial=step))
    end = float((pts[-1] + longest + step / 2) * info.time_base)
    if info.declared_frames is None and info.declared_end and end < info.declared_end:
        last = float(pts[-1] * info.time_base)
        return "shorter", f"the last frame is at {last:.2f} s of {info.declared_end:.2f} s"
    return None, None
