"""``vugrad reproduce``: from names of studies to records, tables and verdicts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vugrad.data.named import DATASETS
from vugrad.files import as_json, check_writable, write_whole
from vugrad.lab.claims import CLAIMS
from vugrad.lab.live import INTERRUPTED, watched
from vugrad.lab.outcome import Outcome
from vugrad.lab.page import write_page
from vugrad.lab.preface import preface
from vugrad.lab.record import Records
from vugrad.lab.runner import execute
from vugrad.lab.studies import STUDIES
from vugrad.lab.study import Study, read_studies
from vugrad.lab.summary import write_summary
from vugrad.lab.text import basis, half, number
from vugrad.lab.verdicts import Verdict, together
from vugrad.lab.workers import dask, local
from vugrad.suggest import choose

FULL_SEEDS = 5
#: The studies that the report's claims are about.
CLAIMED = list(dict.fromkeys(claim.study for claim in CLAIMS))
COLOURS = {"supported": "green", "refuted": "red", "not resolved": "yellow"}


def reproduce(
    console: Console,
    names: Sequence[str],
    full: bool,
    seeds: int | None,
    data: str | None,
    workers: int | None,
    address: str | None,
    out: Path | None,
) -> None:
    """Run studies and print their results; the records, tables and the page go to the folder ``out``.

    The default is all studies of this package in the full edition, and :data:`CLAIMED` in the quick one.
    """
    studies = [edition(study, full, seeds, data) for study in chosen(names or (["all"] if full else CLAIMED))]
    own = sorted(study.name for study in studies if study.name not in STUDIES)
    out = Path("runs", "-".join(own) or "reproduce") if out is None else out
    check_writable(out.absolute() / "results.csv")
    _take(out, own)
    names_of_data = tuple(sorted({run.recipe.data for study in studies for _, run in study.runs()}))
    team = local(workers) if address is None else dask(address, names_of_data)
    records = Records(out / "records")
    try:
        outcome = Outcome(studies, watched(studies, records, team, console))
    except KeyboardInterrupt:
        console.print(_interrupted(studies, records))
        raise SystemExit(INTERRUPTED) from None
    about = preface(outcome, full)
    outcome.write(out)
    write_page(outcome, out, about)
    write_summary(outcome, out, about)
    for study in studies:
        print_study(console, study, outcome)
    if outcome.verdicts:
        print_claims(console, outcome.verdicts)
    console.print(about.edition)
    console.print(f"{out / 'report.html'} shows the results with figures, and what they can and cannot show.")
    console.print("summary.md, results.csv and claims.csv are in the same folder.")


def _interrupted(studies: Sequence[Study], records: Records) -> str:
    """The message for an interrupted sweep: what is kept, and how to go on."""
    runs = dict.fromkeys(run for study in studies for _, run in study.runs())
    done = sum(records.read(run) is not None for run in runs)
    return (
        f"\nInterrupted: {done} of {len(runs)} runs are done, and kept in {records.folder}. The same command makes the "
        "others; a run that was under way goes on after its last whole epoch."
    )


def _take(folder: Path, own: list[str]) -> None:
    """Write down whose folder it is; ``ValueError`` if it has the results of other studies of one's own, or of none."""
    mark = folder / "studies.json"
    try:
        before = json.loads(mark.read_bytes()) if mark.is_file() else own
    except ValueError as error:
        raise ValueError(f"{mark} does not say whose folder it is ({error}): remove it") from error
    if before != own:
        there, now = (" and ".join(map(repr, names)) if names else "the report's studies" for names in (before, own))
        raise ValueError(f"{folder} has the results of {there}, not of {now}: give another folder with --out")
    write_whole(mark, as_json(own))


