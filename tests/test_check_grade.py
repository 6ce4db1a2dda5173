"""``vugrad check``: a person's file op by op, whatever is in it; the table; marks and JSON."""

import json
import re
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vugrad.check import command
from vugrad.check.grade import MEMORY, grade, grade_class
from vugrad.check.remote import Runner
from vugrad.cli import app
from vugrad.ops.table import ROWS

pytestmark = pytest.mark.usefixtures("shared_judges")

HOMEWORK = '''
    """What a student hands in."""
    import ctypes, os, sys
    import numpy as np
    import vugrad as vg

    print("what it prints does no harm")

    class Normalize(vg.Op):
        @staticmethod
        def forward(context, x):
            context.update(x=x, s=x.sum(axis=1, keepdims=True))
            return x / context["s"]
        @staticmethod
        def backward(context, go):
            return go / context["s"] - go * context["x"] / context["s"] ** 2

    class ReLU(vg.Op):
        @staticmethod
        def forward(context, x):
            context["x"] = x
            return np.maximum(x, 0)
        @staticmethod
        def backward(context, go):
            return go * (context["x"] > 0)

    class Exp(vg.Op):
        """The wrong forward with its right backward."""
        @staticmethod
        def forward(context, x):
            context["y"] = 2**x
            return context["y"]
        @staticmethod
        def backward(context, go):
            return go * context["y"] * np.log(2)

    class Affine(vg.Op):
        @staticmethod
        def forward(context, x, w, b):
            context.update(x=x, w=w)
            return x @ w.T + b
        @staticmethod
        def backward(context, go):
            return go @ context["w"], go.T @ context["x"], go.sum(axis=0)

    class Noisy(vg.Op):
        """It branches on numbers, so that it can be checked and not proven."""
        @staticmethod
        def forward(context, x):
            return x * 2 if x.sum() > 0 else x * 2
        @staticmethod
        def backward(context, go):
            return 2 * go

    class Picky(vg.Op):
        inputs = [np.ones((7, 5))]
        @staticmethod
        def forward(context, x):
            if x.shape != (7, 5):
                raise ValueError("7 x 5 alone")
            return 3 * x
        @staticmethod
        def backward(context, go):
            return 3 * go

    class Pickier(vg.Op):
        forward, backward = Picky.forward, Picky.backward

    class Roots(vg.Op):
        """It takes positive numbers alone."""
        @staticmethod
        def forward(context, x):
            context["y"] = np.sqrt(x).sum(axis=1), np.sqrt(x)
            return context["y"][0]
        @staticmethod
        def backward(context, go):
            return 0.5 * go[:, None] / context["y"][1]

    class Entropy(vg.Op):
        inputs = [np.array([[0.5, 1.0, -0.3], [0.1, 0.2, 0.9]]), np.array([2, 0])]
        @staticmethod
        def forward(context, x, labels):
            p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
            hit = context["d"] = p - (labels[:, None] == np.arange(3))
            return -np.log(p[np.arange(2), labels])
        @staticmethod
        def backward(context, go):
            return go[:, None] * context["d"], None

    class Four(vg.Op):
        @staticmethod
        def forward(context, a, b, c, d):
            return a + b + c + d
        @staticmethod
        def backward(context, go):
            return go, go, go, go

    class Many(vg.Op):
        @staticmethod
        def forward(context, *xs):
            context["n"] = len(xs)
            return sum(xs)
        @staticmethod
        def backward(context, go):
            return (go,) * context["n"]

    class Slow(vg.Op):
        """A right backward that no proof comes to the end of."""
        inputs = [np.linspace(-0.5, 0.6, 9).reshape(3, 3)]
        @staticmethod
        def forward(context, w):
            h, context["hs"], context["w"] = w, [], w
            for _ in range(6):
                context["hs"].append(h)
                h = np.tanh(h @ w)
            context["hs"].append(h)
            return h
        @staticmethod
        def backward(context, go):
            hs, w, gw = context["hs"], context["w"], 0
            for before, after in zip(hs[-2::-1], hs[:0:-1]):
                go = go * (1 - after**2)
                gw = gw + before.T @ go
                go = go @ w.T
            return gw + go

    class Base(vg.Op):
        """Not an op itself."""

    Alias = ReLU

    class Var(vg.Op):
        """Another one than the library's."""
        @staticmethod
        def forward(context, x):
            return 2 * x
        @staticmethod
        def backward(context, go):
            return 2 * go

    class Endless(vg.Op):
        @staticmethod
        def forward(context, x):
            while True:
                pass
        @staticmethod
        def backward(context, go):
            return go

    class Crashing(vg.Op):
        @staticmethod
        def forward(context, x):
            ctypes.string_at(0)
        @staticmethod
        def backward(context, go):
            return go

    class Hungry(vg.Op):
        @staticmethod
        def forward(context, x):
            context["all"] = np.ones(10**11)
            return x
        @staticmethod
        def backward(context, go):
            return go

    class Leaving(vg.Op):
        @staticmethod
        def forward(context, x):
            os._exit(0)
        @staticmethod
        def backward(context, go):
            return go
'''

