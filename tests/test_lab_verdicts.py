"""What seeds can say: intervals, tests, verdicts, tables, and the command that makes them."""

import csv
import math
import subprocess
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from rich.console import Console
from scipy import stats
from test_cli import COMMAND
from test_lab import SMALL, interrupted

from vugrad.lab import Record, Records, Run, Study, command, cost as costs, execute, live
from vugrad.lab.claims import CLAIMS, OTHERWISE
from vugrad.lab.command import chosen
from vugrad.lab.cost import cost
from vugrad.lab.live import Pace
from vugrad.lab.outcome import Outcome
from vugrad.lab.page import write_page
from vugrad.lab.preface import preface
from vugrad.lab.runner import program
from vugrad.lab.statistics import SAME, estimate, holm, p_value, resolvable, untestable
from vugrad.lab.studies import STUDIES
from vugrad.lab.study import read_study
from vugrad.lab.summary import write_summary
from vugrad.lab.sweep import tasks
from vugrad.lab.text import around, basis, half
from vugrad.lab.verdicts import (
    Claim,
    accuracy,
    best,
    final_accuracy,
    judge,
    loss,
    more,
    seconds,
    speed,
    together,
    trend,
)
from vugrad.train.history import Epoch, History

FLOATS = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


def record(losses, accuracies=None, seed=0, stopped=None, test=0.9, **changes):
    accuracies = accuracies or [0.5] * len(losses)
    epochs = [
        Epoch(i + 1, x, None, x, a, 0.1, 2.0 + i, 10.0) for i, (x, a) in enumerate(zip(losses, accuracies, strict=True))
    ]
    return Record(
        Run(replace(SMALL, epochs=max(len(losses), 1), **changes), seed),
        History(epochs, stopped),
        0.1,
        test,
        "w",
        1,
        {},
    )


@given(FLOATS)
def test_the_interval_holds_the_mean_and_lies_within_the_values(values):
    e = estimate(values)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= e.low <= e.mean + slack
    assert e.mean - slack <= e.high <= max(values) + slack
    assert e == estimate(values)


def test_intervals_of_few():
    assert math.isnan(estimate([]).mean)
    assert (estimate([3.0]).mean, estimate([3.0]).low, estimate([3.0]).high) == (3.0, -math.inf, math.inf)


def test_the_interval_holds_the_truth_as_often_as_it_can():
    """The bootstrap of a few values is too short, by a known amount: about 87 % for ten."""
    rng = np.random.default_rng(1)
    held = [e.low <= 0 <= e.high for e in (estimate(rng.normal(size=10)) for _ in range(300))]
    assert 0.8 < np.mean(held) < 0.97


def test_p_values():
    x = [0.2, 0.5, 0.1, 0.4]
    assert p_value(x) == pytest.approx(stats.ttest_1samp(x, 0).pvalue)


ROUNDED = 1.0 + 2**-52
#: Effects of which a t-test says nothing: why, what is said of them without it, and their mean and interval.
UNTESTABLE = {
    "nothing": ([], "no run", "not resolved", (math.nan, math.nan, math.nan)),
    "one run": ([5.0], "a single run", "not resolved", (5.0, -math.inf, math.inf)),
    "the same above 0": ([2.0, 2.0, 2.0], SAME, "supported", (2.0, 2.0, 2.0)),
    "the same below 0": ([-8.2, -8.2], SAME, "refuted", (-8.2, -8.2, -8.2)),
    "the same but for rounding": ([1.0, ROUNDED, 1.0], SAME, "supported", (1.0, 1.0, 1.0)),
    "no difference": ([0.0, 0.0, 0.0], SAME, "not resolved", (0.0, 0.0, 0.0)),
    "no difference, signed": ([0.0, -0.0], SAME, "not resolved", (0.0, 0.0, 0.0)),
    "infinite in every run": ([math.inf] * 3, SAME, "supported", (math.inf, math.inf, math.inf)),
    "infinite in every run, below": ([-math.inf] * 2, SAME, "refuted", (-math.inf, -math.inf, -math.inf)),
    "infinite in one": (
        [1.0, math.inf, 1.1],
        "no finite number in 1 of 3 runs",
        "not resolved",
        (math.nan, -math.inf, math.inf),
    ),
    "infinite both ways": (
        [math.inf, -math.inf],
        "no finite number in 2 of 2 runs",
        "not resolved",
        (math.nan, -math.inf, math.inf),
    ),
    "undefined": ([math.nan] * 3, "no finite number in 3 of 3 runs", "not resolved", (math.nan, -math.inf, math.inf)),
}


