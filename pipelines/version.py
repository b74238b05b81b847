"""Which code ran: the installed version, and the revision where the code lies in a checkout."""

import functools
import importlib.metadata
import shutil
import subprocess
from pathlib import Path


@functools.cache
def code_version() -> str:
    """Such as ``0.1.0`` or ``0.1.0+3f2a91c`` or ``0.1.0+3f2a91c.dirty``."""
    version = importlib.metadata.version("tempomaster")
    git = shutil.which("git")
    root = Path(__file__).resolve().parent.parent
    if git is None or not (root / ".git").exists():
        return version
    described = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        [git, "-C", str(root), "describe", "--always", "--dirty=.dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    revision = described.stdout.strip()
    return f"{version}+{revision}" if described.returncode == 0 and revision else version
