"""A run that is killed, at any moment, goes on and ends in the same bits.

``python tests/test_resume.py 50`` kills a run at 50 random moments, native and op by op each.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import vugrad as vg
from vugrad import files
from vugrad.files import held
from vugrad.train import Callback, EarlyStopping, load_checkpoint
from vugrad.train.checkpoint import NAME, read
from vugrad.train.keeping import PREVIOUS

EPOCHS = 8
#: What a write does, one thing after the other; a process may die before each.
MOMENTS = ("first half", "second half", "fsync", "replace", "fsync of the folder")


def train(folder, compile, resume=True, lr=0.01, patience=2, constant=False, **changes):
    """A run with everything in it that has a state; a hash of the bits in which it ends."""
    vg.seed(5)
    data = vg.data.load("digits")
    net = vg.nn.MLP([64, 24, 10], batch_norm=True, dropout=0.3)
    options = {"epochs": EPOCHS, "batch_size": 50, "seed": 1, **changes}
    optimizer = vg.optim.Adam(net.parameters(), lr=lr)
    schedule = None if constant else vg.optim.CosineAnnealingLR(optimizer, 26 * EPOCHS)
    callbacks = [EarlyStopping(patience, "validation_loss"), *options.pop("callbacks", [])]
    history = vg.train.fit(
        net,
        data,
        optimizer=optimizer,
        schedule=schedule,
        callbacks=callbacks,
        checkpoint=folder,
        resume=resume,
        compile=compile,
        progress=False,
        **options,
    )
    total = hashlib.sha256(repr([history[name] for name in ("loss", "validation_loss", "lr")]).encode())
    for name, array in net.state_dict().items():
        total.update(name.encode() + array.tobytes())
    return total.hexdigest(), history


# --- dying


def die_at(moment):
    """Let this process be killed at the so many-th moment of all its writes."""
    left = [moment]

    def passed():
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def opened(path, mode="r", **options):
        file = open(path, mode, **options)  # noqa: SIM115
        if "w" not in mode:  # the lock
            return file
        passed()
        through = file.write

        class Halved:
            def write(self, content):
                through(content[: len(content) // 2])
                file.flush()
                passed()
                through(content[len(content) // 2 :])

            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

            fileno, flush = file.fileno, file.flush

        return Halved()

    def counted(function):
        def first(*arguments):
            passed()
            return function(*arguments)

        return first

    files.open = opened
    os.fsync, os.replace = counted(os.fsync), counted(os.replace)


def child(folder, compile, moment, answer):
    """A run in a process of its own."""
    if moment:
        die_at(moment)
    answer.send(train(folder, compile)[0])


def run(folder, compile, moment=None, seconds=None):
    """What a process says that trains into the folder; nothing, if it dies at a moment or after some seconds."""
    ours, its = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(folder, compile, moment, its))
    process.start()
    its.close()
    if seconds is not None:
        process.join(seconds)
        process.kill()
    process.join(120)
    with contextlib.suppress(EOFError):
        return ours.recv() if ours.poll() else None


def kills(compile, n):
    """Kill a run at random moments until it was killed ``n`` times, and at each moment of a write; what was wrong."""
    rng, wrong, killed, runs = np.random.default_rng(n), [], 0, 0
    with tempfile.TemporaryDirectory() as top:
        whole = train(Path(top) / "whole", compile)[0]  # in this process, whose plans its children have then
        start = time.monotonic()
        if run(Path(top) / "again", compile) != whole:
            wrong.append("the same run ends in other bits")
        duration = time.monotonic() - start
        while killed < n:
            runs += 1
            folder, result = Path(top) / f"random{runs}", None
            while result is None:
                result = run(folder, compile, seconds=rng.uniform(0, duration) if killed < n else None)
                killed += result is None
                if (folder / NAME).exists():
                    read(folder)
            if result != whole:
                wrong.append(f"run {runs}, killed at random, ends in other bits")
        for i, moment in enumerate(MOMENTS):
            folder = Path(top) / f"write{i}"
            third = 2 * len(MOMENTS) + i + 1
            if run(folder, compile, moment=third) is not None:
                wrong.append(f"it does not die at {moment!r}")
            if len(read(folder).history) != 2 + (moment in MOMENTS[4:]):
                wrong.append(f"killed at {moment!r}, it has not the epochs that it should have")
            if run(folder, compile) != whole:
                wrong.append(f"killed at {moment!r}, it ends in other bits")
            if sorted(path.name for path in folder.iterdir()) != [f".{NAME}.lock", NAME]:
                wrong.append(f"killed at {moment!r}, it has left {list(folder.iterdir())}")
    return {"wrong": wrong, "killed": killed, "runs": runs, "whole": whole}


@pytest.mark.parametrize("compile", [True, False], ids=["native", "eager"])
def test_a_run_that_is_killed_ends_in_the_same_bits(compile):
    done = subprocess.run(
        [sys.executable, __file__, "4", "native" if compile else "eager"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["killed"] == 4


# --- resuming


class StopAfter(Callback):
    """What a kill does, after the checkpoint of an epoch was written, since callbacks come before it."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, run):
        if run.epoch > self.epoch:
            raise InterruptedError


