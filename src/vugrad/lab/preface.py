"""What a reader has to know of an outcome first: its title, and what it can and cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from vugrad.lab.claims import CLAIMS, LATE
from vugrad.lab.outcome import Outcome
from vugrad.lab.statistics import CONFIDENCE, resolvable
from vugrad.lab.studies import STUDIES
from vugrad.lab.study import Study, options, shown
from vugrad.train.recipe import Recipe

#: Settings that are always said, at their defaults too.
ALWAYS = ("data", "optimizer", "batch_size", "epochs")


@dataclass(frozen=True)
class Preface:
    """A title, what was run in a line, and paragraphs on what it can and cannot say."""

    title: str
    edition: str
    more: tuple[str, ...]


def preface(outcome: Outcome, full: bool) -> Preface:
    """The preface to the outcome of the full or the quick edition of some studies."""
    studies = outcome.studies
    ours = [study for study in studies if study.name in STUDIES]
    runs = len({r.run for by_label in outcome.records.values() for each in by_label.values() for r in each})
    seeds = sorted({len(study.seeds) for study in studies})
    many = f"{runs} run{'s' * (runs != 1)} with {' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])}"
    if not ours:
        edition = f"{many}."
    elif full:
        edition = f"The full edition, with the report's own settings: {many}."
    else:
        edition = f"The quick edition, with fewer epochs and images than the report's: {many}."
    more = []
    if max(seeds) > 1:
        more.append(f"Every figure is a mean over seeds with its {CONFIDENCE:.0%} bootstrap interval.")
    if outcome.verdicts or outcome.otherwise:
        more += _judged(seeds)
    if ours and not full:
        more += _quick({study.name for study in ours})
    return Preface(_title(studies), edition, tuple(more))


def settings(study: Study) -> str:
    """What a study's configurations share; of the report's studies also where the report's settings are others."""
    report, usual = STUDIES.get(study.name, study).base, Recipe()
    varied = {name for axis, values in study.vary.items() for _, changes in options(axis, values) for name in changes}
    found = []
    for name in (setting.name for setting in fields(Recipe) if setting.name not in varied):
        here, there = getattr(study.base, name), getattr(report, name)
        if name in ALWAYS or here != there or here != getattr(usual, name):
            instead = f" (the report: {shown(there)})" if here != there else ""
            found.append(f"{name.replace('_', ' ')} {shown(here)}{instead}")
    left = STUDIES.get(study.name, study).configurations().keys() - study.configurations().keys()
    return ", ".join(found) + (f", without {', '.join(sorted(left))}" if left else "")


def _title(studies: Sequence[Study]) -> str:
    if all(study.name in STUDIES for study in studies):
        return "The report, reproduced and judged"
    return studies[0].title if len(studies) == 1 else f"{len(studies)} studies"


def _judged(seeds: Sequence[int]) -> list[str]:
    """How claims are judged, and how large an effect must be for so many seeds."""
    tests = sum(len(claim.parts) for claim in CLAIMS)
    found = [
        "A claim is supported or refuted if a t-test over the seeds, corrected by Holm's method for the number of "
        "tests, finds its effect to be other than 0. Effects of configurations that share seeds are differences seed "
        "by seed. An effect that is the same in every run needs no test, and has no p; it decides by itself."
    ]
    return found + [_resolved(n, tests) for n in seeds]


def _resolved(n: int, tests: int) -> str:
    """What so many seeds can resolve."""
    if n == 1:
        return "A single seed says nothing of others: it resolves no claim."
    return (
        f"What {n} seeds can resolve: an effect of at least {resolvable(n, 1):.1f} to {resolvable(n, tests):.0f} "
        f"times its standard deviation from seed to seed, less for the last of the {tests} effects that is tested "
        "and more for the first. What is not resolved may be there, and smaller."
    )


def _quick(names: set[str]) -> list[str]:
    """What the quick edition of the report's studies can and cannot say."""
    late = [claim.name for claim in CLAIMS if claim.name in LATE and claim.study in names]
    left = [name for name in STUDIES if name not in names]
    found = [
        "What these few epochs can show is how fast the training loss falls at first, under one setting and another. "
        "They cannot show small differences of accuracy, since of 500 validation images each is 0.2 percentage points"
        + (f", nor what is reached in the end, which {', '.join(late)} are about: " if late else ": ")
        + "vugrad reproduce --full judges the claims under the report's own settings."
    ]
    if left:
        found.append(f"Not run: {', '.join(left)}. vugrad reproduce {left[0]} runs one of them, and --full all.")
    return found
