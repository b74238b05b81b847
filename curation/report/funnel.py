"""From films to samples: what each step kept, in number and hours, and why it lost the rest."""

from collections import Counter

import numpy as np

from curation.report.document import Amount, Loss, Stage, Totals, Trouble
from curation.report.tables import VersionTables
from curation.report.yields import Mask, amount

_EXAMPLES = 3


def totals(version: VersionTables) -> Totals:
    """The key numbers of a version."""
    row = version.row
    readable = [video for video in version.videos if video.status != "quarantined"]
    return Totals(
        films=len(version.videos),
        films_used=row.films,
        film_hours=sum(video.duration_seconds or 0.0 for video in readable) / 3600,
        clips=amount(version.seconds),
        packed=amount(version.seconds, version.packed),
        samples=row.samples,
        train_samples=row.train_samples,
        val_samples=row.val_samples,
        sample_hours=row.seconds / 3600,
        shards=row.shards,
        bytes=row.bytes,
    )


def funnel(version: VersionTables) -> tuple[Stage, ...]:
    """Films, clips, kept clips, clips in samples."""
    return (_films(version), _clips(version), _kept(version), _packed(version))


def losses_by_rule(version: VersionTables) -> tuple[Loss, ...]:
    """What each rule of the policy costs, the costliest first."""
    selection = version.selection
    found = []
    for number, rule in enumerate(selection.rules):
        broken = selection.broken_by(number)
        alone = np.equal(selection.failed, np.uint64(1 << number))
        if broken.any():
            found.append(
                Loss(rule, amount(version.seconds, broken), amount(version.seconds, alone))
            )
    return tuple(sorted(found, key=lambda loss: (-loss.amount.clips, loss.reason)))


def left_out(version: VersionTables) -> dict[str, Mask]:
    """Reason -> clips that the policy keeps and that stand in no sample."""
    aside = version.selection.kept & ~version.packed
    reasons = np.full(len(aside), "", dtype=object)
    ids = version.clips["clip_id"].to_pylist()
    uncaptioned = _uncaptioned(version)
    for index in np.flatnonzero(aside):
        clip = ids[index]
        reasons[index] = version.set_aside.get(clip) or uncaptioned.get(clip) or "not_packed"
    names = sorted({reason for reason in reasons if reason})
    return {name: np.equal(reasons, name) for name in names}


def troubles(version: VersionTables) -> tuple[Trouble, ...]:
    """Films and samples that went wrong, by reason, with examples."""
    found: dict[tuple[str, str], list[str]] = {}
    for video in sorted(version.videos, key=lambda video: video.uri):
        if video.status != "ok":
            words = f"{video.uri}: {video.message or video.reason or 'no message'}"
            found.setdefault((video.status, video.reason or "unknown"), []).append(words)
    for lost in version.manifest["lost"]:
        words = f"{lost['sample_id']}: {lost['message']}"
        found.setdefault(("packing", lost["reason"]), []).append(words)
    for clip, reason in sorted(_uncaptioned(version).items()):
        found.setdefault(("caption", reason), []).append(clip)
    return tuple(
        Trouble(where, reason, len(words), tuple(words[:_EXAMPLES]))
        for (where, reason), words in sorted(found.items())
    )


def _uncaptioned(version: VersionTables) -> dict[str, str]:
    """clip_id -> reason, for kept clips of which every captioner that was asked said nothing."""
    said: dict[str, str | None] = {}
    for row in version.captions.to_pylist():
        if row["caption"] is not None:
            said[row["clip_id"]] = None
        else:
            said.setdefault(row["clip_id"], row["reason"] or "no_caption")
    ids = version.clips["clip_id"].to_pylist()
    aside = version.selection.kept & ~version.packed
    reasons = {ids[index]: said.get(ids[index]) for index in np.flatnonzero(aside)}
    return {clip: reason for clip, reason in reasons.items() if reason}


def _films(version: VersionTables) -> Stage:
    lost = Counter(
        video.reason or "unknown" for video in version.videos if video.status == "quarantined"
    )
    nothing = Amount(0, 0.0)
    return Stage(
        name="Films",
        unit="films",
        count=len(version.videos),
        hours=totals(version).film_hours,
        losses=tuple(
            Loss(reason, Amount(count, 0.0), nothing) for reason, count in sorted(lost.items())
        ),
        note="Hours are of the films that could be read.",
    )


def _clips(version: VersionTables) -> Stage:
    whole = amount(version.seconds)
    return Stage(
        name="Clips",
        unit="clips",
        count=whole.clips,
        hours=whole.hours,
        losses=(),
        note="Transitions and blurred edges are cut away here.",
    )


def _kept(version: VersionTables) -> Stage:
    kept = amount(version.seconds, version.selection.kept)
    return Stage(
        name="Kept by the policy",
        unit="clips",
        count=kept.clips,
        hours=kept.hours,
        losses=losses_by_rule(version),
        note="A clip that breaks several rules counts in each of them.",
    )


def _packed(version: VersionTables) -> Stage:
    packed = amount(version.seconds, version.packed)
    losses = []
    for reason, mask in left_out(version).items():
        part = amount(version.seconds, mask)
        losses.append(Loss(reason, part, part))
    return Stage(
        name="In the dataset",
        unit="clips",
        count=packed.clips,
        hours=packed.hours,
        losses=tuple(losses),
        note="After the steps that look at the whole set: duplicates, balance, captions, packing.",
    )
