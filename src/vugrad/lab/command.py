"""``vugrad reproduce``: from names of studies to records, tables and verdicts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vugrad.data.named import DATASETS
from vugrad.files import as_json, check_writable, write_whole
from vugrad.lab.live import watched
from vugrad.lab.outcome import Outcome
from vugrad.lab.page import write_page
from vugrad.lab.record import Records
from vugrad.lab.runner import execute
from vugrad.lab.statistics import Estimate
from vugrad.lab.studies import STUDIES
from vugrad.lab.study import Study, read_studies
from vugrad.lab.summary import write_summary
from vugrad.lab.verdicts import Verdict, together
from vugrad.lab.workers import dask, local
from vugrad.suggest import choose

FULL_SEEDS = 5
EDITIONS = {
    False: "The quick edition: a few epochs on 4,000 images, which is not what the report's claims are about.",
    True: "The full edition: the report's own settings.",
}
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
    """Run studies and print what came out; ``out`` gets the records and the tables."""
    studies = [edition(study, full, seeds, data) for study in chosen(names)]
    own = sorted(study.name for study in studies if study.name not in STUDIES)
    out = Path("runs", "-".join(own) or "reproduce") if out is None else out
    check_writable(out.absolute() / "results.csv")
    _take(out, own)
    names_of_data = tuple(sorted({run.recipe.data for study in studies for _, run in study.runs()}))
    team = local(workers) if address is None else dask(address, names_of_data)
    records = Records(out / "records")
    outcome = Outcome(studies, watched(studies, records, team, console))
    outcome.write(out)
    write_page(outcome, out, EDITIONS[full])
    write_summary(outcome, out, EDITIONS[full])
    for study in studies:
        console.print(_table(study, outcome))
        console.print()
    if outcome.verdicts:
        console.print(_claims(outcome.verdicts, EDITIONS[full]))
    console.print(
        f"\n{out / 'report.html'} shows it with figures; summary.md, and results and claims as CSV, lie beside it"
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
    """The study as it is to be run: its own settings, or its quick ones."""
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds {seeds}: there must be at least 1")
    changes = {} if full else dict(study.quick)
    if data is not None:
        choose("dataset", data, DATASETS)
        changes["data"] = data
    count = seeds or (FULL_SEEDS if full else None)
    return study.changed(**changes, **({} if count is None else {"seeds": tuple(range(count))}))


def _table(study: Study, outcome: Outcome) -> Table:
    rows = outcome.rows[study.name]
    seeds = len(study.seeds)
    table = Table(
        title=f"{study.name}  {study.title}: means over {seeds} seeds, ± half their 95 % intervals",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        caption=study.note or None,
        caption_justify="left",
    )
    table.add_column("configuration")
    for heading in ("epoch", "training loss", "validation %", "test %", "s/epoch"):
        table.add_column(heading, justify="right")
    for row in rows:
        stopped = f"  ({row.stopped} stopped)" if row.stopped else ""
        table.add_row(
            row.label + stopped,
            str(row.epoch),
            _text(row.loss, ".4f"),
            _text(row.validation, ".2f"),
            _text(row.test, ".2f"),
            _text(row.seconds, ".3f", interval=False),
        )
    return table


def _text(e: Estimate | None, form: str, interval: bool = True) -> str:
    if e is None or not e.n:
        return ""
    around = f" ±{(e.high - e.low) / 2:{form}}" if interval and e.n > 1 else ""
    return f"{e.mean:{form}}{around}"


def _claims(verdicts: dict[str, list[Verdict]], edition: str) -> Table:
    table = Table(title="The claims", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.caption, table.caption_justify = edition, "left"
    for heading in ("", "claim and its parts", "verdict", "effect", "unit", "p"):
        table.add_column(heading, justify="right" if heading in ("effect", "p") else "left")
    for name, parts in verdicts.items():
        word = together(parts)
        table.add_row(name, parts[0].claim.text, Text(word, COLOURS[word]), "", "", "", style="bold")
        for v in parts:
            effect = f"{v.effect.mean:+.3g} ±{(v.effect.high - v.effect.low) / 2:.2g}"
            table.add_row("", f"  {v.part}", Text(v.word, COLOURS[v.word]), effect, v.claim.unit, f"{v.p:.2g}")
    return table
