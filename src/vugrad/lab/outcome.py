"""What came out of studies: every configuration's figures over the seeds, and the claims' verdicts, as tables."""

from __future__ import annotations

import csv
import functools
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vugrad.files import write_whole
from vugrad.lab.claims import CLAIMS, OTHERWISE
from vugrad.lab.record import Record, Run
from vugrad.lab.statistics import Estimate, estimate
from vugrad.lab.study import Study
from vugrad.lab.verdicts import Verdict, accuracy, judge, loss, seconds


@dataclass(frozen=True)
class Row:
    """A configuration's figures after an epoch: means over seeds, accuracies in percent, the seconds of an epoch."""

    study: str
    label: str
    epoch: int
    loss: Estimate
    validation: Estimate | None
    test: Estimate | None
    seconds: Estimate
    stopped: int


class Outcome:
    """The records of some studies.

    Args:
        studies: as they were run.
        found: their runs' records.
    """

    def __init__(self, studies: Sequence[Study], found: Mapping[Run, Record]) -> None:
        self.studies = list(studies)
        self.records: dict[str, dict[str, list[Record]]] = {}
        for study in studies:
            by_label = self.records.setdefault(study.name, {})
            for label, run in study.runs():
                by_label.setdefault(label, []).append(found[run])

    @functools.cached_property
    def rows(self) -> dict[str, list[Row]]:
        """Of each study a row for each configuration, or for each epoch at which the study is read."""
        return {
            study.name: [
                _row(study.name, label, epoch, records)
                for label, records in self.records[study.name].items()
                for epoch in _epochs(study, records[0].run.recipe.epochs)
            ]
            for study in self.studies
        }

    @functools.cached_property
    def verdicts(self) -> dict[str, list[Verdict]]:
        """What the seeds say of the claims about these studies."""
        return judge(CLAIMS, self._seeds())

    @functools.cached_property
    def otherwise(self) -> dict[str, list[Verdict]]:
        """What they say of those claims where the conventions are others."""
        return judge(OTHERWISE, self._seeds())

    def _seeds(self) -> dict[str, list[dict[str, Record]]]:
        return {name: _by_seed(records) for name, records in self.records.items()}

    def write(self, folder: Path) -> None:
        """``results.csv`` and ``claims.csv``."""
        results = [["study", "configuration", "epoch", "seeds", "stopped"]]
        results[0] += [f"{name} {part}" for name in FIGURES for part in ("mean", "low", "high")]
        for row in itertools.chain(*self.rows.values()):
            figures = [getattr(row, name) for name in FIGURES]
            cells = [cell for e in figures for cell in _cells(e)]
            results.append([row.study, row.label, str(row.epoch), str(row.loss.n), str(row.stopped), *cells])
        claims = [["claim", "text", "part", "verdict", "effect", "low", "high", "unit", "p corrected", "seeds", "test"]]
        for name, parts in self.verdicts.items():
            for v in parts:
                by = ["" if v.p is None else str(v.p), str(v.effect.n), v.untested or "t-test"]
                claims.append([name, v.claim.text, v.part, v.word, *_cells(v.effect), v.unit, *by])
        for file, rows in (("results.csv", results), ("claims.csv", claims)):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            write_whole(folder / file, text.getvalue().encode())


FIGURES = ("loss", "validation", "test", "seconds")


def _cells(e: Estimate | None) -> list[str]:
    """A mean and the ends of its interval as text; empty if nothing was measured."""
    return ["", "", ""] if e is None or not e.n else [str(x) for x in (e.mean, e.low, e.high)]


def _row(study: str, label: str, epoch: int, records: Sequence[Record]) -> Row:
    whole = [r for r in records if not r.history.stopped]
    last = epoch == records[0].run.recipe.epochs
    validated = not records[0].run.recipe.final
    tests = [100 * r.test_accuracy for r in whole if r.test_accuracy is not None]
    return Row(
        study,
        label,
        epoch,
        estimate([loss(r, epoch) for r in whole]),
        estimate([accuracy(r, epoch) for r in whole]) if validated else None,
        estimate(tests) if last else None,
        estimate([seconds(r) for r in whole]),
        len(records) - len(whole),
    )


def _epochs(study: Study, epochs: int) -> list[int]:
    """The epochs at which a table is read, on the scale of a run that has fewer or more than the study's own."""
    if not study.read:
        return [epochs]
    most = max(study.read)
    return sorted({max(1, round(epoch * epochs / most)) for epoch in study.read})


def _by_seed(records: Mapping[str, Sequence[Record]]) -> list[dict[str, Record]]:
    return [dict(zip(records, seed, strict=True)) for seed in zip(*records.values(), strict=True)]
