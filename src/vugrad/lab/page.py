"""The report as one page that opens without a network."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from vugrad.files import write_whole
from vugrad.lab.figures import COLOURS, GRID, pictures, themed
from vugrad.lab.outcome import Outcome
from vugrad.lab.preface import Preface, settings
from vugrad.lab.runner import versions
from vugrad.lab.statistics import CONFIDENCE, Estimate
from vugrad.lab.summary import processor
from vugrad.lab.text import basis, interval, number
from vugrad.lab.verdicts import together

#: The pictures' colours on a dark page, in the order of :func:`vugrad.lab.figures.themed`; the last is the grid's.
DARK = (*COLOURS.values(), "#31363d")
assert len(DARK) == len((*COLOURS, GRID))


def write_page(outcome: Outcome, folder: Path, preface: Preface) -> None:
    """``report.html``, and its pictures by themselves as SVG and PNG under ``figures``."""
    drawn = {}
    for study in outcome.studies:
        drawn[study.name] = pictures(study, outcome.records[study.name])
        for picture in drawn[study.name]:
            write_whole(folder / "figures" / f"{picture.name}.svg", picture.svg.encode())
            write_whole(folder / "figures" / f"{picture.name}.png", picture.png)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "around": _around,
        "label": _label,
        "basis": basis,
        "mark": lambda word: "open" if word in ("not resolved", "not run") else word,
        "seconds": lambda e: number(e.mean, ".3g") if e.n else "–",
        "svg": lambda picture: Markup(themed(picture.svg)),
    }
    template = environment.from_string(files("vugrad.lab").joinpath("report.html").read_text(encoding="utf-8"))
    verdicts = outcome.verdicts
    page = template.render(
        preface=preface,
        dark=DARK,
        confidence=round(100 * CONFIDENCE),
        studies=outcome.studies,
        settings={study.name: settings(study) for study in outcome.studies},
        rows=outcome.rows,
        pictures=drawn,
        verdicts=verdicts,
        words={name: together(parts) for name, parts in verdicts.items()},
        otherwise=outcome.otherwise,
        cost=_cost(outcome),
        made=f"{datetime.date.today():%-d %B %Y}",
        by={**versions(), "processor": processor()},
    )
    write_whole(folder / "report.html", page.encode())


def _cost(outcome: Outcome) -> Mapping[str, tuple[int, float, float]]:
    """For each study its runs, their seconds of training together, and the images that went through in a second."""
    found = {}
    for study in outcome.studies:
        histories = [r.history for each in outcome.records[study.name].values() for r in each]
        seconds = sum(sum(h["seconds"]) for h in histories)
        images = sum(e.images_per_second * e.seconds for h in histories for e in h)
        found[study.name] = (len(histories), seconds, images / max(seconds, 1e-9))
    return found


def _around(e: Estimate | None, digits: int) -> Markup:
    """A mean with its interval below."""
    if e is None or not e.n:
        return Markup("–")
    form = f".{digits}f"
    ends = interval(e, form)
    return Markup("{}<small>{}</small>").format(number(e.mean, form), ends) if ends else Markup(number(e.mean, form))


def _label(text: str) -> Markup:
    """A configuration's label, with line breaks between its parts only."""
    return Markup(", ").join(Markup("<span>{}</span>").format(part) for part in text.split(", "))
