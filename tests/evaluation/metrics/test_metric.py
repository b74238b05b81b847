"""What every metric shares: one decode, exact JSON, values that are numbers."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from evaluation.errors import MetricError
from evaluation.metrics.average import FrameAverage
from evaluation.metrics.clips import Footage
from evaluation.metrics.metric import MetricResult, is_proxy, score_together
from evaluation.score import DIMENSIONS, total_score
from tests.evaluation.metrics.videos import judged, pan, write


def brightness(name: str) -> FrameAverage:
    return FrameAverage(name, "", lambda frames: frames.mean(axis=(1, 2, 3)) / 255.0)


def test_metrics_that_share_a_decode_say_what_each_says_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write(tmp_path / "pan.mp4", pan(60, 2.0))
    darkness = FrameAverage("darkness", "", lambda f: 1.0 - f.mean(axis=(1, 2, 3)) / 255.0)
    alone = [brightness("brightness").score(video), darkness.score(video)]
    decodes: list[Path] = []
    original = Footage.clips
    monkeypatch.setattr(
        Footage, "clips", lambda self: (decodes.append(self.path), original(self))[1]
    )
    together = score_together(video, [brightness("brightness"), darkness])
    assert list(together) == ["brightness", "darkness"]
    assert list(together.values()) == alone
    assert decodes == [video]


def test_averages_are_those_of_clips_so_that_the_overlap_counts_twice() -> None:
    frames = pan(60, 2.0)
    marks = frames.reshape(60, -1).mean(axis=1) / 255.0
    found = judged(brightness("any"), frames)
    assert found.value == pytest.approx((marks[:48].mean() + marks[12:].mean()) / 2)
    assert found.details == pytest.approx({"worst_frame": marks.min(), "best_frame": marks.max()})


def test_two_metrics_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="each once"):
        score_together(tmp_path / "any.mp4", [brightness("a"), brightness("a")])


def test_results_come_back_from_json_exactly() -> None:
    found = MetricResult(1 / 3, (0.1, 2 / 3), (0.0, 2.0), {"x": 0.7}, {"c": (0.1, 0.3)})
    assert MetricResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_value_that_is_no_number_is_an_error() -> None:
    with pytest.raises(MetricError, match="nan"):
        MetricResult(float("nan"), (), ())
    metric = FrameAverage("any", "", lambda frames: np.full(len(frames), np.inf))
    with pytest.raises(MetricError, match="not finite"):
        judged(metric, pan(4, 1.0))


def test_surrogates_have_no_total() -> None:
    proxies = {f"proxy_{name}": 50.0 for name in DIMENSIONS}
    assert all(map(is_proxy, proxies))
    with pytest.raises(ValueError, match="proxy_"):
        total_score(proxies)


def test_a_frame_rate_is_a_fraction_of_seconds() -> None:
    scoring = brightness("any").begin(Fraction(24000, 1001))
    from evaluation.metrics.clips import Clip

    scoring.take(Clip(0, 46, pan(4, 1.0)))
    assert scoring.finish().starts == (pytest.approx(46 * 1001 / 24000),)