def replay(console: Console, name: str, folder: Path) -> bool:
    """Make a run again, from its record, and say whether it comes out in the same bits; return that."""
    record = Records(folder).find(name)
    with tempfile.TemporaryDirectory() as apart:
        again = execute(record.run, Records(apart), record.threads)
    pairs = zip(record.history["loss"], again.history["loss"], strict=False)
    epoch = next((i for i, (a, b) in enumerate(pairs, 1) if a != b), None)
    if again.weights == record.weights and epoch is None and len(again.history) == len(record.history):
        console.print(f"{record.run.key}: the same bits, after {len(again.history)} epochs")
        return True
    where = f"from epoch {epoch} on" if epoch else "in the weights"
    changed = [
        f"{k} {v} is {again.versions.get(k)} now" for k, v in record.versions.items() if again.versions.get(k) != v
    ]
    console.print(
        f"{record.run.key}: other numbers {where}" + (f"; {', '.join(changed)}" if changed else ""), style="red"
    )
    return False


def new_study(console: Console, path: Path) -> None:
    """Write a study to begin with."""
    if path.exists():
        raise ValueError(f"{path} is there already: give another name")
    write_whole(path, EXAMPLE.encode())
    console.print(f"{path} holds a study: change it, and run `vugrad reproduce {path}`")


EXAMPLE = """# A study: what is fixed, what varies, and over which seeds. Every setting of `vugrad train` is one here.
title = "How wide must the hidden layer be?"
seeds = [0, 1, 2]

[base]
data = "mnist5k"
model = "mlp"
epochs = 5

[vary]
hidden = [[64], [128], [256]]
"""


def chosen(names: Sequence[str]) -> list[Study]:
    """The studies of these names and files; ``ValueError`` for one that is not there, and for two of one name."""
    found: list[Study] = []
    for name in names:
        if name == "all":
            found += STUDIES.values()
        else:
            found += read_studies(name) if Path(name).suffix in (".toml", ".py") else [choose("study", name, STUDIES)]
    for study in found:
        if study is not STUDIES.get(study.name, study):
            raise ValueError(f"{study.name!r} is a study of the report: give yours another name")
        if sum(other.name == study.name for other in found) > 1:
            raise ValueError(f"two studies are called {study.name!r}: run them one by one, or rename one")
    return found


def edition(study: Study, full: bool, seeds: int | None, data: str | None) -> Study:
    """The study to run: with its own settings, or with its quick ones."""
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds {seeds}: there must be at least 1")
    changes: dict[str, Any] = {}
    if data is not None:
        choose("dataset", data, DATASETS)
        changes["data"] = data
    count = seeds or (FULL_SEEDS if full else None)
    if count is not None:
        changes["seeds"] = tuple(range(count))
    return (study if full else study.looked_at()).changed(**changes)


def print_study(console: Console, study: Study, outcome: Outcome) -> None:
    """Print the table of a study."""
    seeds = len(study.seeds)
    of = f"means over {seeds} seeds, ± half their 95 % intervals" if seeds > 1 else "one seed"
    console.print(Text.assemble((f"{study.name}  {study.title}", "bold"), f": {of}"), soft_wrap=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("configuration")
    for heading in ("epoch", "training loss", "valid. %", "test %", "time s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in outcome.rows[study.name]:
        stopped = f"  ({row.stopped} went to infinity)" if row.stopped else ""
        figures = (half(row.loss, ".4f"), half(row.validation, ".2f"), half(row.test, ".2f"))
        pace = number(row.seconds.mean, ".3f") if row.seconds.n else ""
        table.add_row(row.label + stopped, str(row.epoch), *figures, pace)
    console.print(table)
    if study.note:
        console.print(study.note, soft_wrap=False)
    console.print()


def print_claims(console: Console, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Print the verdict on each claim and on its parts."""
    console.print("The claims", style="bold")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, parts in verdicts.items():
        word = together(parts)
        table.add_row(Text(name, "bold"), Text(word, f"bold {COLOURS[word]}"), Text(parts[0].claim.text, "bold"))
        for v in parts:
            own = Text(v.word, COLOURS[v.word]) if len(parts) > 1 else ""
            table.add_row("", own, f"{v.part}: {half(v.effect, '+.3g')} {v.unit}, {basis(v)}")
    console.print(table)
    console.print()
