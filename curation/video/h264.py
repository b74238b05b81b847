"""The two ways in which H.264 is laid out, and how one becomes the other without a bit changed.

A stream is a row of NAL units. Encoders put a start code before each (Annex B of ITU-T H.264), MP4
stores the length of each instead, and the parameter sets apart (ISO/IEC 14496-15).
"""

_START = b"\0\0\0\1"
_LENGTH_BYTES = 4
_PARAMETER_SETS = (7, 8)  # sequence and picture parameter sets


def parameter_sets(extradata: bytes) -> list[bytes] | None:
    """The sequence and picture parameter sets that a codec's extra data hold, in either layout.

    Returns:
        None when the data are cut off, or of units whose lengths take fewer than four bytes.
    """
    if not extradata.startswith(b"\1"):
        units = extradata.replace(_START, _START[1:]).split(_START[1:])
        return [unit for unit in units if unit and unit[0] & 0x1F in _PARAMETER_SETS]
    try:
        return _sets_of_mp4(extradata)
    except IndexError:
        return None


def _sets_of_mp4(extradata: bytes) -> list[bytes] | None:
    if extradata[4] & 0b11 != _LENGTH_BYTES - 1:
        return None
    found, at = [], 5
    for mask in (0b11111, 0xFF):  # how many of the first kind stand in five bits
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            length = extradata[at] << 8 | extradata[at + 1]
            found.append(extradata[at + 2 : at + 2 + length])
            at += 2 + length
    return found


def with_start_codes(stored: bytes) -> bytes | None:
    """A picture as MP4 stores it, laid out as encoders give it; None when its lengths are wrong."""
    parts, at = [], 0
    while at < len(stored):
        end = at + _LENGTH_BYTES + int.from_bytes(stored[at : at + _LENGTH_BYTES])
        parts += [_START, stored[at + _LENGTH_BYTES : end]]
        at = end
    return b"".join(parts) if at == len(stored) else None
