"""Runs, records and studies: the same bits however a run is interrupted, and clear words for what cannot be run."""

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vugrad.compiler.machine.threads import allowed
from vugrad.lab import Record, Records, Run, Study, execute
from vugrad.lab.record import FORMAT
from vugrad.lab.study import read_study
from vugrad.lab.sweep import sweep
from vugrad.lab.tune import flags, tune
from vugrad.lab.workers import Workers, dask, local
from vugrad.train.recipe import Recipe

SMALL = Recipe(data="digits", model="mlp", hidden=(12,), epochs=4, batch_size=64, dropout=0.2, lr=0.01)


class StoppedError(Exception):
    """What a kill would do, at a known moment."""


def interrupted(monkeypatch, records, run, epoch):
    """Let the run die after an epoch."""
    from vugrad.lab import runner

    class Dying(runner._Keeper):
        def on_epoch_end(self, training):
            super().on_epoch_end(training)
            if training.epoch == epoch:
                raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_Keeper", Dying)
        with pytest.raises(StoppedError):
            execute(run, records)


def same(a, b):
    """Whether two records are of the same bits; times aside."""
    figures = ("loss", "accuracy", "validation_loss", "validation_accuracy", "lr")
    return (a.weights, a.test_loss, a.test_accuracy) == (b.weights, b.test_loss, b.test_accuracy) and all(
        a.history[name] == b.history[name] for name in figures
    )


def test_a_run_is_made_once_and_read_back(tmp_path):
    records = Records(tmp_path / "records")
    record = execute(Run(SMALL, 0), records)
    assert record.test_accuracy > 0.7
    assert len(record.history) == 4
    path = records.path(record.run)
    written = path.stat().st_mtime_ns
    assert execute(Run(SMALL, 0), records) == record
    assert path.stat().st_mtime_ns == written
    assert sorted(tmp_path.rglob("*.*")) == [path]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path, monkeypatch, schedule):
    run = Run(replace(SMALL, schedule=schedule), 3)
    whole = execute(run, Records(tmp_path / "whole"))
    records = Records(tmp_path / "parts")
    for epoch in (1, 3):
        interrupted(monkeypatch, records, run, epoch)
        assert records.read(run) is None
        assert records.checkpoint(run).is_file()
    assert same(execute(run, records), whole)
    assert not records.checkpoint(run).exists()
    assert same(execute(run, Records(tmp_path / "again")), whole)


def test_what_decides_a_run_is_in_its_key():
    keys = {Run(SMALL, 0).key, Run(SMALL, 1).key, Run(replace(SMALL, lr=0.02), 0).key, Run(Recipe(data="synth"), 0).key}
    assert len(keys) == 4
    assert Run.from_dict(json.loads(json.dumps(Run(SMALL, 0).as_dict()))) == Run(SMALL, 0)


def test_a_run_that_goes_to_infinity_has_a_record_that_says_so(tmp_path):
    record = execute(Run(replace(SMALL, optimizer="sgd", lr=1e30, epochs=3), 0), Records(tmp_path))
    assert "the loss became" in record.history.stopped
    assert Records(tmp_path).read(record.run).history.stopped == record.history.stopped


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}x", b'{"format": "vugrad record 1"}', "half"])
def test_a_record_that_is_not_whole_is_made_again(tmp_path, content):
    records = Records(tmp_path)
    record = execute(Run(replace(SMALL, epochs=1), 0), records)
    path = records.path(record.run)
    path.write_bytes(path.read_bytes()[:200] if content == "half" else content)
    assert records.read(record.run) is None
    assert same(execute(record.run, records), record)


def test_a_record_of_another_run_does_not_count(tmp_path):
    records = Records(tmp_path)
    a, b = Run(replace(SMALL, epochs=1), 0), Run(replace(SMALL, epochs=1), 1)
    execute(a, records)
    records.path(b).write_bytes(records.path(a).read_bytes())
    assert records.read(b) is None


