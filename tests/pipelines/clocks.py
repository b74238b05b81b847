"""A clock that jumps: every module that dates rows reads one that is off by so many days."""

import datetime as dt
import sys

import pytest

from curation import records

REAL = records.now


def set_clock(patch: pytest.MonkeyPatch, days: int) -> None:
    """Set the clock ahead, or back where days are negative; 0 sets it right."""
    patch.undo()

    def off() -> dt.datetime:
        return REAL() + dt.timedelta(days=days)

    for module in list(sys.modules.values()):
        if getattr(module, "now", None) is REAL:
            patch.setattr(module, "now", off)
