"""Read the samples that we packed: exact, fast access by index through decord.

decord is for our own H.264 only. Films from outside are never opened with it: its FFmpeg is old and
follows playlists to other files. To read one sample through, PyAV takes two thirds of its time,
since it leaves the frames as they are coded.
"""

import io
from collections.abc import Iterator, Sequence

import av
import decord
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from curation.errors import DatasetError


class PackedVideo:
    """The video member of a sample.

    Args:
        mp4: the member's bytes.

    Raises:
        DatasetError: the bytes are not a video.
    """

    def __init__(self, mp4: bytes) -> None:
        try:
            self._reader = decord.VideoReader(io.BytesIO(mp4), ctx=decord.cpu(0), num_threads=1)
        except (decord.DECORDError, RuntimeError) as error:
            raise DatasetError(f"a packed video cannot be opened: {error}") from error

    def __len__(self) -> int:
        return len(self._reader)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return float(self._reader.get_avg_fps())

    def frames(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Decode some frames, in the order asked for: RGB [N, H, W, 3].

        Raises:
            DatasetError: an index outside ``[0, len)``, or damaged bytes.
        """
        outside = [index for index in indices if not 0 <= index < len(self)]
        if outside:
            raise DatasetError(
                f"frame {outside[0]} was asked for, of a video of {len(self)} frames"
            )
        try:
            batch: npt.NDArray[np.uint8] = self._reader.get_batch(list(indices)).asnumpy()
        except decord.DECORDError as error:
            raise DatasetError(f"frames {list(indices)[:4]}… cannot be read: {error}") from error
        return batch


def read_through(mp4: bytes) -> Iterator[VideoFrame]:
    """Decode a packed video from end to end: frames as coded, valid until the next is asked for.

    Raises:
        DatasetError: bytes that are damaged or no video.
    """
    try:
        with av.open(io.BytesIO(mp4), "r", format="mp4") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise DatasetError(f"the frame at {frame.time} s of a packed video is damaged")
                yield frame
    except (av.error.FFmpegError, IndexError) as error:
        raise DatasetError(f"a packed video cannot be read through: {error}") from error