def test_a_record_of_another_version_is_named(tmp_path):
    records, run = Records(tmp_path), Run(SMALL, 0)
    tmp_path.mkdir(exist_ok=True)
    records.path(run).write_text(json.dumps({"format": "vugrad record 0"}))
    with pytest.raises(ValueError, match=f"is a record of 'vugrad record 0', and this version writes '{FORMAT}'"):
        execute(run, records)


def test_configurations_are_all_combinations():
    study = Study(
        "S",
        "title",
        SMALL,
        {"batch_norm": [False, True], "size": {"small": {"hidden": (4,)}, "large": {"hidden": (8,), "lr": 0.1}}},
        seeds=(5, 6),
    )
    recipes = study.configurations()
    assert list(recipes) == [
        "batch norm off, small",
        "batch norm off, large",
        "batch norm on, small",
        "batch norm on, large",
    ]
    assert (recipes["batch norm on, large"].hidden, recipes["batch norm on, large"].lr) == ((8,), 0.1)
    assert len({run.key for _, run in study.runs()}) == 8
    assert Study("one", "title", SMALL).configurations() == {"one": SMALL}
    assert study.changed(epochs=1, seeds=(0,)).runs()[0][1] == Run(replace(SMALL, hidden=(4,), epochs=1), 0)


WRONG = {
    "an empty axis": ({"vary": {"lr": []}}, "the axis 'lr' has no values"),
    "no seeds": ({"seeds": ()}, "it has no seeds"),
    "an unknown setting": ({"vary": {"learning_rate": [1]}}, "no study S: setting 'learning_rate'"),
    "an unknown range": ({"search": {"lr": {"low": 1, "hihg": 2}}}, "search: lr has low, hihg, and a range has low"),
    "a range that is none": ({"search": {"lr": {"low": 1.0, "high": 0.1}}}, "low below high"),
    "a range of texts": ({"search": {"optimizer": {"low": 1, "high": 2}}}, "optimizer is of type str"),
    "a range between whole numbers": ({"search": {"epochs": {"low": 1.5, "high": 2}}}, "epochs is of type int"),
    "a range of an unknown setting": ({"search": {"rl": {"low": 1, "high": 2}}}, "no study S, search: setting 'rl'"),
    "an unknown change": ({"vary": {"size": {"a": {"hiden": 3}}}}, "setting 'hiden'; did you mean 'hidden'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_studies_that_cannot_be_run(name):
    options, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        Study("S", "title", SMALL, **options)


def test_two_configurations_of_one_name():
    with pytest.raises(ValueError, match=r"two configurations are called 'lr 0\.1'"):
        Study("S", "title", SMALL, {"lr": [0.1, 0.1]}).configurations()


def test_a_study_from_a_file(tmp_path):
    path = tmp_path / "width.toml"
    path.write_text(
        'title = "T"\nseeds = [4]\n[base]\ndata = "digits"\n[vary]\nhidden = [[8], [16, 8]]\n[vary.x.a]\nlr = 0.1\n'
    )
    study = read_study(path)
    assert (study.name, study.title, study.seeds) == ("width", "T", (4,))
    assert list(study.configurations()) == ["hidden 8, a", "hidden 16-8, a"]
    for text, message in (
        ("x = [", "is not a TOML file"),
        ("titel = 'x'", "no key of a study 'titel'; did you mean 'title'"),
        ("[base]\nepoch = 1", "did you mean 'epochs'"),
        ("[base]\nepochs = 0", "epochs must be at least 1"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            read_study(path)
        assert "width.toml" in str(caught.value)


def test_weights_tell_apart(tmp_path):
    records = Records(tmp_path)
    one, other = (execute(Run(replace(SMALL, epochs=1), seed), records) for seed in (0, 1))
    assert one.weights != other.weights
    assert not np.array_equal(one.history["loss"], other.history["loss"])


# --- many runs


def runs(n, **changes):
    return [Run(replace(SMALL, **changes), seed) for seed in range(n)]


def test_a_sweep_is_what_its_runs_are_one_by_one(tmp_path):
    wanted = runs(3, epochs=2)
    alone = Records(tmp_path / "alone")
    execute(wanted[0], alone)
    told = []
    together = Records(tmp_path / "together")
    found = sweep([*wanted, *wanted], together, local(2), told.append)
    assert set(found) == set(wanted)
    assert len(told) == 3
    assert same(found[wanted[0]], alone.read(wanted[0]))
    assert sweep(wanted, together, NO_WORKERS) == found


def test_a_worker_that_is_killed_costs_an_epoch(tmp_path):
    wanted = runs(3, epochs=60)
    records, whole = Records(tmp_path / "killed"), Records(tmp_path / "whole")
    killed, swept = [], threading.Event()

    def kill():
        while len(killed) < 2 and not swept.is_set():
            time.sleep(0.05)
            if any(records.folder.glob("*.safetensors")):
                for child in multiprocessing.active_children()[:1]:
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(child.pid)
                time.sleep(1.5)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    found = sweep(wanted, records, local(2))
    swept.set()
    thread.join()
    assert killed
    for run in wanted:
        assert same(found[run], execute(run, whole))


def test_workers_that_always_die_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("vugrad.lab.sweep._make", dies)
    with pytest.raises(RuntimeError, match="workers died 3 times and no run came further"):
        sweep(runs(1), Records(tmp_path), local(1))


def dies(*_):
    os._exit(9)


def test_an_error_names_the_run(tmp_path):
    with pytest.raises(ValueError, match="no optimizer 'sdg'") as caught:
        sweep(runs(1, optimizer="sdg"), Records(tmp_path), local(1))
    assert "optimizer='sdg'" in caught.value.__notes__[0]


def test_ctrl_c_ends_a_sweep_and_its_workers_and_it_goes_on_later(tmp_path):
    script = textwrap.dedent(
        f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_lab import *
        if __name__ == "__main__":
            sweep(runs(2, epochs=2000), Records({str(tmp_path)!r}), local(2))
        """
    )
    for ending in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        stamps = _stamps(tmp_path)
        until(lambda old=stamps: len(_stamps(tmp_path)) == 2 and not set(old) & set(_stamps(tmp_path)))
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        assert len(children) >= 2
        process.send_signal(ending)
        process.wait(timeout=300)
        until(lambda pids=children: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert not list(tmp_path.glob("*.json"))


def _stamps(folder):
    """The moments at which checkpoints were written."""
    return [path.stat().st_mtime_ns for path in folder.glob("[!.]*.safetensors")]


def until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def nobody():
    raise AssertionError("there is nothing to make")


NO_WORKERS = Workers(1, 1, nobody)


@pytest.mark.parametrize("moment", [1, 2, 4])
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, moment):
    run, records = Run(SMALL, 0), Records(tmp_path / "full")
    writes, through = [], os.fsync

    def fsync(file):
        writes.append(file)
        if len(writes) >= moment:
            raise OSError(errno.ENOSPC, "No space left on device")
        through(file)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fsync)
        with pytest.raises(OSError, match="No space left on device"):
            execute(run, records)
    assert records.read(run) is None
    assert [path.name for path in records.folder.iterdir()] == [records.checkpoint(run).name] * (moment > 1)
    assert same(execute(run, records), execute(run, Records(tmp_path / "whole")))


def test_kills_at_random_moments_lose_and_change_nothing(tmp_path):
    wanted, records = runs(6, epochs=40), Records(tmp_path / "killed")
    script = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_lab import *
        if __name__ == "__main__":
            sweep(runs(6, epochs=40), Records({str(records.folder)!r}), local(2))
        """
    )
    rng, finished = np.random.default_rng(0), {}
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=rng.uniform(0.5, 3.5))
        process.kill()
        process.wait()
        now = {path.name: path.read_bytes() for path in records.folder.glob("[!.]*.json")}
        assert finished.items() <= now.items()
        finished = now
    found = sweep(wanted, records, local(2))
    for run in wanted:
        assert same(found[run], execute(run, Records(tmp_path / "whole")))


# --- a search


def test_a_search_keeps_what_it_made_and_goes_on(tmp_path):
    from rich.console import Console

    ranges = {"lr": {"low": 1e-6, "high": 0.1, "log": True}}
    study = Study("S", "t", replace(SMALL, epochs=3), {"hidden": [(8,), (12,)]}, search=ranges, seeds=(0,))
    out = Console(record=True, width=200)
    tune(out, study, 10, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()}
    done = [Record.from_dict(json.loads(path.read_bytes())) for path in stamps if path.suffix == ".json"]
    assert 0 < len(done) < len(stamps) == 10, "some were left early"
    best = max(done, key=lambda record: record.history["validation_accuracy"][-1])
    text = out.export_text()
    assert f"{len(done)} trials to their end, {10 - len(done)} left early" in text
    assert f"{100 * best.history['validation_accuracy'][-1]:.2f}" in text
    assert f"vugrad train {flags(best.run.recipe)}" in text
    assert same(execute(best.run, Records(tmp_path / "alone"), allowed()), best)
    tune(out, study, 10, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()} == stamps
    tune(out, study, 11, tmp_path)
    assert len(list((tmp_path / "records").iterdir())) == 11


def test_searches_in_which_there_is_nothing_to_find(tmp_path):
    for study, message in (
        (Study("S", "t", SMALL), "study S varies nothing"),
        (Study("S", "t", replace(SMALL, final=True), {"lr": [0.1]}), "has nothing to choose by"),
    ):
        with pytest.raises(ValueError, match=message):
            tune(None, study, 1, tmp_path)


def test_a_search_in_which_all_is_the_same_or_infinite_names_no_best(tmp_path, monkeypatch):
    from rich.console import Console

    study = Study("S", "t", replace(SMALL, optimizer="sgd", lr=1e30, epochs=2), {"hidden": [(8,), (12,)]}, seeds=(0,))
    out = Console(record=True, width=80, soft_wrap=True)
    tune(out, study, 2, tmp_path)
    text = out.export_text()
    assert "all 2 have the same accuracy: none is the best" in text
    assert "the best again" not in text

    def ends(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vugrad.lab.tune.execute", ends)
    with pytest.raises(SystemExit) as ended:
        tune(out, study, 3, tmp_path)
    assert ended.value.code == 130
    assert f"Interrupted: 2 of 3 trials. They are kept in {tmp_path}; " in out.export_text()


# --- on a cluster


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


def test_a_sweep_on_a_cluster_is_the_same(tmp_path, cluster):
    wanted = runs(3, epochs=2)
    found = sweep(wanted, Records(tmp_path / "cluster"), dask(cluster.scheduler_address, ("digits",)))
    here = Records(tmp_path / "here")
    for run in wanted:
        assert same(found[run], execute(run, here))


def test_a_worker_of_the_cluster_that_is_killed_costs_an_epoch(tmp_path, cluster):
    wanted = runs(2, epochs=100)
    records, here = Records(tmp_path / "cluster"), Records(tmp_path / "here")

    def kill():
        until(lambda: len(list(records.folder.glob("[!.]*.safetensors"))) == 2)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    found = sweep(wanted, records, dask(cluster.scheduler_address, ()))
    thread.join()
    for run in wanted:
        assert same(found[run], execute(run, here))


def test_an_address_where_nobody_listens(monkeypatch):
    monkeypatch.setattr("vugrad.lab.workers.PATIENCE", 0.5)
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*dask scheduler"):
        dask("tcp://127.0.0.1:9", ())