def test_a_run_that_stopped_early_does_not_go_on(tmp_path):
    bits, history = train(tmp_path, compile=False, lr=1.0)
    assert history.stopped.startswith("no better validation_loss")
    written = (tmp_path / NAME).stat().st_mtime_ns
    again, same = train(tmp_path, compile=False, lr=1.0)
    assert again == bits
    assert same == history
    assert (tmp_path / NAME).stat().st_mtime_ns == written


def test_a_callback_of_your_own_is_resumed(tmp_path):
    class Losses(Callback):
        def on_train_begin(self, run):
            self.seen = []

        def on_epoch_end(self, run):
            self.seen.append(np.float32(run.loss))

        def state_dict(self):
            return {"seen": self.seen, "last": np.array(self.seen[-1:])}

        def load_state_dict(self, state):
            self.seen = state["seen"]
            assert state["last"].tolist() == self.seen[-1:]

    whole, parts = Losses(), Losses()
    train(tmp_path / "whole", compile=False, callbacks=[whole])
    with pytest.raises(InterruptedError):
        train(tmp_path / "parts", compile=False, callbacks=[parts, StopAfter(3)])
    train(tmp_path / "parts", compile=False, callbacks=[parts])
    assert parts.seen == whole.seen
    assert len(whole.seen) > 4


def test_what_cannot_be_kept_is_refused_before_the_first_epoch(tmp_path):
    class Set(Callback):
        def state_dict(self):
            return {"seen": {1, 2}}

    class Numbered(Callback):
        def state_dict(self):
            return {1: 2}

    with pytest.raises(TypeError, match=r"callback\.Set\.seen is a set, and a checkpoint keeps numbers"):
        train(tmp_path, compile=False, callbacks=[Set()])
    with pytest.raises(TypeError, match="the keys of a state are text"):
        train(tmp_path, compile=False, callbacks=[Numbered()])
    assert not (tmp_path / NAME).exists()


def test_a_run_that_somebody_stopped_goes_on(tmp_path):
    class Budget(Callback):
        def on_epoch_end(self, run):
            if run.epoch == 3:
                run.stop("time is up")

    assert len(train(tmp_path, compile=False, callbacks=[Budget()])[1]) == 3
    assert train(tmp_path, compile=False)[0] == train(tmp_path / "whole", compile=False)[0]


