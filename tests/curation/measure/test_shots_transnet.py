"""The network's opinion, by a closed form and PySceneDetect's wrapper, and what it adds."""

import dataclasses
import itertools
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenedetect import FrameTimecode
from scenedetect.detectors.transnet_v2 import TransnetV2Detector

from curation.derive import DeriveConfig
from curation.errors import CurationError, NetworkError
from curation.measure.shots.find import ShotConfig, find_shots
from curation.measure.shots.judged import TransNetRule, with_judged
from curation.measure.shots.transition import Transition
from curation.measure.shots.transnet import HEIGHT, WIDTH, TransitionMeter, TransNetConfig
from curation.scan import ScanConfig
from tests.curation.measure import step_network
from tests.curation.measure.test_shots_find import boundaries, pan, still, trace_of

U8 = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> TransNetConfig:
    folder = tmp_path_factory.mktemp("weights")
    step_network.write(folder / "steps.onnx")
    return TransNetConfig(weights="steps.onnx").settled(folder)


def said_of(frames: U8, config: TransNetConfig, rotation: int = 0) -> list[float]:
    meter = TransitionMeter(config.load(), config.channels, rotation)
    said = [one for frame in frames for one in meter.look(frame)]
    return said + meter.finish()


def marked_in(probability: list[float]) -> list[tuple[int, int]]:
    found = with_judged([], np.array(probability, np.float32), TransNetRule())
    return [(one.start, one.end) for one in found]


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
    spans = marked_in(said_of(frames, network))
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
        spans = marked_in(said_of(frames, config))
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
        "text.onnx": "no network, whole in one file, that takes",
        "logits.onnx": "wants a sigmoid",
        "short.onnx": "no network, whole in one file, that takes",
        "double.onnx": "no network, whole in one file, that takes",
    }.items():
        with pytest.raises(CurationError, match=words):
            TransNetConfig(weights=name).settled(tmp_path)


def test_frames_of_any_size_stand_upright(tmp_path: Path) -> None:
    """What the network is shown is OpenCV's area average of the picture as a player shows it."""
    step_network.write(tmp_path / "steps.onnx", rows=(0,))  # it looks at the top row alone
    config = TransNetConfig(weights="steps.onnx").settled(tmp_path)
    noise = np.random.default_rng(5).integers(0, 256, (60, 90, 160, 3), np.uint8)
    noise[30:, :, :6] = 255  # the left edge: on top, once a player has turned it clockwise
    for rotation, turn in ((0, None), (90, cv2.ROTATE_90_CLOCKWISE)):
        upright = [frame if turn is None else cv2.rotate(frame, turn) for frame in noise]
        small = [cv2.resize(f, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for f in upright]
        expected = step_network.expected(np.array(small)[:, :1])
        np.testing.assert_allclose(said_of(noise, config, rotation), expected, atol=1e-4)
        assert (expected[29] > 0.9) == (rotation == 90)


def test_a_file_that_changed_since_it_was_hashed_is_refused(tmp_path: Path) -> None:
    step_network.write(tmp_path / "steps.onnx")
    config = TransNetConfig(weights="steps.onnx").settled(tmp_path)
    step_network.write(tmp_path / "steps.onnx", channels=(1,))
    with pytest.raises(NetworkError, match="changed during the run"):
        config.load()
    pinned = TransNetConfig(weights="steps.onnx", sha256=config.sha256)
    with pytest.raises(NetworkError, match=r"scan\.transnet\.sha256 asks for"):
        pinned.settled(tmp_path)
    with pytest.raises(NetworkError, match="cannot be read"):
        TransNetConfig(sha256=config.sha256).load()


def test_weights_in_another_file_are_refused_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hash would cover them."""
    step_network.write(tmp_path / "steps.onnx", weights_beside=True)
    assert (tmp_path / "steps.onnx.data").is_file()
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        with pytest.raises(NetworkError, match="whole in one file"):
            TransNetConfig(weights=str(tmp_path / "steps.onnx")).settled(tmp_path)


def test_without_onnxruntime_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_network.write(tmp_path / "steps.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NetworkError, match=r"tempomaster\[transnet\]"):
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
    with pytest.raises(ValueError, match="179 frames were judged, and 180 traced"):
        find_shots(trace, 24.0, ShotConfig(), probability[1:])


def test_a_long_change_around_a_cut_of_the_rules_takes_it_in() -> None:
    """A wipe of which the rules saw one step: no frame of it may stay in a shot."""
    probability = np.zeros(200, np.float32)
    probability[100:130] = 1
    for cut, expected in {
        118: [("dissolve", 100, 130)],
        130: [("dissolve", 100, 130), ("cut", 130, 130)],
        133: [("dissolve", 100, 130), ("cut", 133, 133)],
    }.items():
        found = with_judged([Transition("cut", cut, cut)], probability, TransNetRule())
        assert [(one.kind, one.start, one.end) for one in found] == expected
    fade = Transition("fade", 90, 110)
    assert with_judged([fade], probability, TransNetRule()) == [Transition("fade", 90, 130)]


@st.composite
def films_with_boundaries(draw: st.DrawFn) -> tuple[list[bool], list[Transition]]:
    marks = draw(st.lists(st.booleans(), min_size=1, max_size=60))
    marks = [mark for mark in marks for _ in range(draw(st.integers(1, 4)))]
    edges = sorted(draw(st.lists(st.integers(1, len(marks)), max_size=6)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    kinds = {True: "cut", False: draw(st.sampled_from(["fade", "dissolve"]))}
    return marks, [Transition(kinds[a == b], a, b) for a, b in pairs]


@settings(deadline=None)
@given(film=films_with_boundaries(), near=st.integers(0, 6), cut=st.integers(0, 3))
def test_what_anybody_saw_is_in_no_shot(
    film: tuple[list[bool], list[Transition]], near: int, cut: int
) -> None:
    marks, known = film
    rule = TransNetRule(near_frames=near, cut_frames=cut)
    found = with_judged(known, np.array(marks, np.float32), rule)
    for before, after in itertools.pairwise(found):
        assert before.end <= after.start
    gone = {frame for one in found for frame in range(one.start, one.end)}
    for one in known:  # still there, alone or within a longer one
        assert any(other.start <= one.start and one.end <= other.end for other in found)
        assert gone >= set(range(one.start, one.end))
    first = 0
    for marked, run in itertools.groupby(marks):
        last = first + len(list(run))
        if marked and last - first > cut and first > 0 and last < len(marks):
            assert gone >= set(range(first, last))
        if not marked and not any(o.start < last and first < o.end for o in known):
            assert not gone & set(range(first, last))
        first = last


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="min_probability"):
        TransNetRule(min_probability=0.0)
    with pytest.raises(ValueError, match="near_frames"):
        TransNetRule(near_frames=-1)
    with pytest.raises(ValueError, match="channels"):
        TransNetConfig(channels="grb")