@pytest.mark.parametrize("name", UNTESTABLE)
def test_no_verdict_comes_of_a_test_that_says_nothing(name, tmp_path):
    effects, why, word, (mean, low, high) = UNTESTABLE[name]
    e = estimate(effects)
    assert p_value(effects) is None
    assert untestable(effects) == why
    np.testing.assert_equal((e.mean, e.low, e.high, e.n), (mean, low, high, len(effects)))
    if not effects:
        return
    seeds = {"S": [{"S": i} for i in range(len(effects))]}
    [verdict] = judge([claim(effects)], seeds)["C"]
    assert (verdict.word, verdict.p, verdict.untested, basis(verdict)) == (word, None, why, why)
    # Nor does it make the others' p-values smaller: it counts among the tests as one that found nothing.
    other = [1.0, 1.1, 0.9][: len(effects)]
    if untestable(other) is None:
        both = judge([claim(effects), replace(claim(other), name="D")], seeds)
        assert both["D"][0].p == 2 * p_value(other)
    for text in (half(e, "+.3g"), around(e, ".2f")):
        assert "nan" not in text
        assert "inf" not in text.replace("infinite", "")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_above_the_plain_and_below_bonferroni(ps):
    corrected = holm(ps)
    for p, c in zip(ps, corrected, strict=True):
        assert p <= c <= min(1, p * len(ps)) + 1e-12 or c == max(corrected[i] for i in range(len(ps)) if ps[i] <= p)
    assert sorted(range(len(ps)), key=lambda i: (corrected[i], ps[i])) == sorted(range(len(ps)), key=lambda i: ps[i])


def test_measures():
    r = record([1.0, 0.5, 0.25], [0.2, 0.6, 0.9])
    assert (loss(r), loss(r, 1), accuracy(r), accuracy(r, 2), seconds(r)) == (0.25, 1.0, 90.0, 60.0, 2.0)
    assert speed(r) == pytest.approx(math.log(2))
    bad = record([1.0], stopped="the loss became nan")
    assert (loss(bad), accuracy(bad), final_accuracy(bad), speed(bad)) == (math.inf, -math.inf, -math.inf, -math.inf)
    seed = {"a": r, "b": record([1.0, 1.0, 1.0], [0.3] * 3), "c": record([1.0, 1.0, 2.0], [0.1] * 3)}
    assert more(accuracy, "a", "b")(seed) == 60
    assert more(loss, "a", "a")({"a": bad}) == 0
    assert best(accuracy, "b", ["a", "c"])(seed) == -60
    assert trend(accuracy, ["c", "b", "a"])(seed) == pytest.approx(40)
    assert trend(accuracy, ["c", "b", "a"], -1)(seed) == pytest.approx(-40)
    assert math.isnan(trend(loss, ["a", "x"])({"a": r, "x": bad}))


def claim(effects):
    return Claim("C", "text", "S", {"part": lambda seed: effects[seed["S"]]}, "unit")


@pytest.mark.parametrize(
    ("effects", "word"),
    [([1.0, 1.1, 0.9], "supported"), ([-1.0, -1.1, -0.9], "refuted"), ([1.0, -1.1, 0.3], "not resolved")],
)
def test_verdicts(effects, word):
    verdicts = judge([claim(effects)], {"S": [{"S": i} for i in range(3)]})["C"]
    assert [v.word for v in verdicts] == [word]
    assert together(verdicts) == word
    many = [replace(claim(effects), name=f"C{i}") for i in range(50)]  # so many tests that nothing is sure any more
    assert judge(many, {"S": [{"S": i} for i in range(3)]})["C7"][0].word == "not resolved"
    others = [replace(claim(effects), name=f"C{i}", study="T") for i in range(50)]  # also where not all were run
    assert judge([claim(effects), *others], {"S": [{"S": i} for i in range(3)]})["C"][0].word == "not resolved"


def test_a_claim_holds_if_all_of_it_does():
    parts = {
        "up": lambda seed: 1 + 0.01 * seed["S"],
        "down": lambda seed: -1 - 0.01 * seed["S"],
        "unsure": lambda seed: seed["S"] - 1,
    }
    seeds = {"S": [{"S": i} for i in range(3)]}

    def word(*names):
        return together(judge([Claim("C", "", "S", {n: parts[n] for n in names}, "")], seeds)["C"])

    assert [word("up"), word("up", "down"), word("up", "unsure"), word("unsure", "down")] == [
        "supported",
        "refuted",
        "not resolved",
        "refuted",
    ]
    assert judge([Claim("C", "", "other", parts, "")], seeds) == {}