EXPECTED = {
    "Normalize": ("right", "wrong", "the sum over them is missing"),
    "ReLU": ("right", "proven", ""),
    "Exp": ("wrong", "proven", "its forward is wrong for 2x3"),
    "Affine": ("unknown", "proven", ""),
    "Noisy": ("unknown", "checked", "not proven: "),
    "Picky": ("unknown", "proven", ""),
    "Pickier": (
        "unknown",
        "not graded",
        "its forward refuses all inputs that were tried (2x3: ValueError: 7 x 5 alone)",
    ),
    "Roots": ("unknown", "proven", ""),
    "Entropy": ("unknown", "proven", ""),
    "Four": ("unknown", "proven", ""),
    "Many": ("unknown", "proven", ""),
    "Slow": ("unknown", "checked", "is too long for algebra"),
    "Var": ("unknown", "not graded", "its forward gives shape (2, 3, 4) for 2x3x4, and vugrad's Var shape ()"),
    "Crashing": ("unknown", "wrong", "it crashed, with SIGSEGV"),
    "Hungry": ("unknown", "not graded", "MemoryError"),
    "Leaving": ("unknown", "wrong", "it ended its process, with status 0"),
}


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """What the tests are about does not depend on how busy the machine is."""
    monkeypatch.setattr(command, "SECONDS", 200)


@pytest.fixture
def homework(tmp_path):
    path = tmp_path / "homework.py"
    path.write_text(textwrap.dedent(HOMEWORK), encoding="utf-8")
    return path


def test_each_op_has_its_own_verdict(homework):
    verdicts = {verdict.op: verdict for verdict in grade(homework, [*EXPECTED], seconds=200).verdicts}
    assert list(verdicts) == list(EXPECTED)
    for name, (forward, backward, text) in EXPECTED.items():
        found = verdicts[name]
        assert (found.forward, found.backward) == (forward, backward), found
        assert text in found.text
        assert found.passed == (forward != "wrong" and backward in ("proven", "checked"))
        open_ = forward != "wrong" and backward in ("not established", "not graded")
        assert found.mark == (None if open_ else int(found.passed))


def test_the_ops_of_a_file_are_those_that_it_defines(homework):
    with Runner(homework, False, True, 20, MEMORY).process as process:
        assert sorted(process.ask({"do": "names"})["is"]["names"]) == sorted([*EXPECTED, "Endless"])


def test_files_in_the_current_folder_are_not_taken_for_the_librarys(homework, monkeypatch):
    for name in ("random.py", "json.py", "numpy.py"):
        (homework.parent / name).write_text("raise SystemError('not this one')")
    (homework.parent / "vugrad").mkdir()
    monkeypatch.chdir(homework.parent)
    assert [verdict.backward for verdict in grade(homework, ["ReLU", "ReLU"], seconds=200).verdicts] == ["proven"]


