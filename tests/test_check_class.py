"""A class in one call: honest submissions, however odd, have their mark; tricks have none, and harm nobody else."""

import csv
import json
import re
import textwrap
import time
from pathlib import Path

import pytest
from browser import opened
from typer.testing import CliRunner

from vugrad.check import command
from vugrad.check.grade import MEMORY, Judges, Marks, grade_class, names_of, submissions
from vugrad.check.judge import Job
from vugrad.check.marks import page
from vugrad.check.process import FORKS
from vugrad.check.remote import Runner
from vugrad.check.submission import Verdict
from vugrad.cli import app

pytestmark = pytest.mark.usefixtures("shared_judges")

#: A right Exp, of which the submissions below are made.
RIGHT = """
class Exp(vg.Op):
    @staticmethod
    def forward(context, x):
        context["y"] = np.exp(x)
        return context["y"]
    @staticmethod
    def backward(context, go):
        return go * context["y"]
"""
BOTH = "import numpy as np\nimport vugrad as vg\n"


def with_backward(body, before="", decorator=""):
    """A submission whose backward does something else."""
    return f"""{BOTH}{before}
class Exp(vg.Op):
    @staticmethod
    def forward(context, x):
        context["x"] = x
        context["y"] = np.exp(x)
        return context["y"]
    @staticmethod{decorator}
    def backward(context, go):
{textwrap.indent(textwrap.dedent(body).strip(), " " * 8)}
"""


def notebook(*cells):
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": cell} for cell in cells]})


#: Honest submissions, by file: what is in them; some with words of the verdict. All have the mark.
HONEST = {
    "plain.py": BOTH + RIGHT,
    "argparse_at_the_top.py": "from argparse import ArgumentParser\n"
    + BOTH
    + "p = ArgumentParser()\np.add_argument('--data', required=True)\nargs = p.parse_args()\n"
    + RIGHT
    + "print(args.data)\n",
    "trains_on_import.py": BOTH + RIGHT + "x, y = vg.load_mnist()\nwhile True:\n    loss = net(x)\n",
    "exits.py": BOTH + "import sys\nif len(sys.argv) < 2:\n    sys.exit('give a file')\n" + RIGHT + "sys.exit(1)\n",
    "asks.py": BOTH + "n = int(input('how many? '))\n" + RIGHT,
    "star.py": "from vugrad import *\n" + BOTH + RIGHT,
    "door.py": "from vugrad.core import Op, TensorNode\n" + BOTH + RIGHT.replace("vg.Op", "Op"),
    "renamed.py": "import numpy\nimport vugrad\n" + RIGHT.replace("vg.", "vugrad.").replace("np.", "numpy."),
    "no_such_package.py": "import torch_of_mine\nfrom nowhere import a, b\n" + BOTH + RIGHT,
    "other_class_is_broken.py": BOTH + "class Log(vg.Op):\n    slope = undefined\n" + RIGHT,
    "annotations.py": "from __future__ import annotations\n" + BOTH + RIGHT.replace("x):", "x: Undefined) -> Array:"),
    "bom.py": "\ufeff" + BOTH + RIGHT,
    "latin.py": ("# -*- coding: latin-1 -*-\n" + BOTH + "NAME = 'José'\n" + RIGHT).encode("latin-1"),
    "crlf and spaces é.py": (BOTH + RIGHT).replace("\n", "\r\n").encode(),
    "tabs.py": (BOTH + RIGHT).replace("    ", "\t"),
    "no_staticmethod.py": BOTH + RIGHT.replace("    @staticmethod\n", ""),
    "lambdas.py": BOTH
    + "class Exp(vg.Op):\n    forward = staticmethod(lambda c, x: c.setdefault('y', np.exp(x)))\n"
    + "    backward = staticmethod(lambda c, go: go * c['y'])\n",
    "functions_outside.py": BOTH
    + "def fwd(c, x):\n    c['y'] = np.exp(x)\n    return c['y']\n\ndef bwd(c, go):\n    return go * c['y']\n\n"
    + "class Exp(vg.Op):\n    pass\n\nExp.forward = staticmethod(fwd)\nExp.backward = staticmethod(bwd)\n",
    "helper_and_constant.py": with_backward(
        "return scaled(go, context)", "ONE = np.ones(1)\ndef scaled(go, c): return ONE * go * c['y']\n"
    ),
    "inherits_its_own.py": BOTH
    + RIGHT.replace("class Exp(vg.Op)", "class Base(vg.Op)")
    + "\nclass Exp(Base):\n    pass\n",
    "decorated.py": BOTH
    + "import functools\ndef loud(f):\n    @functools.wraps(f)\n    def g(*a):\n        print('x' * 10**6)\n"
    + "        return f(*a)\n    return g\n"
    + RIGHT.replace("@staticmethod\n", "@staticmethod\n    @loud\n"),
    "sum_to.py": with_backward("return vg.ops.sum_to(go * context['y'], context['x'].shape)"),
    "dataclass.py": with_backward(
        "return Saved(context['y']).y * go",
        "from dataclasses import dataclass\n@dataclass\nclass Saved:\n    y: object\n",
    ),
    "guarded.py": BOTH
    + "try:\n    import matplotlib_of_mine as plt\nexcept ImportError:\n    plt = None\nif True:\n"
    + textwrap.indent(RIGHT, "    "),
    "book.ipynb": notebook(
        "%matplotlib inline\n!pip install vugrad\n" + BOTH,
        "%%bash\nls",
        ["%%time\n", *RIGHT.splitlines(True)],
        "net.fit(",
        "x?",
    ),
    "folder/hw/ops.py": "from .helpers import grow\nfrom vugrad import Op\nimport numpy as np\n"
    + RIGHT.replace("vg.Op", "Op").replace("np.exp", "grow"),
    "folder/hw/helpers.py": "import numpy as np\nfor i in range(10**12): pass\ngrow = lambda x: np.exp(x)\n",
    "beside/main.py": "from layers import Exp\nimport train\n",
    "beside/layers.py": BOTH + RIGHT,
    "beside/train.py": "while True: pass\n",
    "fork/vugrad/core.py": "class Op:\n    def forward(context, *xs): pass\n    def backward(context, *gos): pass\n",
    "fork/vugrad/ops.py": "from .core import Op\nimport numpy as np\n" + RIGHT.replace("vg.Op", "Op"),
}

