"""Runs, and what is kept of them: one JSON file for each, there whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vugrad.data.named import digest
from vugrad.files import as_json, write_whole
from vugrad.train import History
from vugrad.train.recipe import Recipe

#: Of records and of what their keys are made of.
FORMAT = "vugrad record 1"
#: What a file that is no whole record makes its reader raise.
BROKEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Run:
    """A recipe and a seed: all that decides what comes out, but for the number of threads, and rounding with it.

    >>> a, b = Run(Recipe(data="digits"), 0), Run(Recipe(data="digits"), 1)
    >>> a.key == Run(Recipe(data="digits"), 0).key, a.key == b.key
    (True, False)
    """

    recipe: Recipe
    seed: int

    @property
    def key(self) -> str:
        """A hash of the recipe, the seed, and the data that is behind its name.

        Settings at their defaults are left out, so that records outlive a setting that recipes get later.
        """
        recipe = self.recipe.changes()
        decides = {"format": FORMAT, "data": digest(self.recipe.data), "recipe": recipe, "seed": self.seed}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:20]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"recipe": asdict(self.recipe), "seed": self.seed}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Run:
        """The run that :meth:`as_dict` wrote."""
        return cls(Recipe.from_dict(record["recipe"]), record["seed"])


@dataclass(frozen=True)
class Record:
    """What came out of a run.

    ``test_loss`` and ``test_accuracy`` are of the last weights, whose bits ``weights`` is a hash of. ``versions`` and
    ``threads`` say by what it was made.
    """

    run: Run
    history: History
    test_loss: float | None
    test_accuracy: float | None
    weights: str
    threads: int
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("run", "history")}
        return {"format": FORMAT, "key": self.run.key, **self.run.as_dict(), **self.history.as_dict(), **own}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Record:
        """The record that :meth:`as_dict` wrote."""
        own = {f.name: record[f.name] for f in fields(cls) if f.name not in ("run", "history")}
        return cls(Run.from_dict(record), History.from_dict(dict(record)), **own)


class Records:
    """The records in a folder, each in a file named by its run's key.

    Args:
        folder: made when the first record is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, run: Run) -> Path:
        """Where a run's record is, or will be."""
        return self.folder / f"{run.key}.json"

    def checkpoint(self, run: Run) -> Path:
        """Where a run that is not finished stands."""
        return self.folder / f"{run.key}.safetensors"

    def epochs(self, run: Run) -> int:
        """The number of epochs that an unfinished run has done, read from its checkpoint; 0 if it has none."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.checkpoint(run), "numpy") as file:  # reads only the header
                return len(json.loads(file.metadata()["manifest"])["history"]["epochs"])
        except (OSError, SafetensorError, *BROKEN):
            return 0

    def read(self, run: Run) -> Record | None:
        """A run's record, or ``None`` if there is none yet, or what is there is no whole record.

        Raises ``ValueError`` for a record of another version.
        """
        try:
            content = json.loads(self.path(run).read_bytes())
            if content.get("format") == FORMAT:
                record = Record.from_dict(content)
                return record if content["key"] == run.key and record.run == run else None
        except (FileNotFoundError, *BROKEN):
            return None
        raise ValueError(
            f"{self.path(run)} is a record of {content.get('format')!r}, and this version writes {FORMAT!r}: "
            "give another folder with --out"
        )

    def find(self, name: str) -> Record:
        """The record whose key begins so.

        Raises ``ValueError`` if there is none, or more than one.
        """
        paths = sorted(self.folder.glob(f"{glob.escape(name)}*.json"))
        if len(paths) != 1:
            found = ", ".join(path.stem for path in paths[:5]) if paths else "none"
            raise ValueError(f"{name!r} begins the key of {found} of the records in {self.folder}: it must be of one")
        try:
            return Record.from_dict(json.loads(paths[0].read_bytes()))
        except BROKEN as error:
            raise ValueError(f"{paths[0]} is not a whole record: {error}") from error

    def write(self, record: Record) -> None:
        """Keep a record; the checkpoint of its run has done its work then."""
        write_whole(self.path(record.run), as_json(record.as_dict()))
        self.checkpoint(record.run).unlink(missing_ok=True)
