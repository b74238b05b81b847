"""What a version is made of: kinds, lengths, sizes, rates, codecs, licences and sources."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np

from curation.captioning import tags
from curation.report.axes import counted, edges_of, whole_edges
from curation.report.document import Captions, Composition, Repeated, Share
from curation.report.tables import VersionTables
from curation.report.yields import size_names, size_order
from curation.video.retime import PACKED_RATE

MAX_FILMS = 200
"""Films that are listed; the others are counted."""
_MAX_REPEATED = 12
STAGE_ONE_FRAMES = 121


def composition(version: VersionTables) -> Composition:
    """Count what the samples and their films are."""
    samples = version.samples
    seconds = samples["frame_count"].to_numpy() / PACKED_RATE
    hours = seconds / 3600
    films = {video.video_id: video for video in version.videos}
    of_film = samples["video_id"].to_pylist()
    by_film = _shares(of_film, hours)
    used = {share.name for share in by_film}
    readable = {video.video_id for video in version.videos if video.status != "quarantined"}
    uses = Counter(samples["clip_ids"].combine_chunks().flatten().to_pylist())
    sizes = size_names(samples["width"].to_numpy(), samples["height"].to_numpy())
    size_shares = {share.name: share for share in _shares(sizes, hours)}
    split = np.asarray(samples["split"].to_pylist())
    lengths = seconds.astype(np.float32)
    return Composition(
        kinds=_shares(samples["kind"].to_pylist(), hours),
        shots_per_sample=_numbered(len(ids) for ids in samples["clip_ids"].to_pylist()),
        clip_uses=_numbered(uses.values()),
        sizes=tuple(size_shares[name] for name in size_order(set(sizes))),
        durations=counted(
            edges_of(lengths, bins=32),
            {side: lengths[split == side] for side in ("train", "val")},
        ),
        below_stage_one=int((samples["frame_count"].to_numpy() < STAGE_ONE_FRAMES).sum()),
        rates=_shares([_rate(films[film].fps) for film in of_film], hours),
        codecs=_shares([films[film].codec or "unknown" for film in of_film], hours),
        containers=_shares([_container(films[film].container) for film in of_film], hours),
        licences=_shares([name or "not stated" for name in samples["licence"].to_pylist()], hours),
        films=tuple(
            Share(film_name(films[share.name].uri), share.count, share.hours)
            for share in by_film[:MAX_FILMS]
        ),
        films_unused=len(readable - used),
    )


def captions(version: VersionTables) -> Captions:
    """Lengths, repetitions and tags of the samples' captions."""
    texts: list[str] = version.samples["caption"].to_pylist()
    shots = [len(ids) for ids in version.samples["clip_ids"].to_pylist()]
    parts = [spoken(text) for text in texts]
    words = np.asarray(
        [sum(len(part.split()) for part in said) for said in parts], dtype=np.float32
    )
    counts = Counter(texts)
    often = [(text, number) for text, number in counts.most_common() if number > 1]
    said_by = {
        row["clip_id"]: row["captioner"]
        for row in version.captions.to_pylist()
        if row["caption"] is not None
    }
    first_clips = [ids[0] for ids in version.samples["clip_ids"].to_pylist()]
    by_captioner = Counter(said_by.get(clip, "unknown") for clip in first_clips)
    return Captions(
        by_captioner=dict(sorted(by_captioner.items())),
        words=counted(whole_edges(words), {"samples": words}),
        median_words=float(np.median(words)) if words.size else 0.0,
        empty=sum(not any(part.strip() for part in said) for said in parts),
        distinct=len(counts),
        repeated_samples=sum(number for _, number in often),
        repeated=tuple(Repeated(text, number) for text, number in often[:_MAX_REPEATED]),
        multishot_tags=sum(text.startswith(tags.MULTI_SHOT) for text in texts),
        scene_cut_tags=sum(text.count(tags.SCENE_CUT) for text in texts),
        broken_tags=sum(
            not tags_fit(text, count) for text, count in zip(texts, shots, strict=True)
        ),
    )


def tags_fit(text: str, shots: int) -> bool:
    """True when a caption's tags are those of a sample with this many shots."""
    if not tags.holds_tag(text):
        return shots == 1
    try:
        return len(tags.split(text)) == shots
    except ValueError:
        return False


def spoken(text: str) -> list[str]:
    """The caption of each shot; a caption whose tags do not fit is one caption."""
    try:
        return tags.split(text)
    except ValueError:
        return [text]


def sources(version: VersionTables) -> tuple[Share, ...]:
    """Folders that the films were read from, with the hours that they gave."""
    films = {video.video_id: video for video in version.videos}
    folders = [
        str(PurePosixPath(films[film].uri).parent)
        for film in version.samples["video_id"].to_pylist()
    ]
    return _shares(folders, version.samples["frame_count"].to_numpy() / PACKED_RATE / 3600)


def film_name(uri: str) -> str:
    """The last part of a film's address."""
    return PurePosixPath(uri).name or uri


def _shares(
    names: list[str], hours: "np.ndarray[tuple[int], np.dtype[np.float64]]"
) -> tuple[Share, ...]:
    """Count and hours of each name, the most hours first."""
    count: Counter[str] = Counter(names)
    total: defaultdict[str, float] = defaultdict(float)
    for name, part in zip(names, hours.tolist(), strict=True):
        total[name] += part
    shares = [Share(name, count[name], total[name]) for name in count]
    return tuple(sorted(shares, key=lambda share: (-share.hours, share.name)))


def _numbered(numbers: Iterable[int]) -> tuple[Share, ...]:
    return tuple(
        Share(str(number), count, 0.0) for number, count in sorted(Counter(numbers).items())
    )


def _rate(fps: float | None) -> str:
    return "unknown" if fps is None else f"{fps:.3f}".rstrip("0").rstrip(".")


def _container(names: str | None) -> str:
    """FFmpeg names a family (``mov,mp4,m4a,…``); its first is enough for people."""
    return (names or "unknown").split(",")[0]
