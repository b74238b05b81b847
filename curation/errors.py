"""What can go wrong in curation, each raised where its cause is known.

A film that cannot be used raises `FilmError`; only the runner turns it into a quarantine row. Its
`transient` flag decides whether a later run tries the film again by itself.
"""


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


class EncodeError(CurationError):
    """A sample could not be encoded, or what was encoded is not what was asked for."""


class CatalogError(CurationError):
    """The catalog is unreachable, or refuses what was asked of it."""


class DatasetError(CurationError):
    """A dataset or version that does not exist, or does not hold what its manifest says."""
