"""Write marks to files: a CSV table, JSON, Gradescope's results, and a page for each submission."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vugrad.check.grade import Marks
from vugrad.check.page import template
from vugrad.files import as_json, check_writable, write_whole


@dataclass(frozen=True)
class Files:
    """The files that marks are written to; ``None`` for a format that is not wanted.

    Args:
        table: CSV with a row for each submission.
        record: JSON with all findings.
        gradescope: ``results.json`` of Gradescope, for one submission.
        pages: the folder for a page of each submission.
    """

    table: Path | None = None
    record: Path | None = None
    gradescope: Path | None = None
    pages: Path | None = None

    @property
    def of_marks(self) -> bool:
        """Whether a file is wanted that makes sense for marks only."""
        return any(path is not None for path in (self.table, self.gradescope, self.pages))

    def check(self) -> None:
        """Raise ``OSError`` if one of the files cannot be written."""
        for path in (
            self.table,
            self.record,
            self.gradescope,
            None if self.pages is None else self.pages / "page.html",
        ):
            if path is not None:
                check_writable(path.absolute())

    def write(self, found: Sequence[Marks], latest: Marks, single: bool = False) -> None:
        """Write the files of all submissions found so far, and the page of the latest.

        With ``single`` the JSON is one record and not a list of submissions.
        """
        if self.table is not None:
            write_whole(self.table, as_table(found).encode("utf-8", "backslashreplace"))
        if self.record is not None:
            records = [record(marks) for marks in found]
            write_whole(self.record, as_json(records[0] if single else {"submissions": records}))
        if self.gradescope is not None:
            write_whole(self.gradescope, as_json(results(found[0])))
        if self.pages is not None:
            write_whole(self.pages / f"{latest.file}.html", page(latest).encode("utf-8", "backslashreplace"))


def shown(mark: int | None) -> str:
    """A mark as text; no mark is a dash."""
    return "–" if mark is None else str(mark)


def as_table(found: Sequence[Marks]) -> str:
    """CSV with a row for each submission: a column for each op, empty where there is no mark, and counts."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    ops = [verdict.op for verdict in found[0].verdicts] if found else []
    writer.writerow(["submission", *ops, "passed", "of", "without a mark"])
    for marks in found:
        cells = ["" if verdict.mark is None else verdict.mark for verdict in marks.verdicts]
        writer.writerow([as_text(marks.name), *cells, marks.passed, len(cells), marks.open])
    return file.getvalue()


def as_text(cell: str) -> str:
    """A cell's text, quoted if a spreadsheet would take it for a formula.

    >>> as_text("=1+1"), as_text("bob")
    ("'=1+1", 'bob')
    """
    return f"'{cell}" if cell[:1] in tuple("=+-@\t\r") else cell


def record(marks: Marks) -> dict[str, Any]:
    """The JSON record of one submission."""
    return {
        "name": marks.name,
        "file": marks.file,
        "ops": [dataclasses.asdict(v) | {"mark": v.mark} for v in marks.verdicts],
        "passed": marks.passed,
        "of": len(marks.verdicts),
        "without a mark": marks.open,
        "not loaded": marks.left,
    }


def results(marks: Marks) -> dict[str, Any]:
    """One submission in the format of Gradescope's ``results.json``: for each op a test worth one point."""
    tests = [
        {
            "name": v.op,
            "score": v.mark or 0,
            "max_score": 1,
            "status": "passed" if v.mark else "failed",
            "output": f"forward: {v.forward}; backward: {v.backward}\n{v.text}".strip(),
            "output_format": "text",
        }
        for v in marks.verdicts
    ]
    said = [marks.summary, *(f"not loaded: {each}" for each in marks.left)]
    return {"score": marks.passed, "output": "\n".join(said), "output_format": "text", "tests": tests}


def page(marks: Marks) -> str:
    """A self-contained HTML page with each op's verdict and diagnosis."""
    return template("marks.html").render(marks=marks, shown=shown)
