"""The verdict: what in a report a person should know before training on it, and what to do.

Each rule looks at one thing and says it with numbers and a remedy. The limits are customs of the
field and round numbers; they decide what is said first, and change nothing in the dataset.
"""

from collections.abc import Callable, Iterator

from curation.report.document import Alert, Report, Verdict

_SEVERITIES = ("error", "warning", "note")
_LOW_YIELD = 0.1
_ONE_RULE = 0.5
_ONE_FILM = 0.4
_FEW_FILMS = 5
_REPEATED = 0.2
_SHIFT, _SIGNIFICANT = 0.25, 0.01


def judged(report: Report) -> tuple[Verdict, tuple[Alert, ...]]:
    """The verdict on a report and its alerts, the gravest first."""
    alerts = [alert for rule in _RULES for alert in rule(report)]
    alerts.sort(key=lambda alert: _SEVERITIES.index(alert.severity))
    counts = {name: sum(alert.severity == name for alert in alerts) for name in _SEVERITIES}
    return _verdict(counts, alerts), tuple(alerts)


def _verdict(counts: dict[str, int], alerts: list[Alert]) -> Verdict:
    if counts["error"]:
        return Verdict("error", "Do not train on this yet", f"{alerts[0].title}.")
    if counts["warning"]:
        number = counts["warning"]
        look = "One thing needs" if number == 1 else f"{number} things need"
        return Verdict("warning", "Usable, but look first", f"{look} a look before training.")
    return Verdict("good", "Good to train on", "Nothing stands out in what was measured.")


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