def test_every_claim_is_about_a_study_and_reads_what_is_in_it():
    assert [c.name for c in CLAIMS] == [f"C{i}" for i in range(1, 17)]
    for c in (*CLAIMS, *OTHERWISE):
        recipes = STUDIES[c.study].configurations()
        seed = {label: record([1 / (i + 1), 0.5 / (i + 1)], [0.5, 0.6 + 0.01 * i]) for i, label in enumerate(recipes)}
        for effect in c.parts.values():
            assert np.isfinite(effect(seed))


def test_the_report_s_studies_are_what_it_says():
    sizes = {name: len(study.configurations()) for name, study in STUDIES.items()}
    assert sizes | {"F1": 2, "F3": 6, "F5": 7, "F7": 3, "F9": 10, "F11": 5, "T1": 1, "F13": 3, "F15": 1} == sizes
    for name in ("F1", "F3", "F5", "F7"):
        r = STUDIES[name].base
        assert (r.pixels, r.reduction, r.shuffle, r.batch_size, r.epochs, r.schedule) == (
            "raw",
            "sum",
            False,
            128,
            20,
            "constant",
        )
    assert STUDIES["F15"].base.final
    assert STUDIES["T1"].base.epochs == max(STUDIES["T1"].read) == 100


def test_tables(tmp_path):
    study = Study("S", "t", replace(SMALL, epochs=4), {"lr": [0.1, 0.2]}, seeds=(0, 1), read=(1, 2))
    found = {}
    for label, run in study.runs():
        stopped = "the loss became inf" if label == "lr 0.2" and run.seed else None
        found[run] = replace(record([4.0, 3.0, 2.0, 1.0], [0.1, 0.2, 0.3, 0.4], stopped=stopped, test=0.5), run=run)
    outcome = Outcome([study], found)
    rows = outcome.rows[study.name]
    assert [(r.label, r.epoch, r.loss.mean, r.validation.mean, r.stopped) for r in rows] == [
        ("lr 0.1", 2, 3.0, 20.0, 0),
        ("lr 0.1", 4, 1.0, 40.0, 0),
        ("lr 0.2", 2, 3.0, 20.0, 1),
        ("lr 0.2", 4, 1.0, 40.0, 1),
    ]
    assert [r.test and r.test.mean for r in rows] == [None, 50.0, None, 50.0]
    outcome.write(tmp_path)
    with open(tmp_path / "results.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["configuration"], row["epoch"], row["loss mean"], row["test mean"]) for row in table][1] == (
        "lr 0.1",
        "4",
        "1.0",
        "50.0",
    )
    assert (tmp_path / "claims.csv").read_text().splitlines() == [
        "claim,text,part,verdict,effect,low,high,unit,p corrected,seeds,test"
    ]


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path, monkeypatch):
    study = Study("S", "t", replace(SMALL, epochs=1), {"hidden": [(4,), (8,)]}, seeds=(0, 1))
    monkeypatch.setattr(command, "chosen", lambda names: [study])

    def interrupted(studies, records, *_):
        execute(study.runs()[0][1], records)
        raise KeyboardInterrupt

    out = Console(record=True, width=80, soft_wrap=True)
    with monkeypatch.context() as patch:
        patch.setattr(command, "watched", interrupted)
        with pytest.raises(SystemExit) as ended:
            command.reproduce(out, ["S"], False, None, None, 1, None, tmp_path)
    assert ended.value.code == 130
    assert f"Interrupted: 1 of 4 runs are done, and kept in {tmp_path / 'records'}." in out.export_text()
    command.reproduce(out, ["S"], False, None, None, 1, None, tmp_path)
    assert "3 runs to make on 1 worker; 1 is done already" in out.export_text()


