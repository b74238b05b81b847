"""A flow over items that fail in their several ways: started as a process of its own by a test.

``python -m tests.flows.flaky_items FOLDER`` prints a line of JSON for each outcome. An item leaves
a line in a file of its own for each time that it was tried.
"""

import functools
import json
import sys
from pathlib import Path

from prefect import flow

from flows.batches import TaskEngine
from pipelines.crew import Limits
from pipelines.engine import Done, LocalEngine, Stage
from tests.flows.stages_for_flows import ITEMS, try_item


@flow(name="flaky-items")
def run_items(folder: Path) -> None:
    """Try every item, and print what came of it."""
    stage = Stage.stateless("try items", functools.partial(try_item, folder), Limits(60.0, 1 << 30))
    for outcome in TaskEngine(LocalEngine(2), str).map(stage, ITEMS):
        value = outcome.value if isinstance(outcome, Done) else outcome.kind
        sys.stdout.write(json.dumps([outcome.item, value]) + "\n")


if __name__ == "__main__":
    run_items(Path(sys.argv[1]))
