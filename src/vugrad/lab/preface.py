"""The preface of an outcome: its title, and what its results can and cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from vugrad.lab.claims import CLAIMS, LATE
from vugrad.lab.outcome import Outcome
from vugrad.lab.statistics import CONFIDENCE, resolvable
from vugrad.lab.studies import STUDIES
from vugrad.lab.study import Study, options, shown
from vugrad.train.recipe import Recipe

#: Settings that are always listed, even at their defaults.
ALWAYS = ("data", "optimizer", "batch_size", "epochs")


@dataclass(frozen=True)
class Preface:
    """A title, a sentence on what was run, and paragraphs on what the results can and cannot show."""

    title: str
    edition: str
    more: tuple[str, ...]


def preface(outcome: Outcome, full: bool) -> Preface:
    """The preface of an outcome in the full or the quick edition."""
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
    """The settings that all configurations of a study share, and where they differ from the report's."""
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
    """Sentences on how claims are judged, and on the effect sizes that these numbers of seeds can resolve."""
    tests = sum(len(claim.parts) for claim in CLAIMS)
    found = [
        "A claim is supported or refuted if a t-test over the seeds, corrected by Holm's method for the number of "
        "tests, finds that its effect is not 0. Configurations that share seeds are compared seed by seed. An effect "
        "that is the same in every run needs no test and has no p; its sign alone decides."
    ]
    return found + [_resolved(n, tests) for n in seeds]


def _resolved(n: int, tests: int) -> str:
    """A sentence on the effects that ``n`` seeds can resolve."""
    if n == 1:
        return "A single seed shows no variation from seed to seed: it resolves no claim."
    return (
        f"What {n} seeds can resolve: an effect of at least {resolvable(n, 1):.1f} to {resolvable(n, tests):.0f} "
        f"times its standard deviation from seed to seed. The lower bound holds for the last of the {tests} effects "
        "that is tested, the upper bound for the first. An effect that is not resolved may exist, and be smaller."
    )


def _quick(names: set[str]) -> list[str]:
    """Sentences on what the quick edition of the report's studies can and cannot show."""
    late = [claim.name for claim in CLAIMS if claim.name in LATE and claim.study in names]
    left = [name for name in STUDIES if name not in names]
    found = [
        "These few epochs can show how fast the training loss falls at first under different settings. They cannot "
        "show small differences of accuracy, since each of 500 validation images counts 0.2 percentage points"
        + (f", nor the final loss and accuracy, which {', '.join(late)} are about: " if late else ": ")
        + "vugrad reproduce --full judges the claims under the report's own settings."
    ]
    if left:
        found.append(
            f"Not run: {', '.join(left)}. vugrad reproduce {left[0]} runs one of them; vugrad reproduce all runs all."
        )
    return found
