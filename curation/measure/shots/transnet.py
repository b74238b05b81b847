"""TransNetV2's opinion of every frame, formed while the film is decoded; an option.

The network (Souček and Lokoč 2020, arXiv:2008.04838) reads 100 frames of 48x27 pixels at a time
and says of each how likely one shot becomes another there. The middle 50 are believed; before a
film's first frame and after its last stand copies of those two, as its authors have it. Unlike
theirs, frames come without borders, and by way of the picture that cuts are found on. Its weights
are a file that somebody has to fetch, in ONNX, with probabilities (not logits) as the first output;
nothing is downloaded. The published weights were not at hand when this was written: how windows are
cut and put together is tested, against PySceneDetect's wrapper too, but not what the network finds.
"""

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from curation.errors import CurationError, NetworkError
from curation.video.orientation import upright
from curation.weights import ModelFile, absent, found, local_file, sha256_of

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

WIDTH, HEIGHT = 48, 27
WINDOW, BELIEVED = 100, 50
MARGIN = (WINDOW - BELIEVED) // 2
SETTING = "scan.transnet.weights"
_SOURCE = "github.com/soCzech/TransNetV2"
_OTHER_FILES = "session.model_external_initializers_file_folder_path"
_TYPES: dict[str, type[np.uint8 | np.float32]] = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
}


