"""The derivations page: every op asked for, in Markdown and in HTML that needs nothing else."""

import re
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from vugrad.check import command, page
from vugrad.cli import app
from vugrad.ops.table import ROWS

SOME = [row for row in ROWS if row.op.__name__ in ("ReLU", "Normalize", "Max", "AvgPool2d")]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(page, "ROWS", SOME)
    found = [command.Finding(row.op.__name__, row.name, "proven", "", 0.0) for row in SOME]
    monkeypatch.setattr(command, "find_all", lambda console: found)
    result = CliRunner().invoke(app, ["check", "--derivations", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "derivations.html" in result.output
    return tmp_path / "out"


def test_markdown(folder):
    text = (folder / "derivations.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["ReLU", "Max", "AvgPool2d", "Normalize"]
    assert text.count("$$") % 2 == 0
    assert r"\begin{align*}" in text
    assert 'return chain(go, context["x"] > 0)' in text
    assert "`3x4` proven" in text
    assert "It has no one formula in the indices" in text.partition("## AvgPool2d")[2].partition("## ")[0]
    assert "It has no one formula" not in text.partition("## Max")[2].partition("## ")[0]


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


def test_html_needs_nothing_else(folder):
    text = (folder / "derivations.html").read_text(encoding="utf-8")
    seen = Seen()
    seen.feed(text)
    assert not seen.open
    assert [a["id"] for tag, a in seen.tags if tag == "h2"] == ["ReLU", "Max", "AvgPool2d", "Normalize"]
    assert sum(tag == "math" for tag, _ in seen.tags) > 8
    assert not any({"src", "href"} & a.keys() and not a.get("href", "x").startswith("#") for _, a in seen.tags)
    assert "context[&#34;x&#34;] &gt; 0" in text
    assert "$" not in re.sub(r"<(style|pre)>.*?</\1>", "", text, flags=re.DOTALL)
