"""What came out, as a short text: the verdicts and every configuration's figures, with the date and the machine."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

from vugrad.compiler.machine.threads import allowed
from vugrad.files import write_whole
from vugrad.lab.outcome import Outcome
from vugrad.lab.preface import Preface
from vugrad.lab.runner import versions
from vugrad.lab.text import around, basis, number
from vugrad.lab.verdicts import together


def write_summary(outcome: Outcome, folder: Path, preface: Preface) -> None:
    """``summary.md``, two tables in Markdown."""
    by = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "machine")
    lines = [
        f"# {preface.title}",
        "",
        f"{preface.edition} Written by `vugrad reproduce` on {datetime.date.today():%-d %B %Y}, on {allowed()} "
        f"cores of {processor()} ({by}).",
    ]
    for paragraph in preface.more:
        lines += ["", paragraph]
    verdicts = outcome.verdicts
    if verdicts:
        lines += ["", "| claim | | verdict | effect | unit | by |", "|---|---|---|---|---|---|"]
    for name, parts in verdicts.items():
        lines.append(f"| **{name}** | {parts[0].claim.text} | **{together(parts)}** | | | |")
        for v in parts:
            lines.append(f"| | {v.part} | {v.word} | {around(v.effect, '+.3g')} | {v.unit} | {basis(v)} |")
    otherwise = outcome.otherwise
    if otherwise:
        lines += ["", "| claim | under other conventions | verdict | effect | unit | by |", "|---|---|---|---|---|---|"]
    for name, parts in otherwise.items():
        for v in parts:
            lines.append(f"| {name} | {v.part} | {v.word} | {around(v.effect, '+.3g')} | {v.unit} | {basis(v)} |")
    lines += ["", "| study | configuration | epoch | training loss | validation % | test % | s/epoch |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for study in outcome.studies:
        for row in outcome.rows[study.name]:
            stopped = f" ({row.stopped} of {len(study.seeds)} went to infinity)" if row.stopped else ""
            figures = (around(row.loss, ".4f"), around(row.validation, ".2f"), around(row.test, ".2f"))
            pace = number(row.seconds.mean, ".3g") if row.seconds.n else ""
            lines.append(f"| {' | '.join((row.study, row.label + stopped, str(row.epoch), *figures, pace))} |")
    write_whole(folder / "summary.md", ("\n".join(lines) + "\n").encode())


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