def test_a_file_and_a_class_are_found_from_the_current_folder(homework, monkeypatch):
    monkeypatch.chdir(homework.parent)
    file, folder = Path(homework.name), Path()
    assert grade(file, ["ReLU"], seconds=200).verdicts[0].backward == "proven"
    assert [marks.verdicts[0].backward for marks in grade_class(folder, ["ReLU"], seconds=200)] == ["proven"]


#: Ops whose names others have, or with inputs that have to be guessed: the mark, and words of the verdict.
UNLIKE = """
    import numpy as np
    import vugrad as vg

    class Power(vg.Op):
        @staticmethod
        def forward(context, x, n=3):
            context.update(x=x, n=n)
            return x**n
        @staticmethod
        def backward(context, go):
            return go * context["n"] * context["x"] ** (context["n"] - 1)

    class Mean(vg.Op):
        @staticmethod
        def forward(context, x):
            context["shape"] = x.shape
            return x.mean(axis=0)
        @staticmethod
        def backward(context, go):
            return np.broadcast_to(go / context["shape"][0], context["shape"])

    class Softmax(vg.Op):
        @staticmethod
        def forward(context, x):
            context["y"] = np.array([np.exp(row) / sum(np.exp(row)) for row in x])
            return context["y"]
        @staticmethod
        def backward(context, go):
            y = context["y"]
            return y * (go - (go * y).sum(axis=1, keepdims=True))

    class Exp(vg.Op):
        @staticmethod
        def forward(context, x):
            context["y"] = np.exp(x)
            return context["y"] + 1
        @staticmethod
        def backward(context, go):
            return go * context["y"]

    class Gather(vg.Op):
        @staticmethod
        def forward(context, x, i):
            context.update(shape=x.shape, i=i)
            return x[i]
        @staticmethod
        def backward(context, go):
            gx = np.zeros(context["shape"])
            gx[context["i"]] += go
            return gx, None
"""


def test_an_op_is_judged_for_what_it_is(tmp_path):
    (tmp_path / "a.py").write_text(textwrap.dedent(UNLIKE), encoding="utf-8")
    (tmp_path / "b.py").write_text(textwrap.dedent(UNLIKE), encoding="utf-8")
    found = grade(tmp_path, seconds=200)
    texts = {verdict.op: verdict.text for verdict in found.verdicts}
    marks = {verdict.op: verdict.mark for verdict in found.verdicts}
    assert marks == {"Power": 1, "Mean": None, "Softmax": 1, "Exp": 0, "Gather": 0}, texts
    assert "its forward gives shape (3, 4) for 2x3x4, and vugrad's Mean shape ()" in texts["Mean"]
    assert re.search(r"its forward is wrong for 2x3: it gives \[\[2\..*, and not \[\[1\.", texts["Exp"])
    assert "only the last one's gradient is kept" in texts["Gather"]
    assert "b.py: class Exp (only the one in a.py is judged)" in found.left


def test_no_op_is_asked_for(homework):
    with pytest.raises(ValueError, match="no op is named"):
        grade(homework, [])