@dataclasses.dataclass(frozen=True, slots=True)
class TransNetConfig:
    """Whether a network judges every frame, and which.

    Attributes:
        weights: an ONNX file, by its path or its name in the home's ``weights``; empty: no network.
        channels: order in which the file wants colours: rgb, as the network was trained, or bgr, as
            PySceneDetect feeds its own export.
        sha256: of the file; filled in by `settled`, which refuses another one where it is given. It
            stands for the file in fingerprints, and in the record of a version, where there is no
            path.
    """

    weights: str = ""
    channels: str = "rgb"
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.channels not in ("rgb", "bgr"):
            raise ValueError(f"scan.transnet.channels = {self.channels!r}: give rgb or bgr")

    @property
    def wanted(self) -> bool:
        """Whether there is a network."""
        return bool(self.weights or self.sha256)

    def identity(self) -> dict[str, str]:
        """What decides its numbers, wherever the file lies.

        Raises:
            ValueError: the file was not hashed yet.
        """
        if not self.sha256:
            raise ValueError(f"{SETTING} = {self.weights}: not `settled` yet")
        return {"channels": self.channels, "sha256": self.sha256}

    def file(self, folder: Path) -> ModelFile:
        """The file, found or not.

        Args:
            folder: the home's folder of weights.
        """
        path = local_file(self.weights, folder)
        if path is not None:
            return found(SETTING, "TransNetV2", path)
        remedy = (
            f"no file {self.weights!r}, here or in {folder}; export the network of {_SOURCE} to "
            f"ONNX with its probabilities as the first output, or do without: --set {SETTING}="
        )
        return absent(SETTING, "TransNetV2", remedy)

    def settled(self, folder: Path) -> "TransNetConfig":
        """The same with the file found, tried on blank frames, and hashed.

        A config as a version records it, with the hash alone, stays as it is.

        Raises:
            CurationError: there is no such file.
            NetworkError: it is not such a network, or not the one of `sha256`.
        """
        if not self.weights:
            return self
        file = self.file(folder)
        if file.path is None:
            raise CurationError(f"{file.what} ({file.used_by}): {file.remedy}")
        settled = dataclasses.replace(
            self, weights=str(file.path), sha256=self.sha256 or sha256_of(file)
        )
        settled.load()
        return settled

    def load(self) -> "Network":
        """The network, loaded and tried, in the process that is to ask it.

        Raises:
            NetworkError: the file cannot be read, is another one than was hashed, or is not such a
                network; or onnxruntime is not installed.
        """
        try:
            content = Path(self.weights).read_bytes()
        except OSError as error:
            raise NetworkError(f"{SETTING} = {self.weights!r} cannot be read: {error}") from error
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != self.sha256:
            raise NetworkError(
                f"{SETTING} = {self.weights}: its sha256 is {sha256} and not {self.sha256}: it was "
                "changed during the run, or is not the file that scan.transnet.sha256 asks for"
            )
        return Network.of(content, self.weights)


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """A loaded network that has shown that it takes frames and gives probabilities."""

    session: Any
    name: str
    """Of its input."""
    number: type[np.uint8 | np.float32]
    """What its input is made of."""
    file: str

    @staticmethod
    def of(content: bytes, file: str) -> "Network":
        """Load a file's bytes and try them.

        Args:
            content: the ONNX file, whole: tensors in files beside it are not read, since no hash
                would cover them.
            file: its name, for messages.

        Raises:
            NetworkError: onnxruntime is not installed, or this is not such a network.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise NetworkError(
                f"{SETTING} needs onnxruntime: uv pip install 'tempomaster[transnet]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # films share the cores
        options.log_severity_level = 4  # what is wrong is raised
        options.add_session_config_entry(_OTHER_FILES, os.devnull)
        try:
            # One provider everywhere: on a GPU the same network gives other numbers.
            session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
            first = session.get_inputs()[0]
            network = Network(session, first.name, _TYPES[first.type], file)
            network.judge(np.zeros((WINDOW, HEIGHT, WIDTH, 3), np.uint8))
        except NetworkError:
            raise
        except Exception as error:  # onnxruntime's own errors share no base class
            raise NetworkError(
                f"{SETTING} = {file}: no network, whole in one file, that takes "
                f"[1, {WINDOW}, {HEIGHT}, {WIDTH}, 3] frames of uint8 or float32 "
                f"({' '.join(str(error).split()) or type(error).__name__})"
            ) from error
        return network

    def judge(self, frames: U8) -> F32:
        """Probability [100] of a transition at each of 100 frames [100, 27, 48, 3].

        Raises:
            NetworkError: the network says something else.
        """
        batch = frames[np.newaxis].astype(self.number, copy=False)
        said = np.asarray(self.session.run(None, {self.name: batch})[0], np.float32)
        if said.size != WINDOW or not ((said >= 0) & (said <= 1)).all():
            low, high = (said.min(), said.max()) if said.size else (np.nan, np.nan)
            raise NetworkError(
                f"{SETTING} = {self.file}: the first output has shape {said.shape} and values "
                f"from {low:.3g} to {high:.3g}; {WINDOW} probabilities are needed (an export of "
                "logits wants a sigmoid at its end)"
            )
        return said.reshape(WINDOW)


class TransitionMeter:
    """Judges the frames of a film one after the other; holds at most a window of them.

    Args:
        network: who judges.
        channels: the order of colours that it wants, 'rgb' or 'bgr'.
        rotation: by which a player turns the film (`curation.video.orientation`): the network has
            learnt from pictures that stand upright.
        mirrored: whether a player mirrors it.
    """

    def __init__(
        self, network: Network, channels: str, rotation: int = 0, *, mirrored: bool = False
    ) -> None:
        self._network = network
        self._flip = channels == "rgb"
        self._rotation, self._mirrored = rotation, mirrored
        self._window = np.empty((WINDOW, HEIGHT, WIDTH, 3), np.uint8)
        self._filled = 0
        self._seen = self._said = 0

    def look(self, bgr: U8) -> list[float]:
        """Take the next frame.

        Args:
            bgr: uint8 [H, W, 3] of any size, as coded, borders cropped.

        Returns:
            Probabilities of frames that became known, in order; none for most frames.
        """
        stands = upright(bgr, self._rotation, self._mirrored)
        small = cast("U8", cv2.resize(stands, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
        if self._flip:
            small = cast("U8", cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        if not self._seen:
            self._window[:MARGIN] = small
            self._filled = MARGIN
        self._seen += 1
        return self._push(small)

    def finish(self) -> list[float]:
        """Probabilities of the frames that are left, once the film has ended."""
        left: list[float] = []
        last = self._window[self._filled - 1].copy()
        while self._said < self._seen:
            left += self._push(last)
        return left

    def _push(self, small: U8) -> list[float]:
        self._window[self._filled] = small
        self._filled += 1
        if self._filled < WINDOW:
            return []
        new = min(BELIEVED, self._seen - self._said)
        said = self._network.judge(self._window)[MARGIN : MARGIN + new]
        self._window[:BELIEVED] = self._window[BELIEVED:]
        self._filled = BELIEVED
        self._said += new
        return [float(one) for one in said]
