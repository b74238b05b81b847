"""How numbers are written: for people, with their unit, in as few characters as they need."""

from collections.abc import Callable
from typing import Any

_SPACE = "\u202f"  # narrow, and not broken at: 12 345


def number(value: float) -> str:
    """A count, in groups of three."""
    return f"{value:,.0f}".replace(",", _SPACE)


def duration(hours: float) -> str:
    """Hours in the unit that suits them."""
    seconds = hours * 3600
    if seconds < 99.5:
        return f"{seconds:.0f}{_SPACE}s"
    if seconds < 5970:
        return f"{seconds / 60:.1f}{_SPACE}min"
    if hours < 999.5:
        return f"{hours:.1f}{_SPACE}h"
    return f"{number(hours)}{_SPACE}h"


def size(count: float) -> str:
    """Bytes in the decimal unit that suits them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g}{_SPACE}{unit}"
        count /= 1000
    return f"{count:.3g}{_SPACE}TB"


def percent(part: float, whole: float) -> str:
    """A share; small ones keep a digit."""
    share = 100 * part / whole if whole else 0.0
    digits = 1 if 0 < share < 9.95 else 0
    return f"{share:.{digits}f}{_SPACE}%"


def significant(value: float | None) -> str:
    """Three significant digits, without an exponent where people would not write one."""
    if value is None:
        return "–"
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    text = f"{float(f'{value:.3g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plural(count: int, one: str, many: str) -> str:
    """A count and its noun."""
    return f"{number(count)} {one if count == 1 else many}"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "duration": duration,
    "size": size,
    "percent": percent,
    "significant": significant,
    "plural": plural,
}
