"""What metrics said of videos, kept by the video's bytes and the metric's fingerprint.

One small JSON file per video and metric, written whole or not at all, with a hash of its own
content: a file that is damaged, cut short or somebody else's counts as absent and is made anew.
Judging costs minutes and a result a kilobyte, so nothing is ever evicted; another version, setting
or weight has another fingerprint and lies beside the old one.
"""

import hashlib
import json
from pathlib import Path

from curation.identities import canonical_json
from curation.unfinished import replacing
from evaluation.errors import MetricError
from evaluation.metrics.metric import MetricResult


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
        # No temporary file of Python's, which other users of the home could not read.
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")

    def _path(self, video_sha256: str, fingerprint: str) -> Path:
        return self._folder / video_sha256[:2] / video_sha256 / f"{fingerprint}.json"


def _hash(kept: object) -> str:
    return hashlib.sha256(canonical_json(kept).encode()).hexdigest()
