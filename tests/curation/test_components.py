"""A component's source does not change without somebody deciding whether its numbers do.

When this fails: if the component's numbers change, raise its version in `curation.components` (rows
and traces are then made anew); if the code merely reads better, leave the version. Either way
record the new source: ``python -m tests.curation.test_components``.
"""

import ast
import functools
import hashlib
import importlib.util
import json
from pathlib import Path

import grimp
import pytest

from curation.components import COMPONENTS, Component

RECORD = Path(__file__).with_name("components.json")
NEUTRAL = {
    f"curation.{name}"
    for name in ("components", "errors", "identities", "records", "remote", "unfinished")
}
"""What no number comes from: versions, exceptions, ids, the rows' columns, how files are fetched
and how they are put in place."""


@functools.cache
def imports() -> grimp.ImportGraph:
    """Who imports whom in `curation`; imports inside functions are seen as well."""
    return grimp.build_graph("curation", exclude_type_checking_imports=True, cache_dir=None)


def modules_of(component: Component) -> list[str]:
    """The component's entries and all of `curation` that they are built on."""
    found = set(component.entries)
    for entry in component.entries:
        if entry in imports().modules:
            found |= imports().find_upstream_modules(entry)
    return sorted(found - NEUTRAL)


@functools.cache
def source_hash(module: str) -> str:
    """Hash of what a module does: comments, docstrings and layout left out."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return hashlib.sha256(ast.dump(without_docstrings(tree)).encode()).hexdigest()[:16]


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


def state_of(component: Component) -> dict[str, object]:
    sources = {module: source_hash(module) for module in modules_of(component)}
    return {"version": component.version, "sources": sources}


@pytest.mark.parametrize("name", COMPONENTS)
def test_source_is_the_recorded_one(name: str) -> None:
    recorded = json.loads(RECORD.read_text())[name]
    assert recorded == state_of(COMPONENTS[name]), (
        f"{name}: its version, or a module that it is built on, changed. Do its numbers change? "
        "Then raise its version in curation/components.py. Then run: "
        "python -m tests.curation.test_components"
    )


def test_record_names_no_component_that_is_gone() -> None:
    assert json.loads(RECORD.read_text()).keys() == COMPONENTS.keys()


def test_helpers_of_helpers_belong_to_a_component() -> None:
    # scan -> film -> decode; pack -> traces, and no catalog; a captioner -> how it is asked
    assert {"curation.video.decode", "curation.measure.motion"} < set(
        modules_of(COMPONENTS["scan"])
    )
    assert "curation.traces" in modules_of(COMPONENTS["pack"])
    assert "curation.captioning.asking" in modules_of(COMPONENTS["captioner:endpoint"])
    assert not any("catalog" in name for c in COMPONENTS.values() for name in modules_of(c))


def main() -> None:
    record = {name: state_of(component) for name, component in COMPONENTS.items()}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