@pytest.mark.parametrize("compile", [True, False], ids=["native", "eager"])
def test_a_run_that_ended_with_its_best_weights_goes_on_with_its_last(tmp_path, compile):
    options = {"patience": 30, "lr": 0.1, "constant": True}
    train(tmp_path / "parts", compile, epochs=5, **options)
    best = vg.nn.MLP([64, 24, 10], batch_norm=True, dropout=0.3)
    load_checkpoint(tmp_path / "parts", best)
    longer = train(tmp_path / "parts", compile, epochs=EPOCHS, **options)[0]
    assert longer == train(tmp_path / "whole", compile, epochs=EPOCHS, **options)[0]
    stopped = train(tmp_path / "stopped", compile, **{**options, "patience": 1})[1]
    assert len(stopped) < EPOCHS
    assert train(tmp_path / "stopped", compile, **options)[0] == longer  # with more patience


def test_a_run_that_is_not_resumed_is_kept(tmp_path):
    train(tmp_path, compile=False, epochs=3)
    train(tmp_path, compile=False, epochs=2, resume=False)
    assert (len(read(tmp_path).history), len(read(tmp_path / PREVIOUS).history)) == (2, 3)


def test_parameters_that_would_be_lost_are_named(tmp_path):
    class Hidden(vg.nn.Module):
        def __init__(self):
            super().__init__()
            self._w = vg.nn.parameter(np.ones((2, 3), np.float32), "w")

        def parameters(self):
            return [self._w]

        def forward(self, x):
            return x @ self._w

    data = np.ones((4, 2), np.float32), np.array([0, 1, 2, 0])
    net = Hidden()
    with pytest.raises(ValueError, match="w would be lost: it is trained, and not in the state_dict of Hidden"):
        vg.train.fit(net, data, checkpoint=tmp_path, progress=False)
    with pytest.raises(ValueError, match="w would be lost"):
        vg.train.save_checkpoint(tmp_path / NAME, net, vg.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="w would be lost"):
        vg.save_state(net, tmp_path / "w.safetensors")
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_relative_folder_stays_where_it_is(tmp_path, monkeypatch):
    class Goes(Callback):
        def on_epoch_end(self, run):
            (tmp_path / "sub").mkdir(exist_ok=True)
            os.chdir(tmp_path / "sub")

    monkeypatch.chdir(tmp_path)
    train("run", compile=False, epochs=2, callbacks=[Goes()])
    assert len(read(tmp_path / "run").history) == 2


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / NAME).symlink_to(tmp_path / "disk" / "there")
    train(tmp_path, compile=False, epochs=1)
    assert (tmp_path / NAME).is_symlink()
    assert len(read(tmp_path / "disk" / "there").history) == 1


def test_numbers_of_numpy_are_kept(tmp_path):
    class Halves(Callback):
        def on_epoch_end(self, run):
            run.optimizer.lr *= np.float32(0.5)

    options = {"batch_size": np.int64(50), "max_norm": np.float32(1), "callbacks": [Halves()]}
    train(tmp_path, compile=False, epochs=1, **options)
    assert len(train(tmp_path, compile=False, epochs=2, **options)[1]) == 2


def test_a_callback_with_an_empty_state_is_resumed(tmp_path):
    class Seen(Callback):
        def __init__(self):
            self.seen = {}

        def on_epoch_end(self, run):
            self.seen[str(run.epoch)] = run.loss

        def state_dict(self):
            return self.seen

        def load_state_dict(self, state):
            self.seen = dict(state)

    train(tmp_path, compile=False, epochs=2, callbacks=[Seen()])
    again = Seen()
    train(tmp_path, compile=False, epochs=3, callbacks=[again])
    assert list(again.seen) == ["1", "2", "3"]


def test_a_longer_run_goes_on(tmp_path):
    train(tmp_path, compile=False, epochs=2)
    history = train(tmp_path, compile=False, epochs=3)[1]
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert read(tmp_path).manifest["step"] == 3 * 26
    assert len(train(tmp_path, compile=False, epochs=1)[1]) == 3


