"""What other processes do in the tests of the catalog: ``python -m tests.curation.… WHAT HOME …``.

Each says that it is ready, waits for a line on its standard input so that all begin at once, and
prints what it did as JSON.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from curation.catalog.connection import CatalogSettings
from curation.catalog.datasets import publish_dataset
from curation.catalog.store import Catalog
from tests.curation.rows_for_catalog import clip, publication


def append(home: Path, who: str) -> object:
    """Four appends of two rows that nobody else has, and of ten that every process has."""
    with Catalog.open(CatalogSettings(home)) as catalog:
        return [
            catalog.append(
                "clips",
                [clip(f"{who}-{turn}-{index}") for index in range(2)]
                + [clip(f"all-{index}") for index in range(5 * turn, 5 * turn + 10)],
            )
            for turn in range(4)
        ]


def publish(home: Path, who: str) -> object:
    """Publish three versions of the dataset that all processes publish."""
    with Catalog.open(CatalogSettings(home)) as catalog:
        return [
            publish_dataset(catalog, *publication("films", f"{who}-{turn}")).version
            for turn in range(3)
        ]


WHAT: dict[str, Callable[[Path, str], object]] = {
    function.__name__: function for function in (append, publish)
}

if __name__ == "__main__":
    what, home, who = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(json.dumps(WHAT[what](Path(home), who)))
