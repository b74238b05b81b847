"""How one shot becomes the next."""

import dataclasses

GRADUAL = ("fade", "dissolve")


@dataclasses.dataclass(frozen=True, slots=True)
class Transition:
    """How one shot becomes the next. Frames [start, end) belong to neither."""

    kind: str
    """'start', 'cut', 'fade', 'dissolve' or 'end'."""
    start: int
    end: int
    """Equal to `start` at the film's ends and for a clean cut; a cut that was smeared by frame-rate
    conversion, or that only a network saw, has a few frames."""
