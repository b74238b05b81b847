"""The network's opinion, by a closed form and PySceneDetect's wrapper, and what it adds."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenedetect import FrameTimecode
from scenedetect.detectors.transnet_v2 import TransnetV2Detector

from curation.derive import DeriveConfig
from curation.errors import CurationError
from curation.measure.shots.find import ShotConfig, find_shots
from curation.measure.shots.judged import TransNetRule, judged
from curation.measure.shots.transnet import HEIGHT, WIDTH, Network, TransitionMeter, TransNetConfig
from curation.scan import ScanConfig
from tests.curation.measure import step_network
from tests.curation.measure.test_shots_find import boundaries, pan, still, trace_of

U8 = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> TransNetConfig:
    folder = tmp_path_factory.mktemp("weights")
    step_network.write(folder / "steps.onnx")
    return TransNetConfig(weights="steps.onnx").settled(folder)


def said_of(frames: U8, config: TransNetConfig) -> list[float]:
    meter = TransitionMeter(config)
    said = [one for frame in frames for one in meter.look(frame)]
    return said + meter.finish()


def grey(levels: list[int]) -> U8:
    """Frames of one grey each, of the network's own size."""
    return np.tile(np.array(levels, np.uint8)[:, None, None, None], (1, HEIGHT, WIDTH, 3))


@settings(deadline=None, max_examples=25)
@given(levels=st.lists(st.integers(0, 255), min_size=1, max_size=230))
def test_windows_leave_no_trace(network: TransNetConfig, levels: list[int]) -> None:
    """A network that looks one frame ahead gives the same in windows as over the whole film."""
    frames = grey(levels)
    np.testing.assert_allclose(said_of(frames, network), step_network.expected(frames), atol=1e-5)


@pytest.mark.parametrize("count", [1, 49, 50, 51, 74, 75, 76, 99, 100, 101, 150, 175, 200])
def test_every_frame_is_judged_once(network: TransNetConfig, count: int) -> None:
    assert len(said_of(grey([9] * count), network)) == count


def test_beginnings_agree_with_scenedetect(network: TransNetConfig) -> None:
    """PySceneDetect's own wrapper names the same frames, but for the black at its end."""
    levels = np.repeat(np.random.default_rng(3).permutation(np.arange(20, 240, 11)), 17).tolist()
    frames = grey(levels)
    detector = TransnetV2Detector(network.weights, ["CPUExecutionProvider"], min_scene_len=0)
    cuts, time = [], FrameTimecode(0, 24.0)
    for index, frame in enumerate(frames):
        time = FrameTimecode(index, 24.0)
        cuts += detector.process_frame(time, frame)
    cuts += detector.post_process(time)
    theirs = sorted({cut.frame_num for cut in cuts} - {len(frames) - 1})
    spans = judged(np.array(said_of(frames, network)), [], TransNetRule())
    assert [start for start, _ in spans] == theirs
    assert len(spans) == len(levels) // 17 - 1


def test_colours_are_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    """A network that sees the first channel alone: red by default, blue when bgr is asked for."""
    step_network.write(tmp_path / "first.onnx", channels=(0,))
    frames = grey([20] * 120)
    frames[40:, ..., 0] = 200  # BGR: blue rises at 40, red at 80
    frames[80:, ..., 2] = 200
    for channels, rises in (("rgb", 80), ("bgr", 40)):
        config = TransNetConfig(weights="first.onnx", channels=channels).settled(tmp_path)
        spans = judged(np.array(said_of(frames, config)), [], TransNetRule())
        assert spans == [(rises - 1, rises)]


def test_float_input_is_served_too(tmp_path: Path) -> None:
    step_network.write(tmp_path / "float.onnx", number="FLOAT")
    config = TransNetConfig(weights="float.onnx").settled(tmp_path)
    frames = grey([10] * 30 + [90] * 40)
    np.testing.assert_allclose(said_of(frames, config), step_network.expected(frames), atol=1e-5)


def test_what_is_no_such_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("weights, believe me")
    step_network.write(tmp_path / "logits.onnx", logits=True)
    step_network.write(tmp_path / "short.onnx", frames=64)
    step_network.write(tmp_path / "double.onnx", number="DOUBLE")
    for name, words in {
        "absent.onnx": "no file 'absent.onnx'",
        "text.onnx": "no network that takes",
        "logits.onnx": "wants a sigmoid",
        "short.onnx": "no network that takes",
        "double.onnx": "no network that takes",
    }.items():
        with pytest.raises(CurationError, match=words):
            TransNetConfig(weights=name).settled(tmp_path)


