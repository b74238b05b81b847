"""Where a home keeps its things, and how single fields of a recipe are overridden.

There is no configuration file and no global: a job gets a home and a complete config as arguments.
"""

import dataclasses
import json
import os
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from curation.catalog.connection import CatalogSettings
from curation.remote import iceberg_properties, is_stored, stored_address

ConfigT = TypeVar("ConfigT")
DEFAULT_HOME = "tempo-home"


@dataclasses.dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything a job makes."""

    root: Path

    @property
    def films(self) -> Path:
        """Traces and evidence, a folder per film."""
        return self.root / "films"

    @property
    def weights(self) -> Path:
        """Where model weights are looked for that a recipe names without a path."""
        return self.root / "weights"

    @property
    def datasets(self) -> Path:
        """Published versions: NAME/VERSION/*.tar."""
        return self.root / "datasets"

    @property
    def reports(self) -> Path:
        """Summaries of runs."""
        return self.root / "reports"

    @property
    def precomputed(self) -> Path:
        """Tensors made of versions ahead of training: NAME/VERSION/KIND-ID."""
        return self.root / "precomputed"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of training runs: TRAINING/step-NNNNNNNN."""
        return self.root / "checkpoints"

    @property
    def runs(self) -> Path:
        """Logs and records of training runs and evaluations, a folder for each."""
        return self.root / "runs"

    @property
    def suites(self) -> Path:
        """Suites of prompts made from dataset versions."""
        return self.root / "suites"

    @property
    def generated(self) -> Path:
        """Videos made for evaluations, a folder for each."""
        return self.root / "generated"

    @property
    def judged(self) -> Path:
        """What metrics said of videos."""
        return self.root / "judged"

    @property
    def lock(self) -> Path:
        """Held by the one job that writes here."""
        return self.root / ".lock"

    def retraining(self, model: str) -> Path:
        """Held by the one retraining of a model; see `pipelines.retrain`."""
        return self.root / f".retrain-{model}.lock"

    def catalog(self) -> CatalogSettings:
        """The catalog: embedded by default, elsewhere when the environment says so.

        ``TEMPO_CATALOG_URI`` (such as ``postgresql+psycopg2://…``) and ``TEMPO_WAREHOUSE`` move it.
        """
        return CatalogSettings(
            home=self.root,
            uri=os.environ.get("TEMPO_CATALOG_URI"),
            warehouse=os.environ.get("TEMPO_WAREHOUSE"),
            properties=iceberg_properties(),
        )

    @property
    def published(self) -> str | None:
        """Below which address published versions are stored as well: ``TEMPO_DATASETS``.

        Raises:
            ValueError: it is no address of an object store.
        """
        given = os.environ.get("TEMPO_DATASETS")
        if not given:
            return None
        if not is_stored(given):
            raise ValueError(f"TEMPO_DATASETS={given}: write s3://bucket/prefix")
        return stored_address(given).rstrip("/")


def home_at(folder: Path | None) -> Home:
    """The home that was asked for, else ``$TEMPO_HOME``, else ``./tempo-home``.

    Raises:
        ValueError: it is an address of an object store.
    """
    chosen = folder or Path(os.environ.get("TEMPO_HOME", DEFAULT_HOME))
    if is_stored(str(chosen).replace(":/", "://", 1)):  # a Path has made one slash of two
        raise ValueError(
            f"home {chosen}: a home is a folder on a disk; tables go to an object store by "
            "TEMPO_WAREHOUSE=s3://..., published versions by TEMPO_DATASETS=s3://..."
        )
    return Home(chosen.absolute())


def standing_home(folder: Path | None) -> Home:
    """As `home_at`, for what only reads: a home that is not there is a mistake, and is not made.

    Raises:
        ValueError: no catalog is kept there.
    """
    home = home_at(folder)
    if home.catalog().uri is None and not (home.root / "catalog.db").is_file():
        raise ValueError(
            f"home {home.root}: no catalog is kept there; name another with --home or $TEMPO_HOME, "
            f"or make one: tempo curate FOLDER --home {home.root}"
        )
    return home


def typed_config(kind: type[ConfigT], recorded: dict[str, Any]) -> ConfigT:
    """A config as it was recorded in JSON, checked again.

    Raises:
        ValueError: the record is of another version of this code.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(recorded)
    except pydantic.ValidationError as error:
        raise ValueError(
            f"the recorded {kind.__name__} is of another version of tempomaster: {error}"
        ) from error


def with_overrides(config: ConfigT, assignments: list[str]) -> ConfigT:
    """Replace single fields of a frozen config, all at once: two may be valid only together.

    Args:
        config: a recipe's config.
        assignments: such as ``select.motion.min=0.01`` or ``select.clarity.max=none``; of two to
            one field the last counts.

    Raises:
        ValueError: no such field (the message lists those there are), or a value of another type.
    """
    values: dict[tuple[str, ...], Any] = {}
    for assignment in assignments:
        path, separator, value = (part.strip() for part in assignment.partition("="))
        if not separator:
            raise ValueError(
                f"--set {assignment!r}: write PATH=VALUE, as in select.motion.min=0.01"
            )
        names = tuple(path.split("."))
        values[names] = _parsed(value, _type_at(config, names, path), path)
    return _replaced(config, values)


def _type_at(config: object, names: tuple[str, ...], path: str) -> Any:  # noqa: ANN401 - any type
    """The type of the field that a path names."""
    fields = _field_types(config)
    name, *rest = names
    if name not in fields:
        raise ValueError(f"--set {path}: no field {name!r} here; there are {', '.join(fields)}")
    current = getattr(config, name)
    if rest:
        if not dataclasses.is_dataclass(current):
            raise ValueError(f"--set {path}: {name!r} has no fields of its own")
        return _type_at(current, tuple(rest), path)
    if dataclasses.is_dataclass(current):
        inner = ", ".join(f"{path}.{field}" for field in _field_types(current))
        raise ValueError(f"--set {path}: set one of its fields instead: {inner}")
    return fields[name]


def _replaced(config: ConfigT, values: dict[tuple[str, ...], Any]) -> ConfigT:
    """The config with other values at these paths; each dataclass on the way is made once."""
    changes = {}
    for name in {names[0] for names in values}:
        below = {names[1:]: value for names, value in values.items() if names[0] == name}
        changes[name] = below[()] if () in below else _replaced(getattr(config, name), below)
    # mypy cannot know that ConfigT is a dataclass; `_field_types` has asserted it.
    replaced: ConfigT = dataclasses.replace(config, **changes)  # type: ignore[type-var]
    return replaced


def _field_types(config: object) -> dict[str, Any]:
    hints = typing.get_type_hints(type(config))
    assert dataclasses.is_dataclass(config)
    return {field.name: hints[field.name] for field in dataclasses.fields(config) if field.init}


def _parsed(value: str, kind: Any, path: str) -> Any:  # noqa: ANN401 - a field may be of any type
    if value.lower() == "none" and types.NoneType in typing.get_args(kind):
        return None
    adapter = pydantic.TypeAdapter(kind)
    try:
        if typing.get_origin(kind) is tuple:
            if value.startswith("["):
                return adapter.validate_python(tuple(json.loads(value)))
            return adapter.validate_python(tuple(item for item in value.split(",") if item))
        if typing.get_origin(kind) is typing.Literal:
            # pydantic compares strings with the members, so the number 3 would never be named.
            return adapter.validate_python({str(m): m for m in typing.get_args(kind)}.get(value))
        return adapter.validate_strings(value)
    except (pydantic.ValidationError, json.JSONDecodeError) as error:
        raise ValueError(f"--set {path}={value}: not a value of type {_name(kind)}") from error


def _name(kind: Any) -> str:  # noqa: ANN401 - a type, a union or an alias
    return str(getattr(kind, "__name__", None) or kind)
