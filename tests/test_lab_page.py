"""The page and the texts of an outcome: what it says of itself, and that it can be read in any window."""

from dataclasses import replace

import numpy as np
import pytest
from browser import opened
from test_lab import SMALL
from test_lab_verdicts import record

from vugrad.lab import Study
from vugrad.lab.claims import CLAIMS
from vugrad.lab.command import CLAIMED, edition
from vugrad.lab.cost import cost
from vugrad.lab.figures import COLOURS, styles
from vugrad.lab.outcome import Outcome
from vugrad.lab.page import write_page
from vugrad.lab.preface import Preface, preface, settings
from vugrad.lab.statistics import resolvable
from vugrad.lab.studies import STUDIES
from vugrad.lab.summary import write_summary


def test_the_page_opens_by_itself_and_shows_everything(tmp_path):
    studies = [replace(STUDIES[name], seeds=(0, 1)) for name in ("F1", "T1", "F9")]
    found = {
        run: replace(record([2.0 / (1 + i) for i in range(100)], [0.5 + i / 250 for i in range(100)]), run=run)
        for study in studies
        for _, run in study.runs()
    }
    outcome = Outcome(studies, found)
    about = Preface("A title", "An edition & more.", ("And that.",))
    write_page(outcome, tmp_path, about)
    page = (tmp_path / "report.html").read_text()
    for text in ("<title>A title</title>", "An edition &amp; more.", "<p>And that.</p>"):
        assert text in page
    assert page.count("<svg") == page.count("</svg>") == 6
    for outside in ("src=", "@import", "url(http", "<script", "<link"):
        assert outside not in page
    for word in ("The claims", "C1", "C11", "C14", "16.25", "98.86", "lr 0.0001, momentum 0.9"):
        assert word in page
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}-{figure}.{kind}"
        for name in ("F1", "T1", "F9")
        for figure in ("loss", "validation-accuracy")
        for kind in ("svg", "png")
    }
    before = page
    write_page(outcome, tmp_path, about)
    assert (tmp_path / "report.html").read_text() == before


def test_configurations_look_different_and_the_same_in_all_pictures():
    for study in STUDIES.values():
        looks = [tuple(map(str, style.values())) for style in styles(study).values()]
        assert len(set(looks)) == len(looks)


def test_the_quick_edition_is_of_the_claims_and_says_what_it_is(tmp_path):
    studies = [edition(STUDIES[name], False, None, None) for name in CLAIMED]
    assert {c.study for c in CLAIMS} == {s.name for s in studies}
    assert all(s.base.data == "mnist5k" and len(s.seeds) == 3 for s in studies)
    assert edition(STUDIES["F3"], True, None, None).vary == STUDIES["F3"].vary
    total = sum(cost(run) for run in dict.fromkeys(run for s in studies for _, run in s.runs()))
    assert total < 110, "two minutes on two cores, with what the code's own start and pictures take"
    assert settings(studies[1]).endswith("epochs 2 (the report: 20), shuffle off, without 32 × 784")
    found = {
        run: replace(record([1.0, 0.5], [0.5, 0.6], seed=run.seed), run=run) for s in studies for _, run in s.runs()
    }
    about = preface(Outcome(studies, found), False)
    text = " ".join(about.more)
    assert about.title == "The report, reproduced and judged"
    assert about.edition.startswith(
        "The quick edition, with fewer epochs and images than the report's: 102 runs with 3"
    )
    tests = sum(len(c.parts) for c in CLAIMS)
    assert f"at least {resolvable(3, 1):.1f} to {resolvable(3, tests):.0f} times" in text
    for words in (
        "C2, C4, C7, C12, C14, C16 are about",
        "Not run: depth, norm, loss, synth, conventions, summed, better.",
    ):
        assert words in text
    assert "The full edition" in preface(Outcome(studies, found), True).edition


def test_a_study_of_one_s_own_has_its_own_title_and_preface(tmp_path):
    study = Study("width", "How wide must it be?", replace(SMALL, epochs=2), {"hidden": [(4,), (8,)]}, seeds=(0, 1))
    found = {run: replace(record([1.0, 0.5], [0.5, 0.6], seed=run.seed), run=run) for _, run in study.runs()}
    outcome = Outcome([study], found)
    about = preface(outcome, False)
    assert about == Preface(
        "How wide must it be?",
        "4 runs with 2 seeds.",
        ("Every figure is a mean over seeds with its 95% bootstrap interval.",),
    )
    write_page(outcome, tmp_path, about)
    write_summary(outcome, tmp_path, about)
    page, summary = (tmp_path / "report.html").read_text(), (tmp_path / "summary.md").read_text()
    assert "<h1>How wide must it be?</h1>" in page
    assert summary.startswith("# How wide must it be?\n")
    for text in (page.partition("</style>")[2], summary):
        for word in ("report's", "The report", "edition", "claim"):
            assert word not in text
    assert "data digits, model mlp, optimizer adam, lr 0.01, batch size 64, epochs 2" in page.replace(
        "dropout 0.2, ", ""
    )
    one = Outcome([replace(study, seeds=(0,))], found)
    assert preface(one, False) == Preface("How wide must it be?", "2 runs with 1 seed.", ())
    assert preface(Outcome([study, replace(study, name="other")], found), False).title == "2 studies"


def test_colours_of_curves_can_be_seen_on_both_pages():
    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    for light, dark in COLOURS.items():  # as WCAG asks of graphics
        assert 1.05 / (luminance(light) + 0.05) >= 2.8
        assert (luminance(dark) + 0.05) / (luminance("#15181c") + 0.05) >= 3
    assert len({luminance(colour) for colour in COLOURS}) == len(COLOURS)


#: What of a page is not in its window, or only after scrolling; and the numbers that are on two lines.
CUT = """[...document.querySelectorAll('body *:not(svg *)')].filter(e =>
    e.getBoundingClientRect().right > innerWidth + 1
    || (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX != 'visible')).map(e => e.outerHTML)"""
WRAPPED = """[...document.querySelectorAll('td.n span, td.n')].filter(e => {
    const text = document.createRange();
    text.selectNodeContents(e);
    return !e.children.length && text.getClientRects().length > 1;
}).map(e => e.innerText)"""


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window(width, scheme, page_of_everything):
    with opened(page_of_everything, width, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT) == []
        assert page.evaluate(WRAPPED) == []
        stacked = page.locator("td[data-name=effect]").first.evaluate("e => getComputedStyle(e).display")
        assert stacked == ("grid" if width == 390 else "table-cell")
        ink, paper = (
            page.locator("body").evaluate(f"e => getComputedStyle(e).{name}") for name in ("color", "backgroundColor")
        )
        assert (ink, paper) == (
            ("rgb(28, 31, 36)", "rgb(255, 255, 255)")
            if scheme == "light"
            else ("rgb(232, 234, 237)", "rgb(21, 24, 28)")
        )


@pytest.fixture(scope="module")
def page_of_everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    studies = [replace(STUDIES[name], seeds=(0, 1)) for name in ("F1", "F7", "F9", "F15", "better")]
    found = {}
    for study in studies:
        for _, run in study.runs():
            stopped = "the loss became inf" if run.recipe.lr == 0.1 else None
            found[run] = replace(record([2.0 - run.seed / 9, 1.0], [0.5, 0.7], stopped=stopped, test=0.9), run=run)
    outcome = Outcome(studies, found)
    write_page(outcome, folder, preface(outcome, True))
    return folder / "report.html"