def test_studies_by_name_and_from_files(tmp_path):
    assert [s.name for s in chosen(["F1", "T1"])] == ["F1", "T1"]
    assert {s.name for s in chosen(["all"])} == set(STUDIES)
    (tmp_path / "F1.toml").write_text("")
    (tmp_path / "mine.toml").write_text("")
    head = "from vugrad.lab import Study\nfrom vugrad.train.recipe import Recipe\n"
    (tmp_path / "none.py").write_text(head)
    (tmp_path / "wrong.py").write_text(head + "a = Study('a', 'A', Recipe(), {'lr': []})\n")
    (tmp_path / "two.py").write_text(head + "a = b = Study('a', 'A')\nc = Study('c', 'C', Recipe(epochs=3))\n")
    assert [(s.name, s.base.epochs) for s in chosen([str(tmp_path / "two.py")])] == [("a", 12), ("c", 3)]
    for names, message in (
        (["F2"], "there is no study 'F2'; did you mean"),
        (["F1", "F1"], "two studies are called 'F1'"),
        ([str(tmp_path / "F1.toml")], "'F1' is a study of the report: give yours another name"),
        ([str(tmp_path / "mine.toml")] * 2, "two studies are called 'mine'"),
        ([str(tmp_path / "none.py")], "none.py names no study"),
        ([str(tmp_path / "none.toml")], "none.toml is not there: `vugrad study new"),
        ([str(tmp_path / "wrong.py")], r"wrong.py: ValueError: .*the axis 'lr' has no values"),
    ):
        with pytest.raises(ValueError, match=message):
            chosen(names)


def test_the_command(tmp_path, command):
    study = tmp_path / "width.toml"
    study.write_text(
        'title = "Width"\nseeds = [0, 1]\n[base]\ndata = "digits"\nmodel = "mlp"\nepochs = 1\n'
        "[vary]\nhidden = [[4], [8]]\n"
    )
    arguments = ["reproduce", str(study), "--out", str(tmp_path / "out")]
    first = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)
    assert first.returncode == 0, first.stderr
    assert "hidden 8" in first.stdout
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "records").iterdir()}
    assert len(records) == 4
    again = command(*arguments)
    assert first.stdout.startswith("4 runs to make on ")
    assert first.stdout.partition("\n\n")[0].splitlines()[-1].startswith("4 runs made in ")
    assert again.stdout == first.stdout.partition("\n\n")[2]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "records").iterdir()} == records
    assert "| width | hidden 8 | 1 |" in (tmp_path / "out" / "summary.md").read_text()
    for arguments, message in (
        (["F99"], "no study"),
        (["synth", "--out", str(tmp_path / "out")], "has the results of 'width', not of the report's studies"),
        (["F1", "--seeds", "0"], "at least 1"),
        (["F1", "--data", "mnits"], "'mnist'"),
    ):
        wrong = command("reproduce", *arguments)
        assert wrong.returncode == 2
        assert message in wrong.stderr


def test_claims_under_other_conventions_have_a_section(tmp_path):
    studies = [replace(STUDIES[name], seeds=(0, 1, 2)) for name in ("F11", "summed", "better")]
    batches = {}  # under the mean a larger batch is slower, under the sum faster
    for study in studies:
        for i, (_, run) in enumerate(study.runs()):
            slow = run.recipe.batch_size if study.name == "F11" else 1 / run.recipe.batch_size
            losses = [slow * (1 + 0.01 * run.seed + 0.001 * i) / (1 + epoch) for epoch in range(run.recipe.epochs)]
            batches[run] = replace(record(losses, [0.9] * len(losses), test=0.995), run=run)
    outcome = Outcome(studies, batches)
    assert [v.word for v in outcome.verdicts["C13"]] == ["refuted"]
    assert [(v.claim.study, v.word) for v in outcome.otherwise["C13"]] == [("summed", "supported")]
    write_page(outcome, tmp_path, preface(outcome, True))
    write_summary(outcome, tmp_path, preface(outcome, True))
    page, summary = (tmp_path / "report.html").read_text(), (tmp_path / "summary.md").read_text()
    assert "Under other conventions" in page
    assert "| C13 | CNN, summed loss: faster with each doubling | supported |" in summary
    assert "schedule, shifts, batch norm | 50 |" in summary


def test_a_run_is_replayed_to_the_same_bits(tmp_path, command):
    record = execute(Run(replace(SMALL, epochs=2), 0), Records(tmp_path / "records"))
    arguments = ["replay", "--out", str(tmp_path)]
    same = subprocess.run([*COMMAND, *arguments, record.run.key[:6]], capture_output=True, text=True, timeout=60)
    assert (same.returncode, same.stdout) == (0, f"{record.run.key}: the same bits, after 2 epochs\n")
    path = tmp_path / "records" / f"{record.run.key}.json"
    path.write_text(path.read_text().replace(f'"loss": {record.history["loss"][1]}', '"loss": 1.5'))
    other = command(*arguments, record.run.key)
    assert other.returncode == 1
    assert "other numbers from epoch 2 on" in other.stdout
    none = command(*arguments, "x")
    assert none.returncode == 2
    assert "'x' begins the key of none of the records" in none.stderr