#: Dishonest or harmful ones, and broken ones: what is in them, the mark, and words of the verdict.
OTHERS = {
    "inherits.py": (
        BOTH + "class Exp(vg.Exp): pass\n",
        None,
        "its forward is vugrad's own Exp.forward: write your own",
    ),
    "alias.py": (BOTH + "Exp = vg.Exp\n", None, "its forward is vugrad's own Exp.forward"),
    "another_name.py": ("from vugrad.ops.elementwise import Exp as Exp\n", None, "vugrad's own"),
    "assigned.py": (
        with_backward("pass") + "    backward = vg.Exp.backward\n",
        None,
        "its backward is vugrad's own Exp.backward",
    ),
    "delegates.py": (
        with_backward("return vg.Exp.backward(context, go)"),
        None,
        "its backward calls vugrad's Exp.backward",
    ),
    "getattr.py": (
        with_backward("return getattr(getattr(vg, 'E' + 'xp'), 'back' + 'ward')(context, go)"),
        None,
        "calls vugrad's",
    ),
    "from_its_code.py": (
        with_backward("return F(vg.Exp.backward.__code__, {})(context, go)", "from types import FunctionType as F\n"),
        None,
        "its backward calls vugrad's Exp.backward",
    ),
    "swallows.py": (
        with_backward(
            "try:\n    return vg.Exp.backward(context, go)\nexcept BaseException:\n    return go * context['y']"
        ),
        None,
        "its backward calls vugrad's",
    ),
    "grad.py": (
        with_backward("return vg.grad(lambda x: (np.exp(x) * go).sum())(context['x'])"),
        None,
        "calls vugrad's",
    ),
    "nodes.py": (
        with_backward("x = vg.TensorNode(context['x'])\n(np.exp(x) * go).sum().backward()\nreturn x.grad"),
        None,
        "calls vugrad's",
    ),
    "elementwise.py": (BOTH + "Exp = vg.elementwise(np.exp, np.exp, 'Exp')\n", None, "vugrad's own elementwise"),
    "exec.py": (
        with_backward("d = {}\nexec('def f(a): return a', d)\nreturn d['f'](go * context['y'])"),
        None,
        "made as it runs",
    ),
    "unwatched.py": (
        with_backward("import sys\nsys.setprofile(None)\nreturn go * context['y']"),
        None,
        "replaces the profile hook",
    ),
    "classmate.py": ("from plain import Exp\n", None, "could not be loaded: classmate.py, line 1"),
    "relative.py": ("from .plain import Exp\n", None, "could not be loaded"),
    "dies.py": (with_backward("import os\nos._exit(0)"), 0, "it ended its process, with status 0"),
    "killed.py": (with_backward("import os\nos.kill(os.getpid(), 9)"), 0, "it crashed, with SIGKILL"),
    "strange_signal.py": (with_backward("import os\nos.kill(os.getpid(), 40)"), 0, "it crashed, with "),
    "leaves.py": (with_backward("raise SystemExit"), 0, "SystemExit"),
    "forks.py": (with_backward("import os\nos.fork()\nreturn go"), 0, "wrong"),
    "writes_to_all_pipes.py": (
        with_backward(
            "import os\nfor i in range(3, 20):\n    try: os.write(i, b'x' * 99)\n    except OSError: pass\nreturn go"
        ),
        0,
        "invalid answer",
    ),
    "returns_text.py": (with_backward("return '\\x1b[31mred'"), 0, "returns str for the gradient of x"),
    "raises.py": (with_backward("raise ValueError('\\x1b[2J' + 'long ' * 10**6)"), 0, "ValueError"),
    "self.py": (
        BOTH + RIGHT.replace("    @staticmethod\n", "").replace("(context", "(self, context"),
        None,
        "Exp.forward takes self, but an op has no instances: write @staticmethod above",
    ),
    "misspelt.py": (BOTH + RIGHT.replace("backward", "bakward"), None, "defines bakward, and no backward"),
    "nothing.py": (with_backward("return ()"), 0, "returns 0 gradient(s) for 1 input(s)"),
    "list.py": (with_backward("return [go * context['y']]"), 0, "returns a list: return an array, or a tuple"),
    "syntax.py": ("def broken(:\n", None, "syntax.py, line 1: def broken(: (SyntaxError: invalid syntax)"),
    "mixed_tabs.py": ("if True:\n        x = 1\n\ty = 2\n", None, "TabError: inconsistent use of tabs and spaces"),
    "not_utf8.py": (BOTH.encode() + b"# Jos\xe9\n" + RIGHT.encode(), None, "the file is not in UTF-8 (line 3: "),
    "utf16.py": ((BOTH + RIGHT).encode("utf-16"), None, "save it as UTF-8"),
    "zeros.py": (b"x = 1\0\n", None, "could not be loaded"),
    "empty.py": ("", 0, "there is no op in it"),
    "no_notebook.ipynb": ("{}", None, "the file is not a notebook"),
    "needs_training.py": (
        with_backward("return go * context['y'] * net.scale", "net = train()\n"),
        None,
        "it uses net, which is not loaded: needs_training.py, line 3",
    ),
    "its_class_needs_it.py": (
        BOTH + "w = compute()\n" + RIGHT.replace("vg.Op):", "vg.Op):\n    scale = w"),
        None,
        "it uses w, which is not loaded",
    ),
    "typo.py": (with_backward("return go * contxt['y']"), 0, "NameError: name 'contxt' is not defined"),
    "refuses.py": (
        BOTH + RIGHT.replace('context["y"] =', 'assert x.size < 2\n        context["y"] ='),
        None,
        "its forward refuses all",
    ),
    "deep.py": (BOTH + "x = " + "(" * 5000 + "1" + ")" * 5000 + "\n" + RIGHT, None, "could not be loaded"),
}


