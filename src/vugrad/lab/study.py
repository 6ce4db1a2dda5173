"""Studies: what is fixed, what varies, and over which seeds, as data."""

from __future__ import annotations

import itertools
import runpy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from vugrad.lab.record import Run
from vugrad.suggest import choose
from vugrad.train.recipe import INTS, Recipe, check_type

#: What a configuration changes in the base recipe.
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """A base recipe and the axes along which it is varied; all combinations are run, each with every seed.

    Args:
        name: short, as "F9".
        title: one line.
        base: what the configurations share.
        vary: axes by name. The values of an axis named like a setting are that setting's; of any other axis they are
            labelled changes of several settings.
        search: the ranges of settings that ``vugrad tune`` tries besides: ``low``, ``high``, and perhaps ``log`` or
            ``step`` by the setting's name.
        seeds: of weights and order.
        quick: changes of the base recipe for a look at the study in seconds: other data, fewer epochs.
        quick_vary: axes that replace those of the same names in the quick edition.
        read: the epochs at which a table of it is read; all of a run's figures are there in any case.
        reported: for each epoch the figures that are compared with ours, by the names of :class:`outcome.Row`.
        note: what a reader should know of the choices.

    Raises ``ValueError`` for an empty axis and for unknown settings.

    >>> study = Study("width", "Hidden width", Recipe(data="digits", epochs=2), {"hidden": [(8,), (16,)]}, seeds=(0, 1))
    >>> [(label, run.seed) for label, run in study.runs()]
    [('hidden 8', 0), ('hidden 8', 1), ('hidden 16', 0), ('hidden 16', 1)]
    """

    name: str
    title: str
    base: Recipe = field(default_factory=Recipe)
    vary: Mapping[str, Sequence[Any] | Mapping[str, Changes]] = field(default_factory=dict)
    search: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seeds: Sequence[int] = (0, 1, 2)
    quick: Changes = field(default_factory=dict)
    quick_vary: Mapping[str, Sequence[Any] | Mapping[str, Changes]] = field(default_factory=dict)
    read: Sequence[int] = ()
    reported: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        for name, kind in {"name": "str", "title": "str", "note": "str", "seeds": INTS, "read": INTS}.items():
            check_type(f"study {self.name}: {name}", kind, getattr(self, name))
        for name in ("vary", "search", "quick", "quick_vary", "reported"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"study {self.name}: {name} is a table, which {getattr(self, name)!r} is not")
        if not isinstance(self.base, Recipe):
            raise ValueError(f"study {self.name}: base is a Recipe, which {self.base!r} is not")
        _check(f"study {self.name}, quick", self.quick)
        for axis in self.quick_vary:
            choose(f"study {self.name}, quick_vary: axis", axis, dict(self.vary))
        for axis, values in (*self.vary.items(), *self.quick_vary.items()):
            if not isinstance(values, Mapping | Sequence) or isinstance(values, str):
                raise ValueError(f"study {self.name}: the axis {axis!r} has values in a list or table, not {values!r}")
            if not values:
                raise ValueError(f"study {self.name}: the axis {axis!r} has no values to run")
            if isinstance(values, Mapping):
                for changes in values.values():
                    _check(f"study {self.name}, axis {axis}", changes)
            else:
                for value in values:
                    _check(f"study {self.name}", {axis: value})
        for setting, bounds in self.search.items():
            choose(f"study {self.name}, search: setting", setting, SETTINGS)
            ends = list(bounds) if isinstance(bounds, Mapping) else []
            if not {"low", "high"} <= set(ends) <= {"low", "high", "log", "step"}:
                raise ValueError(
                    f"study {self.name}, search: {setting} has {', '.join(ends) or 'nothing'}, and a range has low "
                    "and high, and perhaps log or step"
                )
            kind = SETTINGS[setting].type.removesuffix(" | None")
            numbers = [type(bounds[end]).__name__ for end in ("low", "high")]
            if kind not in ("int", "float") or not {*numbers} <= {"int", kind} or not bounds["low"] < bounds["high"]:
                raise ValueError(
                    f"study {self.name}, search: {setting} is of type {kind}, and a range is of numbers, low below "
                    f"high, which {dict(bounds)} is not: use an axis for what is no number"
                )
        if not self.seeds:
            raise ValueError(f"study {self.name}: it has no seeds to run")

    def configurations(self) -> dict[str, Recipe]:
        """The recipes by their labels."""
        found: dict[str, Recipe] = {}
        for picks in itertools.product(*(options(axis, values) for axis, values in self.vary.items())):
            changes = {name: value for _, change in picks for name, value in change.items()}
            label = ", ".join(label for label, _ in picks) or self.name
            if label in found:
                raise ValueError(f"study {self.name}: two configurations are called {label!r}")
            found[label] = replace(self.base, **changes)
        return found

    def runs(self) -> list[tuple[str, Run]]:
        """Every run, with the label of its configuration."""
        return [(label, Run(recipe, seed)) for label, recipe in self.configurations().items() for seed in self.seeds]

    def looked_at(self) -> Study:
        """The same study with its ``quick`` settings and axes."""
        return replace(self, base=replace(self.base, **self.quick), vary={**self.vary, **self.quick_vary})

    def changed(self, **changes: Any) -> Study:
        """The same study with other settings in its base recipe, or other seeds."""
        seeds = changes.pop("seeds", self.seeds)
        return replace(self, base=replace(self.base, **changes), seeds=seeds)