def test_a_new_study_can_be_run(tmp_path, command):
    path = tmp_path / "mine.toml"
    assert command("study", "new", path).returncode == 0
    assert len(read_study(path).configurations()) == 3
    again = command("study", "new", path)
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_what_runs_cost_grows_with_what_they_do():
    def products(**changes):
        run = Run(replace(SMALL, **changes), 0)
        return cost(run) - costs.RUN - costs.EPOCH * run.recipe.epochs

    weights, images = 64 * 12 + 12 * 10, 1297
    assert products() == pytest.approx(6 * weights * images * 4 / costs.RATE)
    assert products(epochs=8) == pytest.approx(2 * products())
    assert products(hidden=(24,)) == pytest.approx(2 * products())


def test_runs_of_one_program_go_to_a_worker_together_and_the_longest_first():
    wide, small = replace(SMALL, hidden=(30_000,), epochs=80), replace(SMALL, epochs=1)
    wanted = [
        Run(replace(small, lr=lr, init=init), seed)
        for lr in (0.1, 1)
        for init in ("zeros", "normal")
        for seed in (0, 1)
    ]
    wanted += [Run(wide, seed) for seed in (0, 1)] + [
        Run(replace(small, momentum=m, optimizer="sgd"), 0) for m in (0.5, 0.9)
    ]
    found = tasks(wanted, 2)
    assert sorted(map(repr, (run for task in found for run in task))) == sorted(map(repr, wanted))
    assert found[:2] == [[wanted[8]], [wanted[9]]]
    assert [len(task) for task in found[2:]] == [8, 1, 1]
    assert len({program(run.recipe) for run in found[2]}) == 1
    assert max(map(len, tasks(wanted[:8], 4))) < 4, "every worker has a share"
    assert tasks([], 2) == []


def test_the_time_left_is_measured(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("vugrad.lab.live.time.monotonic", lambda: now[0])
    wanted = [Run(replace(SMALL, epochs=epochs), seed) for epochs in (1, 2) for seed in (0, 1)]
    records = Records(tmp_path)
    pace = Pace(wanted, records)
    pace.costs = dict(zip(wanted, (1.0, 1.0, 3.0, 3.0), strict=True))
    assert pace.left() is None
    now[0] += 20
    assert str(pace) == "0 of 4 runs done after 20 s"
    pace.done.add(wanted[0])
    assert str(pace) == "1 of 4 runs done after 20 s, about 2 min 20 s left"
    now[0] += 20  # and half of a run of two epochs is done, as its checkpoint says
    monkeypatch.setattr(Records, "epochs", lambda self, run: 1)
    records.checkpoint(wanted[2]).touch()
    assert pace.left() == pytest.approx(40 * 5.5 / 2.5)
    again = Pace(wanted[1:], records)  # what was there when it began was not done since
    again.costs = pace.costs.copy()
    del again.costs[wanted[0]]
    assert again.left() is None
    again.done.add(wanted[2])
    now[0] += 3
    assert again.left() == pytest.approx(3 * 4 / 1.5)


def test_a_checkpoint_says_how_far_its_run_is(tmp_path, monkeypatch):
    records, run = Records(tmp_path), Run(SMALL, 0)
    assert records.epochs(run) == 0
    interrupted(monkeypatch, records, run, 3)
    assert records.epochs(run) == 3
    records.checkpoint(run).write_bytes(b"half a file")
    assert records.epochs(run) == 0


def test_lines_come_where_the_output_is_no_terminal(monkeypatch):
    monkeypatch.setattr(live, "OFTEN", 0.01)
    said, enough = [], threading.Event()
    with live.lines(lambda: said.append(1) or len(said) < 3 or enough.set()):
        assert enough.wait(30)
    there = len(said)
    enough.wait(0.05)
    assert len(said) == there, "nothing is said afterwards"


def test_what_so_many_seeds_resolve_is_what_the_test_finds():
    for n in (2, 3, 5):
        x = np.arange(n) - (n - 1) / 2
        x = x / x.std(ddof=1)
        for tests in (1, 23):
            least = resolvable(n, tests)
            p = [stats.ttest_1samp(x + least * factor, 0).pvalue for factor in (1.001, 0.999)]
            assert p[0] < 0.05 / tests < p[1]