def test_a_file_that_changed_since_it_was_hashed_is_refused(tmp_path: Path) -> None:
    step_network.write(tmp_path / "steps.onnx")
    config = TransNetConfig(weights="steps.onnx").settled(tmp_path)
    Network.load.cache_clear()  # as in a worker that begins later
    step_network.write(tmp_path / "steps.onnx", channels=(1,))
    with pytest.raises(CurationError, match="changed during the run"):
        TransitionMeter(config)


def test_without_onnxruntime_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_network.write(tmp_path / "steps.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    Network.load.cache_clear()
    with pytest.raises(CurationError, match=r"tempomaster\[transnet\]"):
        TransNetConfig(weights="steps.onnx").settled(tmp_path)


def test_fingerprints_hold_the_bytes_and_not_the_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        step_network.write(tmp_path / folder / "steps.onnx")
    with_network = ScanConfig(transnet=TransNetConfig(weights="steps.onnx"))
    first, second = (with_network.settled(tmp_path / folder) for folder in ("one", "two"))
    assert first.transnet.weights != second.transnet.weights
    assert first.fingerprint == second.fingerprint != ScanConfig().fingerprint
    recorded = dataclasses.replace(first.transnet, weights="")
    assert ScanConfig(transnet=recorded).fingerprint == first.fingerprint
    assert ScanConfig(transnet=recorded).settled(tmp_path).fingerprint == first.fingerprint
    with pytest.raises(ValueError, match="not `settled`"):
        _ = with_network.fingerprint


def test_without_a_network_older_homes_are_as_good_as_before() -> None:
    """Fingerprints of the release before there were networks."""
    assert ScanConfig().fingerprint == "f770fc7e27cf1deb83b1fcd34280c5b4"
    assert DeriveConfig().fingerprint("s") == "7c2dc5bece59323f2cba4635f1f0eac2"
    moved = ShotConfig(transnet=TransNetRule(min_probability=0.4))
    assert DeriveConfig(shots=moved).fingerprint("s") != DeriveConfig().fingerprint("s")


def test_it_adds_what_the_rules_do_not_see() -> None:
    """A jump cut in one framing, and a slow change; what the rules have found stays exact."""
    frames = [*pan(1, 60), *pan(2, 60), *still(2, 60)]
    trace = trace_of(frames)
    alone = boundaries(find_shots(trace, 24.0, ShotConfig()))
    assert ("cut", 60, 60) in alone
    probability = np.zeros(len(frames), np.float32)
    probability[[0, 59, 61, 90, 179]] = 0.9  # ends of the film, beside the cut, a jump cut
    probability[140:148] = 0.6
    together = boundaries(find_shots(trace, 24.0, ShotConfig(), probability))
    assert set(together) == {*alone, ("cut", 90, 91), ("dissolve", 140, 148)}
    strict = ShotConfig(transnet=TransNetRule(min_probability=0.7))
    assert set(boundaries(find_shots(trace, 24.0, strict, probability))) == {
        *alone,
        ("cut", 90, 91),
    }


@settings(deadline=None)
@given(
    marks=st.lists(st.booleans(), min_size=1, max_size=80),
    known=st.lists(st.integers(0, 80), max_size=3),
    near=st.integers(0, 6),
)
def test_spans_hold_exactly_the_marked_frames_far_from_known_ones(
    marks: list[bool], known: list[int], near: int
) -> None:
    rule = TransNetRule(near_frames=near)
    spans = judged(np.array(marks, np.float32), [(cut, cut) for cut in known], rule)
    held = {frame for start, end in spans for frame in range(start, end)}
    for start, end in spans:
        assert all(marks[start:end])
        assert start > 0
        assert not marks[start - 1]
        assert end < len(marks)
        assert not marks[end]
        assert all(start - cut > near or cut - end > near for cut in known)
    for frame, marked in enumerate(marks):
        if marked and frame not in held:
            left, right = frame, frame + 1
            while left and marks[left - 1]:
                left -= 1
            while right < len(marks) and marks[right]:
                right += 1
            at_an_end = left == 0 or right == len(marks)
            assert at_an_end or any(left - cut <= near and cut - right <= near for cut in known)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="min_probability"):
        TransNetRule(min_probability=0.0)
    with pytest.raises(ValueError, match="near_frames"):
        TransNetRule(near_frames=-1)
    with pytest.raises(ValueError, match="channels"):
        TransNetConfig(channels="grb")
