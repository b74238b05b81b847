"""Servers of tests end with the tests, however those end: also by SIGKILL, with no teardown."""

import shutil
from collections.abc import Sequence

_SETPRIV = shutil.which("setpriv")


def dying_with_us(command: Sequence[str]) -> list[str]:
    """The command, run such that the kernel kills its process when ours dies.

    By a program of util-linux, which becomes the command: it can also be run as a user who cannot
    reach our Python. Where it is missing, a server outlives tests that are killed.
    """
    return [_SETPRIV, "--pdeathsig", "KILL", *command] if _SETPRIV else [*command]