def _of(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _split(report: Report) -> Iterator[Alert]:
    totals = report.totals
    both = report.leakage.films_on_both_sides
    if both:
        yield Alert(
            "error", f"{_of(len(both), 'film is', 'films are')} in training and in validation",
            f"The first is {both[0]}.", "Publish the dataset again: the split is by film.",
            "leakage",
        )  # fmt: skip
    if not totals.val_samples:
        yield Alert(
            "warning", "There is no validation side",
            "Nothing is held out, so overfitting cannot be seen.",
            "Curate with --set split.val_share=0.1 and films enough for two sides.", "shards",
        )  # fmt: skip
    found = report.leakage.pairs_found
    if found:
        closest = report.leakage.pairs[0].distance
        yield Alert(
            "warning",
            f"{_of(found, 'pair of clips looks', 'pairs of clips look')} alike across the split",
            f"The closest pair differs in {100 * closest:.0f} % of its hash; half is usual.",
            "Look at the pairs; take one of each two films out if they are the same material.",
            "leakage",
        )  # fmt: skip


def _shards(report: Report) -> Iterator[Alert]:
    bad = [shard for shard in report.shards if shard.state.startswith(("missing", "other"))]
    if bad:
        yield Alert(
            "error", f"{_of(len(bad), 'shard is', 'shards are')} not as published",
            f"{bad[0].name}: {bad[0].state}.",
            f"Run tempo verify {report.reference}, then restore the shard or curate again.",
            "shards",
        )  # fmt: skip
    if report.verified and report.verified.wrong:
        yield Alert(
            "error", "The last verification found faults",
            f"{report.verified.verdict} on {report.verified.when}, first in "
            f"{min(report.verified.wrong)}.",
            f"Restore what differs, then run tempo verify {report.reference} again.", "shards",
        )  # fmt: skip


def _troubles(report: Report) -> Iterator[Alert]:
    counts = {
        where: sum(trouble.count for trouble in report.troubles if trouble.where == where)
        for where in ("quarantined", "partial", "caption", "packing")
    }
    if counts["packing"]:
        yield Alert(
            "warning", f"{_of(counts['packing'], 'sample', 'samples')} could not be packed",
            "They were planned, and their films no longer gave what was scanned.",
            "Put the films back in place and curate again: only these are packed.", "errors",
        )  # fmt: skip
    if counts["caption"]:
        yield Alert(
            "warning", f"{_of(counts['caption'], 'kept clip has', 'kept clips have')} no caption",
            "Clips without words are left out of the dataset.",
            "Add sidecar files, or another captioner: --set captioners=sidecar,describe", "errors",
        )  # fmt: skip
    if counts["quarantined"]:
        share = _percent(counts["quarantined"], report.totals.films)
        yield Alert(
            "warning" if counts["quarantined"] > 0.1 * report.totals.films else "note",
            f"{_of(counts['quarantined'], 'film', 'films')} could not be read ({share})",
            "They are quarantined with the decoder's words.",
            "Repair or replace them, then curate again with --retry.", "errors",
        )  # fmt: skip
    if counts["partial"]:
        yield Alert(
            "note", f"{_of(counts['partial'], 'film is', 'films are')} damaged",
            "What could be read of them is used.", "See which, and why, under errors.", "errors",
        )  # fmt: skip


def _yield(report: Report) -> Iterator[Alert]:
    clips, packed = report.totals.clips, report.totals.packed
    if clips.hours and packed.hours < _LOW_YIELD * clips.hours:
        yield Alert(
            "warning", f"Only {_percent(packed.hours, clips.hours)} of the hours are kept",
            "The policy may not fit these films.",
            "Move the thresholds in the what-if and see what comes back.", "whatif",
        )  # fmt: skip
    kept = next(stage for stage in report.funnel if stage.name.startswith("Kept"))
    for loss in kept.losses:
        if loss.alone.hours > _ONE_RULE * clips.hours:
            yield Alert(
                "warning", f"One rule alone drops {_percent(loss.alone.hours, clips.hours)}",
                f"{loss.reason} drops {loss.alone.clips} clips that nothing else is wrong with.",
                "Check this threshold against its histogram.", "whatif",
            )  # fmt: skip


def _mix(report: Report) -> Iterator[Alert]:
    films, hours = report.composition.films, report.totals.sample_hours
    if len(films) >= _FEW_FILMS and hours and films[0].hours > _ONE_FILM * hours:
        yield Alert(
            "warning", f"One film is {_percent(films[0].hours, hours)} of the dataset",
            f"{films[0].name} outweighs the {len(films) - 1} others.",
            "Add other films, or take fewer clips of this one.", "made-of",
        )  # fmt: skip
    unstated = [share for share in report.composition.licences if share.name == "not stated"]
    if unstated:
        yield Alert(
            "note",
            f"{_of(unstated[0].count, 'sample has', 'samples have')} no stated licence",
            "Nothing says whether these films may be trained on.",
            "Name licences in a manifest (CSV: uri, licence) and curate that.", "made-of",
        )  # fmt: skip
    short = report.composition.below_stage_one
    if short:
        yield Alert(
            "note", f"{_of(short, 'sample is', 'samples are')} shorter than 121 frames",
            "Stage 1 of training takes 121 frames at 24 fps, a little over five seconds; these "
            "serve shorter windows only.",
            "Raise the limit if you want none: --set select.seconds.min=5.05", "made-of",
        )  # fmt: skip


def _captions(report: Report) -> Iterator[Alert]:
    captions, samples = report.captions, report.totals.samples
    if captions.empty or captions.broken_tags:
        yield Alert(
            "error", f"{captions.empty + captions.broken_tags} captions are empty or broken",
            f"{captions.empty} have no words, {captions.broken_tags} have tags that do not fit "
            "their shots.",
            "Correct them at their source and curate again.", "captions",
        )  # fmt: skip
    if captions.repeated_samples > _REPEATED * samples:
        yield Alert(
            "warning",
            f"{_percent(captions.repeated_samples, samples)} of the captions are not unique",
            f"{captions.repeated_samples} samples share their words with another sample.",
            "A captioner that sees the pictures tells clips apart.", "captions",
        )  # fmt: skip
    described = captions.by_captioner.get("describe", 0)
    if described:
        yield Alert(
            "note", f"{_percent(described, samples)} of the captions are made from measurements",
            "They tell light, colour and camera, and not what is seen.",
            "Curate with a captioner that looks at the frames, or with sidecars.", "captions",
        )  # fmt: skip


def _drift(report: Report) -> Iterator[Alert]:
    if report.drift is None:
        return
    moved = [
        shift
        for shift in report.drift.shifts
        if shift.psi > _SHIFT and shift.p_value < _SIGNIFICANT
    ]
    if moved:
        named = ", ".join(shift.label for shift in moved[:3])
        yield Alert(
            "warning",
            f"{_of(len(moved), 'measurement', 'measurements')} moved since "
            f"{report.drift.reference}",
            f"By PSI and KS: {named}.", "See what changed in films, policy and fingerprints.",
            "drift",
        )  # fmt: skip


_RULES: tuple[Callable[[Report], Iterator[Alert]], ...] = (
    _split, _shards, _captions, _troubles, _yield, _mix, _drift,
)  # fmt: skip