def test_another_run_is_not_resumed(tmp_path):
    train(tmp_path, compile=False, epochs=1)
    content = (tmp_path / NAME).read_bytes()
    with pytest.raises(ValueError, match=r"(?s)batch_size was 50 and is 32.*max_norm was None and is 2"):
        train(tmp_path, compile=False, batch_size=32, max_norm=2)
    net = vg.nn.MLP([64, 24, 10])
    optimizer = vg.optim.Adam(net.parameters())
    before = net.state_dict()
    with pytest.raises(ValueError, match=r"model was MLP\(\).*BatchNorm1d.* and is MLP"):
        vg.train.fit(
            net,
            vg.data.load("digits"),
            optimizer=optimizer,
            schedule=vg.optim.CosineAnnealingLR(optimizer, 9),
            batch_size=50,
            checkpoint=tmp_path,
            resume=True,
            progress=False,
        )
    assert all((array == before[name]).all() for name, array in net.state_dict().items())
    assert (tmp_path / NAME).read_bytes() == content
    x, y = vg.data.load("digits").train
    for data, loss, said in (
        ((x, y[::-1]), vg.losses.cross_entropy, "data was"),
        ((x, y), vg.losses.hinge_loss, "loss was cross_entropy and is hinge_loss"),
        ((x, y), vg.losses.cross_entropy, r"optimizer was Adam .* and is AdamW"),
    ):
        net = vg.nn.MLP([64, 24, 10], batch_norm=True, dropout=0.3)
        optimizer = vg.optim.AdamW(net.parameters())
        with pytest.raises(ValueError, match=said):
            vg.train.fit(net, data, loss=loss, optimizer=optimizer, checkpoint=tmp_path, resume=True, progress=False)
    with pytest.raises(ValueError, match="name it"):
        train(None, compile=False)
    vg.train.save_checkpoint(tmp_path / NAME, net)
    with pytest.raises(ValueError, match="was not written by fit"):
        train(tmp_path, compile=False)


# --- who writes


def test_two_that_train_into_one_folder(tmp_path):
    class Second(Callback):
        def on_batch_end(self, run):
            with pytest.raises(OSError, match=f"process {os.getpid()} is writing"):
                train(tmp_path, compile=False)

    train(tmp_path, compile=False, epochs=1, callbacks=[Second()])
    assert len(train(tmp_path, compile=False, epochs=2)[1]) == 2  # it is free again


def test_a_process_that_was_killed_holds_nothing_and_leaves_nothing(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from vugrad.files import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    path = tmp_path / "a[b].safetensors"
    (tmp_path / ".a[b].safetensors.123-4").write_text("half")
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OSError, match=f"process {process.pid} is writing"), held(path):
            pass
        process.kill()
    with held(path):
        assert [file.name for file in tmp_path.iterdir()] == [".a[b].safetensors.lock"]


def test_a_disk_that_fills_up_costs_an_epoch_at_most(tmp_path, monkeypatch):
    class Full(Callback):
        def on_epoch_end(self, run):
            if run.epoch == 3:
                monkeypatch.setattr("os.fsync", full)

    def full(_):
        raise OSError(28, "No space left on device")

    whole = train(tmp_path / "whole", compile=False)[0]
    with pytest.raises(OSError, match="No space left"):
        train(tmp_path / "full", compile=False, callbacks=[Full()])
    monkeypatch.undo()
    assert len(read(tmp_path / "full").history) == 2
    assert train(tmp_path / "full", compile=False)[0] == whole


def test_a_folder_in_which_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "in it"):
        with pytest.raises(OSError, match="cannot write to the folder"):
            train(path, compile=False)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_checkpoint_is_loaded_from_its_folder(tmp_path):
    history = train(tmp_path, compile=False, epochs=2)[1]
    net = vg.nn.MLP([64, 24, 10], batch_norm=True, dropout=0.3)
    assert load_checkpoint(tmp_path, net) == history


if __name__ == "__main__":
    count, modes = int(sys.argv[1]), sys.argv[2:] or ["native", "eager"]
    for mode in modes:
        print(json.dumps(kills(mode == "native", count)))