def write(folder, submissions):
    for name, source in submissions.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return folder


def test_a_class(tmp_path, monkeypatch):
    """Each submission has the mark and the reason that it deserves, in the table, in JSON and on its page."""
    monkeypatch.setattr(command, "SECONDS", 200)
    folder = write(tmp_path / "class", HONEST | {name: source for name, (source, _, _) in OTHERS.items()})
    out = {"--csv": tmp_path / "marks.csv", "--json": tmp_path / "marks.json", "--pages": tmp_path / "pages"}
    arguments = [str(part) for pair in out.items() for part in pair]
    result = CliRunner().invoke(app, ["check", str(folder), "--grade", "--ops", "Exp", *arguments])
    assert result.exit_code == 0, result.output
    found = {each["file"]: each for each in json.loads(out["--json"].read_text())["submissions"]}
    assert set(found) == {name.partition("/")[0] for name in HONEST | OTHERS}
    wrong = {}
    for file, each in found.items():
        (op,) = each["ops"]
        mark, text = (1, "") if file not in OTHERS else OTHERS[file][1:]
        if op["mark"] != mark or text not in op["text"]:
            wrong[file] = op
    assert wrong == {}
    rows = {row["submission"]: row for row in csv.DictReader(out["--csv"].read_text().splitlines())}
    assert (rows["plain"]["Exp"], rows["dies"]["Exp"], rows["alias"]["Exp"]) == ("1", "0", "")
    assert len(rows) == len(found)
    assert all((out["--pages"] / f"{file}.html").is_file() for file in found)
    assert "\x1b" not in out["--json"].read_text() + result.output + (out["--pages"] / "raises.py.html").read_text()
    assert re.search(rf"{len(found)}/{len(found)} \S+: ", result.output)


