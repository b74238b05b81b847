"""What metrics said of videos, kept by the video's bytes and the metric's fingerprint.

One small JSON file per video and metric, written whole or not at all, with a hash of its own
content: a file that is damaged, cut short or somebody else's counts as absent and is made anew.
Judging costs minutes and a result a kilobyte, so nothing is ever evicted; another version, setting
or weight has another fingerprint and lies beside the old one.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from curation.records import canonical_json
from curation.traces import sync_file, sync_folder
from evaluation.errors import MetricError
from evaluation.metrics.build import MetricPlan
from evaluation.metrics.metric import Metric, MetricResult, score_together


class ResultCache:
    """Results of any number of videos.

    Args:
        folder: made when the first result is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, video_sha256: str, fingerprint: str) -> MetricResult | None:
        """What is kept; None where nothing is, or nothing that can be read."""
        try:
            document = json.loads(self._path(video_sha256, fingerprint).read_bytes())
            kept = document["result"]
            if document["sha256"] != _hash(kept):
                return None
            return MetricResult.from_json(kept)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, MetricError):
            return None  # damaged: whoever asked makes it anew, and `put` replaces it

    def put(self, video_sha256: str, fingerprint: str, result: MetricResult) -> None:
        """Keep a result, in place of any other."""
        path = self._path(video_sha256, fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = result.to_json()
        text = json.dumps({"sha256": _hash(kept), "result": kept}, sort_keys=True) + "\n"
        # A name of its own for each process: two may judge one video at the same time.
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".", delete=False
        ) as partial:
            partial.write(text)
        try:
            sync_file(Path(partial.name))
            Path(partial.name).rename(path)
        finally:
            Path(partial.name).unlink(missing_ok=True)
        sync_folder(path.parent)

    def _path(self, video_sha256: str, fingerprint: str) -> Path:
        return self._folder / video_sha256[:2] / video_sha256 / f"{fingerprint}.json"


class Judge:
    """Judges videos by planned metrics; networks are loaded when the first result is missing.

    Args:
        plans: of the metrics.
        cache: what is known already.
    """

    def __init__(self, plans: Sequence[MetricPlan], cache: ResultCache) -> None:
        self._plans, self._cache = list(plans), cache
        self._built: dict[str, Metric] = {}

    def score(self, video: Path) -> dict[str, MetricResult]:
        """What every metric says of a video, by name; what is not kept yet is kept.

        Raises:
            MetricError: a metric cannot judge it; what the cache holds stays.
            EvaluationError: a network cannot be loaded.
        """
        with video.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        known = {plan.name: self._cache.get(sha256, plan.fingerprint) for plan in self._plans}
        missing = [plan for plan in self._plans if known[plan.name] is None]
        made = score_together(video, [self._metric(plan) for plan in missing]) if missing else {}
        for plan in missing:
            self._cache.put(sha256, plan.fingerprint, made[plan.name])
        kept = {name: result for name, result in known.items() if result is not None}
        return {plan.name: (kept | made)[plan.name] for plan in self._plans}

    def _metric(self, plan: MetricPlan) -> Metric:
        if plan.name not in self._built:
            self._built[plan.name] = plan.make()
        return self._built[plan.name]


def _hash(kept: object) -> str:
    return hashlib.sha256(canonical_json(kept).encode()).hexdigest()
