"""What the commands print at terminals of several widths: nothing that matters is cut, and no word is broken."""

import io
import re

import numpy as np
import pytest
from rich.progress import TaskID

import vugrad as vg
from vugrad.train.callbacks import Run
from vugrad.train.history import Epoch
from vugrad.train.progress import ProgressBar
from vugrad.train.screen import Screen, folded, joined


class Terminal(io.StringIO):
    """What a screen takes for a terminal."""

    def isatty(self):
        return True


def screen(width, monkeypatch, file=None):
    monkeypatch.setattr("sys.stdout", file or Terminal())
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", "40")
    return Screen()


def lines(console):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue()).splitlines()


TEXT = "equal units in 0.weight: the weights of its 256 units are all 0\n  begin with random weights: vg.initializers"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("  one two three", 9, ["  one two", "  three"]),
        ("a/path/that/is/long is whole", 8, ["a/path/that/is/long", "is whole"]),
        ("  a/path/that/is/long", 8, ["  a/path/that/is/long"]),
        ("a  b\n\n  c", 8, ["a  b", "", "  c"]),
        ("", 8, [""]),
    ],
)
def test_text_is_folded_between_words(text, width, expected):
    assert folded(text, width).split("\n") == expected


def test_a_terminal_folds_and_a_file_has_whole_lines(monkeypatch):
    narrow = screen(40, monkeypatch)
    narrow.print(TEXT)
    assert max(map(len, lines(narrow))) <= 40
    assert " ".join(" ".join(lines(narrow)).split()) == " ".join(TEXT.split())
    assert [line.startswith("  ") for line in lines(narrow)] == [False, False, True, True]
    file = screen(40, monkeypatch, io.StringIO())
    file.print(TEXT)
    assert file.file.getvalue() == TEXT + "\n"


PARTS = ["epoch 100/100", "train 0.0123  99.99%", "validation 0.0456  98.76%", "166,389 images/s"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_an_epoch_is_told_in_whole_figures(width):
    text = joined(PARTS, width)
    assert max(map(len, text.split("\n"))) <= width
    assert all(part in text for part in PARTS)
    assert ("\n" in text) == (width < 80)


@pytest.mark.parametrize(("width", "shown"), [(40, 1), (60, 2), (80, 3), (100, 3)])
def test_the_bar_cuts_no_figure(width, shown, monkeypatch):
    x = np.zeros((640, 2), np.float32)
    data = vg.data.Dataset((x, np.zeros(640, int)), validation=(x, np.zeros(640, int)))
    console = screen(width, monkeypatch)
    net = vg.nn.Linear(2, 2)
    bar, run = ProgressBar(console), Run(net, data, vg.optim.SGD(net.parameters(), 0.1), None, 100)
    bar.on_train_begin(run)
    run.epoch, run.loss, run.accuracy, run.seen = 100, 0.0123, 0.9876, 320
    monkeypatch.setattr(type(bar._bar._tasks[TaskID(0)]), "speed", 166_389.4)
    bar.on_batch_end(run)
    bar._bar.refresh()
    last = lines(console)[-1]
    figures = ["loss 0.0123", "acc 98.76%", "166,389 images/s"]
    assert [figure in last for figure in figures] == [i < shown for i in range(3)]
    assert last.startswith("epoch 100/100 ━━━")
    assert "…" not in last
    run.history.epochs.append(Epoch(100, 0.0123, 0.9999, 0.0456, 0.9876, 0.01, 1.0, 166_389.0))
    bar.on_epoch_end(run)
    bar.on_train_end(run)
    told = "\n".join(lines(console))
    assert "166,389 images/s" in told
    assert "validation 0.0456  98.76%" in told


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_plan_is_explained_at_the_width_that_there_is(width):
    net = vg.nn.MLP([64, 32, 10])
    rule = vg.optim.Adam(net.parameters(), 0.01)
    x, y = np.ones((32, 64), np.float32), np.zeros(32, int)

    def step(x, y):
        rule.zero_grad()
        loss = vg.losses.cross_entropy(net(x), y)
        loss.backward()
        rule.step()
        return loss

    fast = vg.compile(step, state=[net, rule])
    for floor, heads in (("arrays", "instruction"), ("memory", "holds"), ("loops", "computes")):
        found = fast.explain(x, y, floor=floor, width=width).split("\n")
        loops = next((i for i, line in enumerate(found) if line.startswith("  kernel ") and ":" in line), len(found))
        assert max(map(len, found[:loops])) <= width, floor
        assert any(heads in line for line in found)
    assert " comes from" in fast.explain(x, y, floor="arrays", width=100)
