"""A curation that dies after its version is published, and before anybody was told of it.

``python -m tests.flows.killed_before_telling FILMS HOME DATASET``: a process of its own, which
kills itself where the flow `curate-videos` would emit its event.
"""

import os
import signal
import sys

import flows.curate
from pipelines.summary import Summary
from tests.pipelines.tiny_library import SETTINGS


def die(summary: Summary) -> None:
    """In the place of telling."""
    assert summary.dataset is not None
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    films, home, dataset = sys.argv[1:]
    flows.curate._tell = die
    flows.curate.curate_videos([films], dataset, set=SETTINGS, home=home)
