"""A component's source does not change without somebody deciding whether its numbers do.

When this fails: if the component's numbers change, raise its version in `curation.components` (rows
and traces are then made anew); if the code merely reads better, leave the version. Either way
record the new source: ``python -m tests.curation.test_components``.
"""

import ast
import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from curation.components import COMPONENTS, Component

RECORD = Path(__file__).with_name("components.json")


def source_hash(component: Component) -> str:
    """Hash of what the component's modules do: comments, docstrings and layout left out."""
    hasher = hashlib.sha256()
    for name in component.modules:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        hasher.update(name.encode() + ast.dump(without_docstrings(tree)).encode())
    return hasher.hexdigest()


def without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [
                statement
                for statement in body
                if not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                )
            ]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]  # it has one: see `body`
    return tree


@pytest.mark.parametrize("name", COMPONENTS)
def test_source_is_the_recorded_one(name: str) -> None:
    recorded = json.loads(RECORD.read_text())
    component = COMPONENTS[name]
    assert recorded.get(name) == {
        "version": component.version,
        "source": source_hash(component),
    }, (
        f"{name}: its source or version changed. Do its numbers change? Then raise its version in "
        "curation/components.py. Then run: python -m tests.curation.test_components"
    )


def test_record_names_no_component_that_is_gone() -> None:
    assert json.loads(RECORD.read_text()).keys() == COMPONENTS.keys()


def main() -> None:
    record = {
        name: {"version": component.version, "source": source_hash(component)}
        for name, component in COMPONENTS.items()
    }
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
