"""The derivations page: every op, in Markdown and in HTML that needs nothing else, section by section."""

import json
import re
from html.parser import HTMLParser

import pytest
from rows import NO_INDEX_FORM, smallest
from typer.testing import CliRunner

from vugrad.check import command, page
from vugrad.cli import app
from vugrad.ops.table import ROWS


class InProcess:
    """An executor that runs each job when its result is asked for."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, f, jobs):
        return map(f, jobs)


@pytest.fixture
def check(monkeypatch):
    """``vugrad check`` in this process, at the smallest row of each op."""
    monkeypatch.setattr(command, "ProcessPoolExecutor", InProcess)
    monkeypatch.setattr(command, "OPS", {name: [smallest(rows)] for name, rows in command.OPS.items()})
    return lambda *arguments: CliRunner().invoke(app, ["check", *map(str, arguments)])


class Seen(HTMLParser):
    """The tags of a page, and whether each is closed by its own."""

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_whole_page(check, monkeypatch, tmp_path):
    real, derived = page.derive_row, {}

    def derive_row(row):
        derived[row.op.__name__] = real(row)
        return derived[row.op.__name__]

    monkeypatch.setattr(page, "derive_row", derive_row)
    result = check("--derivations", tmp_path / "out")
    assert result.exit_code == 0, result.output
    names = list(dict.fromkeys(row.op.__name__ for row in ROWS))
    assert f"have {len(names)} of {len(names)} ops" in " ".join(result.output.split())
    assert f"deriving and proving: {len(names)} of {len(names)}" in result.output

    text = (tmp_path / "out/derivations.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == names
    assert text.count("$$") % 2 == 0
    assert "Not yet here" not in text
    assert 'return chain(go, context["x"] > 0)' in text
    sections = dict(zip(names, text.split("\n## ")[1:], strict=True))
    without = {name for name, section in sections.items() if "No single formula in the indices" in section}
    assert without == NO_INDEX_FORM == set(names) - set(derived)
    assert all(derivation.established for derivation in derived.values())
    for name, section in sections.items():
        assert re.search(r"^Established: `.*` proven\.$", section, re.MULTILINE), name
        assert (r"\begin{align*}" in section) != (name in without), name

    text = (tmp_path / "out/derivations.html").read_text(encoding="utf-8")
    seen = Seen()
    seen.feed(text)
    assert not seen.open
    assert [a["id"] for tag, a in seen.tags if tag == "h2"] == names
    assert sum(tag == "math" for tag, _ in seen.tags) > 200
    assert not any({"src", "href"} & a.keys() and not a.get("href", "x").startswith("#") for _, a in seen.tags)
    assert "context[&#34;x&#34;] &gt; 0" in text
    assert "$" not in re.sub(r"<(style|pre)>.*?</\1>", "", text, flags=re.DOTALL)


def test_an_op_that_fails_costs_its_own_section(check, monkeypatch, tmp_path):
    real = page.entry

    def entry(rows, seconds):
        if rows[0].op.__name__ == "Exp":
            raise IndexError("<3> is out of bounds")
        return real(rows, seconds)

    monkeypatch.setattr(page, "entry", entry)
    result = check("--derivations", tmp_path, "--ops", "Id,Exp,Sin,Sine")
    assert result.exit_code == 1
    assert "Exp: its section could not be made: IndexError: <3> is out of bounds" in result.output
    assert "Sine: its section could not be made: ValueError: there is no op 'Sine'; did you mean 'Sin'" in result.output
    assert "have 2 of 4 ops" in " ".join(result.output.split())
    html = (tmp_path / "derivations.html").read_text(encoding="utf-8")
    assert "This section could not be made: IndexError: &lt;3&gt; is out of bounds" in html
    assert [html.count(f'id="{name}"') for name in ("Id", "Exp", "Sin")] == [1, 1, 1]


def test_what_is_done_is_there_when_it_is_interrupted(check, monkeypatch, tmp_path):
    real = page.entry

    def entry(rows, seconds):
        if rows[0].op.__name__ == "Sin":
            raise KeyboardInterrupt
        return real(rows, seconds)

    monkeypatch.setattr(page, "entry", entry)
    assert check("--derivations", tmp_path, "--ops", "Id,Exp,Sin,Cos").exit_code != 0
    text = (tmp_path / "derivations.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Id", "Exp"]
    assert "Not yet here: 2 more." in text


MINE = '''
import os
import numpy as np
import vugrad as vg


class Cube(vg.Op):
    """y = x³, where x < 1 & x > 0 too."""

    @staticmethod
    def forward(context, x):
        context["x"] = x
        return x**3

    @staticmethod
    def backward(context, go):
        return 3 * go * context["x"] ** 2


class Square(vg.Op):
    """y = x², with a gradient that is wrong."""

    inputs = [np.array([0.5, 2.0])]

    @staticmethod
    def forward(context, x):
        context["x"] = x
        return x * x

    @staticmethod
    def backward(context, go):
        return go * context["x"]


class Ends(vg.Op):
    """It ends its process."""

    @staticmethod
    def forward(context, x):
        os._exit(3)

    @staticmethod
    def backward(context, go):
        return go
'''


def test_the_page_of_a_notebook(check, tmp_path):
    cells = [{"cell_type": "code", "source": MINE.partition("class Square")[0]}]
    (tmp_path / "mine.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    result = check(tmp_path / "mine.ipynb", "--derivations", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "class Cube" not in (text := (tmp_path / "out/derivations.md").read_text(encoding="utf-8"))
    assert "def backward(context, go)" in text
    with pytest.raises(ValueError, match="--derivations only writes pages"):
        CliRunner().invoke(app, ["check", "--derivations", str(tmp_path), "--grade"], catch_exceptions=False)


def test_the_page_of_a_file(check, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    result = check(file, "--derivations", tmp_path / "out")
    assert result.exit_code == 1
    assert "Ends: its section could not be made: it ended its process, with status 3" in result.output
    assert "have 2 of 3 ops" in " ".join(result.output.split())
    text = (tmp_path / "out/derivations.md").read_text(encoding="utf-8")
    assert text.startswith("# mine.py: the ops, their maths, code, and proofs\n")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Cube", "Square", "Ends"]
    cube, square, _ = text.split("\n## ")[1:]
    assert r"3 \mathit{go}_{a,b} x_{a,b}^{2} && \text{the same }\blacksquare" in cube
    assert "not the same" in square
    assert "is 0.5 times what it should be" in square
    assert "x &lt; 1 &amp; x &gt; 0" in (tmp_path / "out/derivations.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"none\.py is not there"):
        CliRunner().invoke(
            app, ["check", str(tmp_path / "none.py"), "--derivations", str(tmp_path)], catch_exceptions=False
        )