#: The settings that a recipe has.
SETTINGS = {f.name: f for f in fields(Recipe)}


def _check(where: str, changes: Any) -> None:
    """Raise ``ValueError`` unless these are settings, each of its type."""
    if not isinstance(changes, Mapping):
        raise ValueError(f"{where}: changes of settings are a table, which {changes!r} is not")
    for name, value in changes.items():
        check_type(f"{where}: {name}", str(choose(f"{where}: setting", name, SETTINGS).type), value)


def options(axis: str, values: Sequence[Any] | Mapping[str, Changes]) -> list[tuple[str, Changes]]:
    """The values of an axis by their labels, as changes of settings."""
    if isinstance(values, Mapping):
        return list(values.items())
    return [(f"{axis.replace('_', ' ')} {shown(value)}", {axis: value}) for value in values]


def shown(value: Any) -> str:
    """A setting's value as text in labels.

    >>> shown((784, 10)), shown(False), shown(1e-5), shown("sgd")
    ('784-10', 'off', '1e-05', 'sgd')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return "-".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_studies(path: str | Path) -> list[Study]:
    """The study in a TOML file, or all that a Python file names.

    Raises ``ValueError`` for a file without one, or that cannot be run.
    """
    path = Path(path)
    if path.suffix != ".py":
        return [read_study(path)]
    try:
        names = runpy.run_path(str(path))
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    found = list({id(x): x for x in names.values() if isinstance(x, Study)}.values())
    if not found:
        raise ValueError(f"{path} names no study: write `study = vugrad.lab.Study(...)` in it")
    return found


def read_study(path: str | Path) -> Study:
    """A study from a TOML file, as ``vugrad study new`` writes one.

    Its keys are those of :class:`Study`; ``base`` is a table of settings, ``vary`` a table of axes.

    Raises ``ValueError`` that names the file and the key that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not there: `vugrad study new {path}` writes a study to begin with")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error
    try:
        for key in content:
            choose("key of a study", key, {f.name: f for f in fields(Study)})
        for table in ("base", "vary"):
            if not isinstance(content.get(table, {}), dict):
                raise ValueError(f"[{table}] is a table, which {content[table]!r} is not")
        for key in content.get("base", {}):
            choose("setting in [base]", key, SETTINGS)
        base = {name: _tuples(value) for name, value in content.get("base", {}).items()}
        vary = {axis: _tuples(values) for axis, values in content.get("vary", {}).items()}
        _check("[base]", base)
        given = {"name": path.stem, "title": path.stem, **content, "base": Recipe(**base), "vary": vary}
        return Study(**{key: _tuples(value) for key, value in given.items()})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def _tuples(value: Any) -> Any:
    """The lists in a value, which a recipe does not hold, as tuples."""
    if isinstance(value, dict):
        return {key: _tuples(x) for key, x in value.items()}
    return tuple(_tuples(x) for x in value) if isinstance(value, list) else value
