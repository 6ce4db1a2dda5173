"""What came out, as a short text: the verdicts and every configuration's figures, with the date and the machine."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

from vugrad.compiler.machine.threads import allowed
from vugrad.files import write_whole
from vugrad.lab.outcome import Outcome
from vugrad.lab.runner import versions
from vugrad.lab.statistics import CONFIDENCE, Estimate
from vugrad.lab.studies import STUDIES
from vugrad.lab.verdicts import together


def write_summary(outcome: Outcome, folder: Path, edition: str) -> None:
    """``summary.md``, two tables in Markdown."""
    ran = {study.name for study in outcome.studies}
    missing = [name for name in STUDIES if name not in ran]
    by = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "machine")
    seeds = sorted({len(study.seeds) for study in outcome.studies})
    lines = [
        "# What came out of the report's experiments",
        "",
        f"{edition} Written by `vugrad reproduce` on {datetime.date.today():%-d %B %Y}, on {allowed()} cores of "
        f"{processor()} ({by}), with {' or '.join(map(str, seeds))} seeds. Means, with their {CONFIDENCE:.0%} "
        "bootstrap intervals in brackets; p is of a t-test over the seeds, corrected for the number of all tests.",
    ]
    if missing and ran & set(STUDIES):
        lines += ["", f"Not run: {', '.join(missing)}."]
    verdicts = outcome.verdicts
    if verdicts:
        lines += ["", "| claim | | verdict | effect | unit | p |", "|---|---|---|---|---|---|"]
    for name, parts in verdicts.items():
        lines.append(f"| **{name}** | {parts[0].claim.text} | **{together(parts)}** | | | |")
        for v in parts:
            lines.append(f"| | {v.part} | {v.word} | {around(v.effect, '+.3g')} | {v.claim.unit} | {v.p:.2g} |")
    otherwise = outcome.otherwise
    if otherwise:
        lines += ["", "| claim | under other conventions | verdict | effect | unit | p |", "|---|---|---|---|---|---|"]
    for name, parts in otherwise.items():
        for v in parts:
            lines.append(f"| {name} | {v.part} | {v.word} | {around(v.effect, '+.3g')} | {v.claim.unit} | {v.p:.2g} |")
    lines += ["", "| study | configuration | epoch | training loss | validation % | test % | s/epoch |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for study in outcome.studies:
        for row in outcome.rows[study.name]:
            stopped = f" ({row.stopped} of {len(study.seeds)} went to infinity)" if row.stopped else ""
            figures = (around(row.loss, ".4f"), around(row.validation, ".2f"), around(row.test, ".2f"))
            cells = (row.study, row.label + stopped, str(row.epoch), *figures, f"{row.seconds.mean:.3g}")
            lines.append(f"| {' | '.join(cells)} |")
    write_whole(folder / "summary.md", ("\n".join(lines) + "\n").encode())


def around(e: Estimate | None, form: str) -> str:
    """A mean with its interval in brackets."""
    if e is None or not e.n:
        return ""
    return f"{e.mean:{form}}" + (f" ({e.low:{form}} to {e.high:{form}})" if e.n > 1 else "")


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
