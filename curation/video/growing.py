"""A film that can be watched while it is being written.

Fragmented MP4: each frame is complete in itself, so players show what is there, and a writer that
is killed leaves a film that ends early. It is larger than a finished one by about 120 bytes a
frame, and jumping in it is slower, which is why the others are not written so.
"""

from fractions import Fraction
from pathlib import Path

from curation.video.colour import ColourSpace
from curation.video.encode import EncodeSettings, FilmWriter


class GrowingFilmWriter(FilmWriter):
    """A `FilmWriter` whose file can be read at any time, up to the dozen frames being encoded.

    Args:
        target: a path.
        width: even.
        height: even.
        fps: nominal rate.
        settings: how to code.
        colour: matrix of the planes that are written.
    """

    def __init__(
        self,
        target: Path,
        width: int,
        height: int,
        *,
        fps: Fraction = Fraction(24),
        settings: EncodeSettings | None = None,
        colour: ColourSpace | None = None,
    ) -> None:
        super().__init__(target, width, height, fps=fps, settings=settings, colour=colour)
        # Read when the first frame is written.
        self._container.container_options.update(
            movflags="frag_every_frame+empty_moov+default_base_moof", flush_packets="1"
        )

    @property
    def watchable(self) -> int:
        """Frames that whoever opens the file now can see."""
        return max(self._stored - 1, 0)  # a fragment is written when the next one begins
