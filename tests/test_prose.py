"""Prose is executed: every Python block in the Markdown files at the root and in docs/ runs, a file in one go."""

import doctest
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(
    r"^(?P<indent> *)```(?:python|py|pycon)\b[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE
)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def blocks(text):
    """``(line, code)`` of each fenced Python block."""
    for fence in FENCE.finditer(text):
        yield text.count("\n", 0, fence.start("code")) + 1, textwrap.dedent(fence["code"])


def execute(page):
    """Run a page's blocks in one namespace: sessions of ``>>>`` against what they show, plain code as it stands."""
    names = {"__name__": page.stem}
    for line, code in blocks(page.read_text(encoding="utf-8")):
        if ">>> " in code:
            session = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line - 1)
            report = []
            doctest.DocTestRunner(optionflags=OPTIONS).run(session, out=report.append, clear_globs=False)
            names.update(session.globs)
            if report:
                raise AssertionError(f"{page}:{line}\n{''.join(report)}")
        else:
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(page)


def test_the_readme_has_examples():
    assert len(list(blocks((ROOT / "README.md").read_text(encoding="utf-8")))) >= 2


PAGE = """\
# A page

```python
x = 2
```

Some words, and a list:

1. with

   ```python
   >>> x + {}
   5

   ```

```sh
this is no Python
```

```python
def f():
    return 1 / {}


f()
```
"""


def test_a_page_that_is_right(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(3, 1))
    assert [line for line, _ in blocks(page.read_text())] == [4, 12, 22]
    execute(page)


def test_a_wrong_output_is_named_by_file_and_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(4, 1))
    with pytest.raises(AssertionError, match=r'page\.md:12\n[\s\S]*page\.md", line 12') as caught:
        execute(page)
    assert "Expected:\n    5\nGot:\n    6" in str(caught.value)


def test_an_exception_is_named_by_file_and_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(3, 0))
    with pytest.raises(ZeroDivisionError) as caught:
        execute(page)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(page), 23)
