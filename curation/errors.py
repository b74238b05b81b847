"""What can go wrong in curation, each raised where its cause is known.

A film that cannot be used raises `FilmError`; only the runner turns it into a quarantine row. Its
`transient` flag decides whether a later run tries the film again by itself.
"""

import errno

FULL_OR_READ_ONLY = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})
"""What a disk says that takes no more; no film is to blame, and it ends the run."""


class CurationError(Exception):
    """Anything that curation refuses to do; the message names the thing and the remedy."""


class FilmError(CurationError):
    """A film that cannot be used.

    Attributes:
        reason: a stable code, e.g. ``no_video_stream``, for counting and for selecting on.
        message: the decoder's or our own words.
        transient: True when the same bytes may work another time (an I/O error, a timeout).
    """

    def __init__(self, reason: str, message: str, *, transient: bool = False) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.transient = transient

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the fields when the exception crosses a process boundary."""
        return (_film_error, (self.reason, self.message, self.transient))


def _film_error(reason: str, message: str, transient: bool) -> FilmError:
    return FilmError(reason, message, transient=transient)


def refuse_if_full(error: BaseException | None) -> None:
    """Let an error pass, unless it says that the disk is full or read-only.

    Raises:
        CurationError: with the system's words and the remedy.
    """
    if isinstance(error, OSError) and error.errno in FULL_OR_READ_ONLY:
        raise CurationError(
            f"the home cannot be written to: {error}; free or mount space and run again, "
            "what is done already is kept"
        ) from error


class NetworkError(CurationError):
    """A network that judges frames is not what it should be: no film is to blame, the run ends."""


class EncodeError(CurationError):
    """A sample could not be encoded, or what was encoded is not what was asked for."""


class CatalogError(CurationError):
    """The catalog is unreachable, or refuses what was asked of it."""


class DatasetError(CurationError):
    """A dataset or version that does not exist, or does not hold what its manifest says."""


class CaptionError(CurationError):
    """A captioner cannot do its work at all; what it has said until then is kept."""


class EndpointAwayError(CaptionError):
    """A served captioner does not answer now; it may in a minute."""