def test_marks_and_json(homework, tmp_path):
    out = tmp_path / "marks.json"
    arguments = ["check", str(homework), "--grade", "--ops", "Normalize, ReLU,Sigmoid", "--json", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 of 3" in result.output
    marks = json.loads(out.read_text())
    assert [(op["op"], op["mark"], op["backward"]) for op in marks["ops"]] == [
        ("Normalize", 0, "wrong"),
        ("ReLU", 1, "proven"),
        ("Sigmoid", 0, "missing"),
    ]
    assert (marks["file"], marks["passed"], marks["of"]) == ("homework.py", 1, 3)
    assert "There are: Normalize, ReLU" in marks["ops"][2]["text"]


def test_without_marks_a_wrong_op_is_a_failure(homework):
    result = CliRunner().invoke(app, ["check", str(homework), "--ops", "ReLU"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(app, ["check", str(homework), "--ops", "Normalize"])
    assert result.exit_code == 1
    assert "The likely mistake" in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no Op"),
        (
            "import os\nclass A(object if 1 else os, metaclass=os._exit(3)): ...\n",
            "with forward and backward; it ended its process, with status 3",
        ),
        (
            "import nothing_of_this_name\n",
            "file.py, line 1: import nothing_of_this_name (ModuleNotFoundError: No module",
        ),
        ("def broken(:\n", "file.py, line 1: def broken(: (SyntaxError: invalid syntax)"),
        ("import sys\nsys.exit(3)\n", "not loaded: file.py, line 2: sys.exit(3)"),
    ],
    ids=["no op", "end", "import", "syntax", "exit"],
)
def test_files_that_cannot_be_judged(tmp_path, text, message):
    path = tmp_path / "file.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        grade(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="is not there: give the file with the ops"):
        grade(tmp_path / "nothing.py")
    with pytest.raises(ValueError, match=r"--ops, --grade, .* need a file or a folder"):
        CliRunner().invoke(app, ["check", "--grade"], catch_exceptions=False)


def test_the_table_is_printed(monkeypatch, tmp_path):
    rows = [row for row in ROWS if row.op.__name__ in ("Exp", "Normalize")]
    monkeypatch.setattr(command, "ROWS", rows)
    monkeypatch.setattr(command, "on_all_cores", lambda console, doing, f, jobs: map(f, jobs))
    out = tmp_path / "found.json"
    result = CliRunner().invoke(app, ["check", "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert re.search(r"Normalize +proven +4 +3x4; 1x4; 4x1; 0x4", result.output)
    assert "2 ops, 8 rows: 8 proven" in result.output
    assert {finding["status"] for finding in json.loads(out.read_text())} == {"proven"}


def test_a_wrong_row_fails_the_table(monkeypatch):
    wrong = command.Finding("Exp", "Exp 2x3", "wrong", "Exp of x (2, 3): wrong. Why", 0.1)
    monkeypatch.setattr(command, "on_all_cores", lambda *arguments: [wrong])
    result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 1
    assert "Exp of x (2, 3): wrong. Why" in result.output


def test_rows_are_found_in_processes_of_their_own():
    from rich.console import Console

    found = list(command.on_all_cores(Console(quiet=True), "checking", command.find, range(3)))
    assert [finding.row for finding in found] == [row.name for row in ROWS[:3]]
    assert {finding.status for finding in found} == {"proven"}


FACTORY = """
    import numpy as np
    import vugrad as vg
    from vugrad import ReLU
    from vugrad.ops import Exp as E

    Cube = vg.elementwise(lambda x: x**3, lambda x: 3 * x**2)
    Sine = vg.elementwise(np.sin, np.sin, "Sine of mine")

    class Entropy(vg.Op):
        @staticmethod
        def forward(context, x, labels):
            p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
            hit = labels[..., None] == np.arange(x.shape[-1])
            context["d"] = p - hit
            return -np.sum(np.log(p) * hit, axis=-1)
        @staticmethod
        def backward(context, go):
            return go[..., None] * context["d"], None
"""


JUDGED = """
    import time
    import numpy as np
    import vugrad as vg

    class Sum(vg.Op):
        "Right, and called in another way than the library's."
        @staticmethod
        def forward(c, x): c["s"] = x.shape; return x.sum()
        @staticmethod
        def backward(c, go): return go * np.ones(c["s"])

    class Softmax(vg.Op):
        "Of matrices alone."
        @staticmethod
        def forward(c, x): e = np.exp(x); c["y"] = e / e.sum(1, keepdims=True); return c["y"]
        @staticmethod
        def backward(c, go): y = c["y"]; return y * (go - (go * y).sum(1, keepdims=True))

    class CrossEntropy(vg.Op):
        "Of probabilities."
        @staticmethod
        def forward(c, p, t): c.update(p=p, t=t); return -np.sum(t * np.log(p))
        @staticmethod
        def backward(c, go): return -go * c["t"] / c["p"], -go * np.log(c["p"])

    class Permute(vg.Op):
        "Right for permutations."
        inputs = [np.ones((3, 2)), np.array([2, 0, 1])]
        @staticmethod
        def forward(c, x, perm): c["p"] = perm; return x[perm]
        @staticmethod
        def backward(c, go): return go[np.argsort(c["p"])], None

    class Ones(vg.Op):
        "Right at 1, which does not say much."
        inputs = [np.ones((2, 3))]
        @staticmethod
        def forward(c, x): c["x"] = x; return x * x
        @staticmethod
        def backward(c, go): return 2 * go

    class MatVec(vg.Op):
        "Right for a matrix and a vector; the forward takes two matrices too."
        @staticmethod
        def forward(c, w, x): c.update(w=w, x=x); return w @ x
        @staticmethod
        def backward(c, go): return np.outer(go, c["x"]), c["w"].T @ go

    class Affine(vg.Op):
        "Right for a matrix b; wrong for a vector, which has fewer axes."
        @staticmethod
        def forward(c, x, w, b): c.update(x=x, w=w); return x @ w.T + b
        @staticmethod
        def backward(c, go): return go @ c["w"], go.T @ c["x"], go

    class MeanLoss(vg.Op):
        "Right for a number."
        @staticmethod
        def forward(c, x): c["s"] = x.shape; return np.mean(x)
        @staticmethod
        def backward(c, go): return go * np.ones(c["s"])

    class Slow(vg.Op):
        "It takes 0.05 s."
        inputs = [np.linspace(1, 2, 2000)]
        @staticmethod
        def forward(c, x): time.sleep(0.02); c["x"] = x; return x * x
        @staticmethod
        def backward(c, go): return 2 * go * c["x"]
"""
JUDGMENTS = {
    "Sum": ("right", "proven", ""),
    "Softmax": ("right", "proven", ""),
    "CrossEntropy": ("unknown", "not graded", "it was called as vugrad's CrossEntropy is"),
    "Permute": ("unknown", "not established", "it is right at the inputs that it names, and wrong at others"),
    "Ones": ("unknown", "not established", "it is right at the inputs that it names, and wrong at others"),
    "MatVec": ("unknown", "not established", "it is right for inputs of shapes 2x3,3, and wrong for 2x3,3x2"),
    "Affine": ("unknown", "wrong", "the sum over axis 0 is missing"),
    "MeanLoss": ("unknown", "wrong", "6 is x.size"),
}


def test_no_right_op_is_wrong_for_what_it_was_not_made_for(tmp_path):
    path = tmp_path / "judged.py"
    path.write_text(textwrap.dedent(JUDGED))
    found = {verdict.op: verdict for verdict in grade(path, list(JUDGMENTS), seconds=200).verdicts}
    for name, (forward, backward, text) in JUDGMENTS.items():
        assert (found[name].forward, found[name].backward) == (forward, backward), found[name]
        assert text in found[name].text
    (slow,) = grade(path, ["Slow"], seconds=2).verdicts
    assert slow.mark != 0  # how much of it could be looked at depends on the machine


def test_ops_made_by_a_function_and_labels_that_are_guessed(tmp_path):
    path = tmp_path / "made.py"
    path.write_text(textwrap.dedent(FACTORY))
    found = {verdict.op: verdict for verdict in grade(path, seconds=200).verdicts}
    assert {name: v.backward for name, v in found.items()} == {
        "Cube": "proven",
        "Sine": "wrong",
        "Entropy": "not graded",
    }
    assert "Entropy.backward returns None for labels: if that input takes whole numbers" in found["Entropy"].text