def test_what_hangs_is_ended(tmp_path):
    """Also where it holds the interpreter, sleeps, or has started another process; the others have their marks."""
    bodies = {
        "loop.py": "while True: pass",
        "sleep.py": "import time\ntime.sleep(10**6)",
        "compute.py": "return 3 ** (10 ** 10) % 7",
        "child.py": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(10**6)'])",
    }
    folder = write(tmp_path / "class", {name: with_backward(body) for name, body in bodies.items()})
    found = {marks.file: marks.verdicts[0] for marks in grade_class(folder, ["Exp"], seconds=1)}
    assert found.keys() == bodies.keys()
    for verdict in found.values():
        assert (verdict.mark, verdict.text) == (
            0,
            "it did not finish within 1 s of processor time or 3 s: does a loop never end?",
        )


def state_of(process):
    """The letter of a process's state, X if there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


@pytest.mark.skipif(not FORKS, reason="the processes of submissions are started anew here")
def test_no_process_stays_behind(tmp_path):
    """Also where process 1 reaps no children, as in a container whose command is the grading."""
    (path,) = write(tmp_path, {"a.py": BOTH + RIGHT}).glob("*.py")
    with Runner(path, True, False, 200, MEMORY).process as process:
        assert process.ask({"do": "names"})["is"]["names"] == ["Exp"]
        pid = process.child.pid
    for _ in range(200):
        if state_of(pid) == "X":
            return
        time.sleep(0.01)
    pytest.fail("the process of a submission is not reaped")


@pytest.mark.skipif(not FORKS, reason="the processes of submissions are started anew here")
def test_one_that_kills_the_processes_above_it_harms_no_other(tmp_path):
    above = """
        import os, signal
        waiting = os.getppid()
        with open(f"/proc/{waiting}/stat") as file:
            server = int(file.read().rpartition(")")[2].split()[1])
    """
    kills = """
        os.kill(server, signal.SIGKILL)
        os.kill(waiting, signal.SIGKILL)
        os._exit(3)
    """
    stops = f"""
        with open({str(tmp_path / "stopped")!r}, "w") as file:
            print(server, file=file)
        os.kill(server, signal.SIGSTOP)
    """
    texts = {"a.py": with_backward(above + kills), **{f"{name}.py": BOTH + RIGHT for name in "bcd"}}
    folder = write(tmp_path / "class", {**texts, "e.py": with_backward(above + stops)})
    with Judges(1) as judges:
        jobs = [Job(str(folder / f"{name}.py"), "Exp", True, False, 200, MEMORY) for name in "bacde"]
        found = [Verdict(**judges.submit(job).result()["verdict"]) for job in jobs]
    assert [verdict.mark for verdict in found[:4]] == [1, 0, 1, 1]
    assert found[1].text == "it crashed, with SIGKILL"  # so it looks, as nobody is left to say how it ended
    stopped = int((tmp_path / "stopped").read_text())
    for _ in range(200):
        if state_of(stopped) in "XZ":
            return
        time.sleep(0.05)
    pytest.fail("a process that is stopped outlives the judge that has started it")


def test_what_is_done_is_kept(tmp_path, monkeypatch):
    """Whatever interrupts a class, the marks of those that are done are in the files."""

    def two(folder, names, *limits):
        right = Verdict("Exp", "right", "proven", "")
        yield Marks("bob", "bob.py", [right])
        yield Marks("=alice()", "=alice().py", [right])
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "grade_class", two)
    folder = write(tmp_path / "class", {"a.py": "", "b.py": "", "c.py": ""})
    table = tmp_path / "marks.csv"
    result = CliRunner().invoke(app, ["check", str(folder), "--grade", "--ops", "Exp", "--csv", str(table)])
    assert "2/3 =alice(): 1 of 1 (Exp 1)" in result.output
    assert "interrupted: 2 of 3 are graded" in result.output
    assert table.read_text().splitlines() == [
        "submission,Exp,passed,of,without a mark",
        "'=alice(),1,1,1,0",
        "bob,1,1,1,0",
    ]


def test_gradescope(tmp_path):
    """One submission, in a folder as Gradescope gives it, and the results that it shows."""
    submission = write(tmp_path / "submission", {"hw/ops.py": BOTH + RIGHT, "hw/notes.py": BOTH + "Log = vg.Log"})
    out = tmp_path / "results" / "results.json"
    arguments = ["check", str(submission), "--grade", "--ops", "Exp,Log,ReLU", "--gradescope", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 of 3, and 1 without a mark" in result.output
    found = json.loads(out.read_text())
    assert (found["score"], found["output"]) == (1, "1 of 3, and 1 without a mark")
    assert [(t["name"], t["score"], t["max_score"], t["status"]) for t in found["tests"]] == [
        ("Exp", 1, 1, "passed"),
        ("Log", 0, 1, "failed"),
        ("ReLU", 0, 1, "failed"),
    ]
    assert found["tests"][1]["output"] == (
        "forward: unknown; backward: not graded\nits forward is vugrad's own Log.forward: write your own"
    )
    assert "there is no op 'ReLU'. There are: Exp" in found["tests"][2]["output"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grade"], "name the ops that a class was to write, as in --ops Normalize,ReLU"),
        (["--csv", "marks.csv"], "--csv, --gradescope and --pages write marks: add --grade"),
        (["--grade", "--ops", "Exp"], "has no submissions: a .py or .ipynb file, or a folder, for each student"),
    ],
)
def test_calls_that_say_too_little(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        CliRunner().invoke(app, ["check", str(tmp_path), *arguments], catch_exceptions=False)


def test_two_of_one_name(tmp_path):
    """A file and a notebook of one name are two submissions, each called as its file is."""
    folder = write(tmp_path / "class", {"bob.py": "", "bob.ipynb": notebook(), "eve.py": ""})
    assert names_of(submissions(folder)) == ["bob.ipynb", "bob.py", "eve"]


def test_the_page_of_a_submission_fits_a_phone(tmp_path):
    path = tmp_path / "page.html"
    text = "Exp of x (2, 3): wrong.\n  x = [[1. 2.]] <b>&" + "a" * 300
    verdicts = [Verdict("Exp", "right", "wrong", text, "2x3"), Verdict("Log", "unknown", "not graded", "its own")]
    path.write_text(page(Marks("bob", "bob.py", verdicts, ["bob.py, line 3: " + "train(" * 60])), encoding="utf-8")
    for width in (390, 1400):
        with opened(path, width=width) as shown:
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            assert shown.locator("h2").all_inner_texts() == ["Exp: 0", "Log: no mark", "Not loaded or not judged"]
            assert shown.locator("pre").first.inner_text() == text
