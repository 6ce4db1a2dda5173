"""The loop that trains: what it computes, what it records, what it refuses, and how it ends."""

import functools
import itertools
import signal
import threading

import numpy as np
import pytest

import vugrad as vg
from vugrad.train import Callback, EagerWarning, EarlyStopping, History, evaluate, fit, predict
from vugrad.train.recipe import MODELS, OPTIMIZERS, SCHEDULES, Recipe

quiet = functools.partial(fit, progress=False)


def blobs(n=90, seed=0):
    """Three well separated clusters in the plane."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    centres = np.array([[0, 3], [3, -2], [-3, -2]])
    return (centres[y] + 0.5 * rng.standard_normal((n, 2))).astype(np.float32), y


@pytest.fixture
def data():
    return vg.data.Dataset(blobs(90), validation=blobs(30, 1), test=blobs(30, 2))


def linear(seed=0, classes=3):
    return vg.nn.Linear(2, classes, rng=np.random.default_rng(seed))


def test_it_learns_and_records_every_epoch(data):
    net = linear()
    history = quiet(net, data, optimizer=vg.optim.SGD(net.parameters(), lr=0.5), epochs=5, batch_size=16, seed=0)
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5]
    assert history["loss"][-1] < history["loss"][0]
    assert history["validation_accuracy"][-1] == evaluate(net, data.validation)[1] > 0.95
    assert history["validation_loss"][-1] == evaluate(net, data.validation)[0]
    assert history["lr"] == [0.5] * 5
    assert history.stopped is None
    assert all(epoch.seconds > 0 and epoch.images_per_second > 0 for epoch in history)
    assert History.from_dict(history.as_dict()) == history


def test_one_epoch_is_the_textbook_update(data):
    """Two batches by hand, in order, and the recorded loss is the mean of what the batches saw."""
    x, y = data.train
    net = linear()
    w, b = net.weight.value.copy(), net.bias.value.copy()
    losses, hits = [], []
    for part in (slice(0, 60), slice(60, 90)):
        logits = x[part] @ w.T + b
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        n = len(p)
        losses.append(-np.log(p[np.arange(n), y[part]]))
        hits.append(logits.argmax(1) == y[part])
        go = (p - np.eye(3)[y[part]]) / n
        w, b = w - 0.1 * go.T @ x[part], b - 0.1 * go.sum(0)
    history = quiet(net, data, optimizer=vg.optim.SGD(net.parameters(), lr=0.1), epochs=1, batch_size=60, shuffle=False)
    np.testing.assert_allclose(net.weight.value, w, rtol=1e-5)
    np.testing.assert_allclose(net.bias.value, b, rtol=1e-4, atol=1e-7)
    assert history["loss"][0] == pytest.approx(np.concatenate(losses).mean(), rel=1e-5)
    assert history["accuracy"][0] == pytest.approx(np.concatenate(hits).mean())


def test_a_summed_loss_is_a_mean_with_a_rate_as_many_times_larger(data):
    nets = [linear(), linear()]
    rates = {"sum": 0.01, "mean": 0.01 * 30}
    histories = [
        quiet(
            net, data, optimizer=vg.optim.SGD(net.parameters(), lr=lr), epochs=2, batch_size=30, seed=3, reduction=how
        )
        for net, (how, lr) in zip(nets, rates.items(), strict=True)
    ]
    np.testing.assert_allclose(nets[0].weight.value, nets[1].weight.value, rtol=1e-5)
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-5)


def test_the_seed_decides_the_order_and_nothing_else_does(data):
    def trained(seed, shuffle=True):
        net = linear()
        quiet(net, data, optimizer=vg.optim.SGD(net.parameters(), lr=0.5), epochs=2, seed=seed, shuffle=shuffle)
        return net.weight.value

    assert (trained(1) == trained(1)).all()
    assert (trained(1) != trained(2)).any()
    assert (trained(1, shuffle=False) == trained(2, shuffle=False)).all()
    vg.seed(5)
    first = trained(None)
    vg.seed(5)
    assert (trained(None) == first).all()


def test_the_schedule_steps_once_a_batch(data):
    net = linear()
    optimizer = vg.optim.SGD(net.parameters(), lr=1.0)
    history = quiet(
        net, data, optimizer=optimizer, schedule=vg.optim.StepLR(optimizer, 3, 0.5), epochs=2, batch_size=30
    )
    assert history["lr"] == [0.5, 0.25]


def test_max_norm_bounds_the_update(data):
    net = linear()
    before = net.state_dict()
    optimizer = vg.optim.SGD(net.parameters(), lr=1.0)
    quiet(net, data, optimizer=optimizer, epochs=1, batch_size=90, max_norm=1e-3)
    moved = np.sqrt(sum(((net.state_dict()[name] - before[name]) ** 2).sum() for name in before))
    assert moved == pytest.approx(1e-3, rel=1e-3)


class Spy(vg.nn.Module):
    """A linear layer that calls ``note`` with itself and its input before every forward."""

    def __init__(self, note):
        super().__init__()
        self.note, self.layer = note, linear()

    def forward(self, x):
        self.note(self, x)
        return self.layer(x)


def test_dropout_is_on_in_training_and_off_in_evaluation(data):
    modes = []
    net = Spy(lambda net, x: modes.append(net.training))
    quiet(net, data, epochs=1, batch_size=90)
    assert [mode for mode, _ in itertools.groupby(modes)] == [True, False]
    net.eval()
    predict(net, data.train.x)
    assert not net.training
    net.train()
    predict(net, data.train.x)
    assert net.training
    assert net.layer.training


def test_regression_has_no_accuracy():
    x = np.linspace(-1, 1, 40, dtype=np.float32).reshape(-1, 1)
    net = vg.nn.Linear(1, 1)
    optimizer = vg.optim.SGD(net.parameters(), lr=0.5)
    history = quiet(net, (x, 2 * x - 1), loss=vg.losses.mse_loss, optimizer=optimizer, epochs=20)
    assert history["accuracy"] == [None] * 20
    assert history["validation_loss"] == [None] * 20
    assert history["loss"][-1] < 1e-3


def test_early_stopping_stops_and_goes_back_to_the_best(data):
    figures = iter([0.5, 0.8, 0.7, 0.75, 0.6, 0.9])
    weights = []

    class Scripted(EarlyStopping):
        def on_epoch_end(self, run):
            weights.append(run.model.state_dict()["weight"])
            self._figure = lambda epoch: next(figures)
            super().on_epoch_end(run)

    net = linear()
    history = quiet(net, data, epochs=6, callbacks=[Scripted(patience=3)])
    assert len(history) == 5
    assert "no better validation_accuracy than in epoch 2 for 3 epochs" in history.stopped
    assert (net.weight.value == weights[1]).all()


def test_the_checkpoint_after_early_stopping_holds_the_best_weights(data, tmp_path):
    net = linear()
    path = tmp_path / "run.safetensors"
    optimizer = vg.optim.SGD(net.parameters(), lr=100.0)
    quiet(net, data, optimizer=optimizer, epochs=4, callbacks=[EarlyStopping(1)], checkpoint=path)
    other = linear(seed=1)
    vg.train.load_checkpoint(path, other)
    assert (other.weight.value == net.weight.value).all()


def test_early_stopping_wants_something_to_watch():
    with pytest.raises(ValueError, match="no validation split"):
        quiet(linear(), blobs(), epochs=1, callbacks=[EarlyStopping(1)])
    with pytest.raises(ValueError, match="did you mean 'validation_loss'"):
        EarlyStopping(1, monitor="val_loss")
    with pytest.raises(ValueError, match="at least 1"):
        EarlyStopping(0)


class Interrupt(Callback):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, run):
        if run.epoch == self.epoch and run.seen >= 40:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_keeps_the_epochs_and_the_checkpoint(data, tmp_path):
    path = tmp_path / "deep" / "run.safetensors"
    net = linear()
    history = quiet(net, data, epochs=9, batch_size=20, callbacks=[Interrupt(3)], checkpoint=path)
    assert len(history) == 2
    assert history.stopped == f"interrupted in epoch 3; epoch 2 is saved in {path}"
    other = linear(seed=1)
    assert vg.train.load_checkpoint(path, other).epochs == history.epochs
    assert (other.weight.value != net.weight.value).any()  # the model itself went on into epoch 3


def test_a_loss_that_is_not_a_number_ends_the_run_and_leaves_the_model(data):
    net = linear()
    optimizer = vg.optim.SGD(net.parameters(), lr=0.1)

    def failing(outputs, targets):
        loss = vg.losses.cross_entropy(outputs, targets)
        return loss * np.inf if failing.calls.pop() else loss

    failing.calls = [True, False, False]  # the last comes first: two batches of the first epoch pass
    history = quiet(net, data, loss=failing, optimizer=optimizer, epochs=5, batch_size=30, compile=False)
    assert history.stopped == "the loss became inf in epoch 1, after 60 instances"
    assert len(history) == 0
    assert np.isfinite(net.weight.value).all()


def test_an_interrupt_before_the_file_is_written_promises_no_file(data, tmp_path):
    class AtTheEnd(Callback):
        def on_epoch_end(self, run):
            raise KeyboardInterrupt

    history = quiet(linear(), data, callbacks=[AtTheEnd()], checkpoint=tmp_path / "run")
    assert history.stopped == "interrupted in epoch 1"


def test_every_callback_is_ended_even_if_one_fails(data):
    class Fails(Callback):
        def on_train_end(self, run):
            raise RuntimeError("no disk")

    net = linear()
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="no disk"):
        fit(net, data, epochs=1, callbacks=[Fails()])
    for thread in set(threading.enumerate()) - before:  # the bar's
        thread.join(timeout=5)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"optimizer": vg.optim.SGD(linear().parameters())}, ValueError, "no parameter of this model"),
        ({"optimizer": vg.optim.Adam}, TypeError, "optimizer must be made"),
        ({"loss": "mse"}, TypeError, "loss must be a function"),
        ({"schedule": vg.optim.StepLR(vg.optim.SGD(linear().parameters()), 5)}, ValueError, "another optimizer"),
        ({"max_norm": float("nan")}, ValueError, "above 0"),
        ({"seed": -1}, ValueError, "a seed is a whole number from 0 on, got -1"),
    ],
)
def test_settings_that_belong_to_something_else(data, settings, error, message):
    with pytest.raises(error, match=message):
        quiet(linear(), data, epochs=1, **settings)


def test_the_graph_of_a_batch_is_gone_before_the_next(data):
    alive = []

    class Watch(vg.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = linear()

        def forward(self, x):
            import weakref

            assert all(ref() is None for ref in alive)
            outputs = self.layer(x)
            alive.append(weakref.ref(outputs))
            return outputs

    quiet(Watch(), data, epochs=1, batch_size=10, compile=False)
    assert len(alive) > 5


# --- compiled


def both(data, make=linear, **settings):
    """Eager and compiled runs from the same start: models, optimizers, histories."""
    runs = []
    for compile in (False, True):
        net = make()
        optimizer = settings.get("optimizer", vg.optim.Adam)(net.parameters(), lr=0.05)
        rest = {key: value for key, value in settings.items() if key not in ("optimizer", "schedule")}
        schedule = settings["schedule"](optimizer) if "schedule" in settings else None
        history = quiet(net, data, optimizer=optimizer, schedule=schedule, compile=compile, **{"seed": 3, **rest})
        runs.append((net, optimizer, history, schedule))
    return runs


def assert_same_run(eager, compiled):
    for a, b in zip(eager[0].parameters(), compiled[0].parameters(), strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-4, atol=1e-5)
    assert [state["step"] for state in eager[1].state] == [state["step"] for state in compiled[1].state]
    assert eager[1].lr == compiled[1].lr
    for name in ("loss", "validation_loss"):
        assert eager[2][name] == pytest.approx(compiled[2][name], rel=1e-4)
    for name in ("epoch", "accuracy", "validation_accuracy", "lr"):
        assert eager[2][name] == pytest.approx(compiled[2][name], rel=1e-12)
    assert eager[2].stopped == compiled[2].stopped
    assert eager[3] is None or eager[3].state_dict() == compiled[3].state_dict()


def dropping():
    """Dropout, and batch normalisation with its running averages."""
    rng = np.random.default_rng(0)
    layers = [vg.nn.Linear(2, 8, rng=rng), vg.nn.BatchNorm1d(8), vg.nn.ReLU(), vg.nn.Dropout(0.3, rng=rng)]
    return vg.nn.Sequential(*layers, vg.nn.Linear(8, 3, rng=rng))


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 30},
        {"batch_size": 32},  # the last batch has 26
        {"batch_size": 500},  # the only one has 90
        {"batch_size": 32, "reduction": "sum", "max_norm": 0.5, "optimizer": vg.optim.SGD},
        {"batch_size": 32, "schedule": lambda optimizer: vg.optim.OneCycleLR(optimizer, 0.05, 9), "shuffle": False},
        {"batch_size": 32, "make": dropping, "optimizer": vg.optim.SGD},
        {"batch_size": 32, "callbacks": [EarlyStopping(1)]},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_a_compiled_run_is_the_eager_run(data, settings):
    eager, compiled = both(data, epochs=3, **settings)
    assert_same_run(eager, compiled)
    for key, array in eager[0].state_dict().items():
        np.testing.assert_allclose(array, compiled[0].state_dict()[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_a_compiled_regression_is_the_eager_one():
    x = np.linspace(-1, 1, 50, dtype=np.float32).reshape(-1, 1)
    line = functools.partial(vg.nn.Linear, 1, 1)
    runs = both((x, 2 * x - 1), lambda: line(rng=np.random.default_rng(0)), loss=vg.losses.mse_loss, batch_size=16)
    for name in ("accuracy", "validation_loss"):
        assert runs[1][2][name] == [None] * 10
    assert runs[0][2]["loss"] == pytest.approx(runs[1][2]["loss"], rel=1e-4)


def test_a_compiled_run_does_run_compiled(data):
    shapes = []
    quiet(Spy(lambda net, x: shapes.append(x.shape)), data, epochs=20, batch_size=40)
    # Twice for batches of 40 and for the last one's 10, for the two extreme targets, once in eval mode, and no more.
    assert len(shapes) <= 7
    assert {shape[0] for shape in shapes} == {40, 10, 2, 30}


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("bad", [0, 45, 89])  # in the first batch, in the second, in the ragged last one
def test_a_loss_that_is_not_finite_stops_where_it_is(compile, bad):
    x = np.linspace(-1, 1, 90, dtype=np.float32).reshape(-1, 1)
    y = 2 * x
    y[bad] = 1e30  # its square is infinite
    net = vg.nn.Linear(1, 1, rng=np.random.default_rng(0))
    optimizer = vg.optim.Adam(net.parameters(), lr=0.05)
    schedule = vg.optim.StepLR(optimizer, 1, 0.5)
    batches_before = bad // 40
    quiet_about_overflow = np.errstate(over="ignore")
    with quiet_about_overflow:
        history = quiet(
            net, (x, y), loss=vg.losses.mse_loss, optimizer=optimizer, schedule=schedule, batch_size=40, shuffle=False,
            compile=compile,
        )  # fmt: skip
    assert history.stopped == f"the loss became inf in epoch 1, after {40 * batches_before} instances"
    assert len(history) == 0
    assert schedule.state_dict() == {"step": batches_before}
    assert optimizer.lr == 0.05 * 0.5**batches_before
    assert [state["step"] for state in optimizer.state] == [batches_before] * 2
    expected = vg.nn.Linear(1, 1, rng=np.random.default_rng(0))
    if batches_before:
        rule = vg.optim.Adam(expected.parameters(), lr=0.05)
        part = x[: 40 * batches_before], y[: 40 * batches_before]
        rates = vg.optim.StepLR(rule, 1, 0.5)
        quiet(
            expected, part, loss=vg.losses.mse_loss, optimizer=rule, schedule=rates, batch_size=40, shuffle=False,
            epochs=1, compile=compile,
        )  # fmt: skip
    assert (net.weight.value == expected.weight.value).all()
    assert (net.bias.value == expected.bias.value).all()


def test_a_schedule_that_is_too_short_says_so(data):
    net = linear()
    optimizer = vg.optim.SGD(net.parameters(), lr=0.1)
    schedule = vg.optim.OneCycleLR(optimizer, 0.1, total_steps=4)
    with pytest.raises(ValueError, match="total_steps is the number of epochs times"):
        quiet(net, data, optimizer=optimizer, schedule=schedule, epochs=2, batch_size=30)
    assert schedule.state_dict() == {"step": 3}


class Branching(vg.nn.Module):
    """A network that cannot be compiled."""

    def __init__(self):
        super().__init__()
        self.layer = linear()

    def forward(self, x):
        return self.layer(x if x.sum() > -1e9 else -x)


def test_what_cannot_be_compiled_is_trained_eagerly_and_says_so_once(data):
    with pytest.warns(EagerWarning, match=r"op by op.* a branch needs the numbers") as caught:
        eager, compiled = both(data, Branching, epochs=3, batch_size=32)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert_same_run(eager, compiled)


def test_what_stand_ins_do_not_know_is_trained_eagerly(data):
    class Methodical(Branching):
        def forward(self, x):
            return self.layer(x if x.value.flags.c_contiguous else -x)

    with pytest.warns(EagerWarning, match=r"op by op.*flags is nothing"):
        eager, compiled = both(data, Methodical, epochs=2)
    assert_same_run(eager, compiled)


def test_randomness_of_its_own_is_not_compiled(data):
    """What Python draws would be drawn once, and be the same in every batch."""
    rng = np.random.default_rng(0)

    class Noisy(Branching):
        def forward(self, x):
            return self.layer(x + rng.standard_normal(x.shape).astype(np.float32))

    with pytest.warns(EagerWarning, match="does not compute the same"):
        quiet(Noisy(), data, epochs=1)


def test_numbers_may_change_between_epochs(data):
    """As the weight of a penalty that a callback raises."""
    histories = []
    for compile in (False, True):
        factor = [1.0]

        class Raise(Callback):
            def on_epoch_end(self, run, factor=factor):
                factor[0] *= 2

        def loss(outputs, targets, factor=factor):
            return vg.losses.cross_entropy(outputs, targets) * factor[0]

        histories.append(
            quiet(linear(), data, loss=loss, epochs=3, batch_size=32, seed=0, callbacks=[Raise()], compile=compile)
        )
    for name in ("loss", "validation_loss"):
        assert histories[0][name] == pytest.approx(histories[1][name], rel=1e-5)


@pytest.mark.parametrize("compile", [False, True])
def test_a_callback_has_its_turn_after_every_update(data, compile):
    seen = []

    class Watch(Callback):
        def on_batch_end(self, run):
            seen.append((run.seen, run.optimizer.state[0]["step"], run.optimizer.lr, run.model.weight.value.copy()))
            if run.epoch == 2 and run.seen >= 64:
                run.stop("enough")

    net = linear()
    optimizer = vg.optim.SGD(net.parameters(), lr=1.0)
    schedule = vg.optim.StepLR(optimizer, 1, 0.5)
    history = quiet(
        net, data, optimizer=optimizer, schedule=schedule, batch_size=32, callbacks=[Watch()], compile=compile
    )
    assert [row[0] for row in seen] == [32, 64, 90, 32, 64]
    assert [row[1] for row in seen] == [1, 2, 3, 4, 5]
    assert [row[2] for row in seen] == [0.5**n for n in range(1, 6)]
    assert all((a[3] != b[3]).any() for a, b in itertools.pairwise(seen))
    assert (seen[-1][3] == net.weight.value).all()
    assert history.stopped == "enough"


def test_an_interrupt_of_a_native_epoch_ends_after_a_step():
    """The model, the optimizer's counts and the schedule are those of the same step."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400_000, 2)).astype(np.float32)
    y = rng.integers(0, 3, len(x))
    net = linear()
    optimizer = vg.optim.Adam(net.parameters(), lr=1e-3)
    schedule = vg.optim.StepLR(optimizer, 10**6)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])

    class Begin(Callback):
        def on_epoch_end(self, run):
            if run.epoch == 1:
                timer.start()

    history = quiet(
        net, (x, y), optimizer=optimizer, schedule=schedule, epochs=10**4, batch_size=4, callbacks=[Begin()]
    )
    timer.join()
    assert history.stopped.startswith("interrupted in epoch")
    steps = {state["step"] for state in optimizer.state} | {schedule.state_dict()["step"]}
    assert len(steps) == 1
    assert steps.pop() >= 100_000 * len(history)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs is a whole number from 1 on"),
        ({"batch_size": 0}, "batch_size"),
        ({"reduction": "average"}, "no reduction 'average'"),
        ({"data": (np.zeros((0, 2)), np.zeros(0, int))}, "train"),
        ({"data": (np.zeros((3, 2)), np.eye(3, dtype=int))}, r"y\.argmax\(axis=1\)"),
        ({"data": (np.full((3, 2), np.nan), np.zeros(3, int))}, "(?i)nan"),
        ({"data": (np.zeros((3, 2)), np.array([0, 1, 7]))}, "target 7 at"),
        ({"data": (np.zeros((3, 5)), np.array([0, 1, 2]))}, r"Linear\(2, .*got \(3, 5\): write Linear\(5, "),
    ],
)
def test_settings_and_data_that_do_not_fit(wrong, message):
    settings = {"data": blobs(), "epochs": 1} | wrong
    with pytest.raises(ValueError, match=message):
        quiet(linear(), settings.pop("data"), **settings)


def test_integer_parameters_are_refused(data):
    net = linear()
    net.weight.value = net.weight.value.astype(int)
    with pytest.raises(TypeError, match="int"):
        quiet(net, data, epochs=1)


# --- recipes


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimizer_under_every_schedule(name, schedule):
    vg.seed(0)
    recipe = Recipe(data="digits", hidden=(8,), optimizer=name, schedule=schedule, epochs=1, batch_size=256)
    data = recipe.build_data()
    net = recipe.build_model(data)
    optimizer = recipe.build_optimizer(net)
    rate = recipe.build_schedule(optimizer, data)
    history = quiet(net, data, optimizer=optimizer, schedule=rate, epochs=1, batch_size=256)
    assert np.isfinite(history["loss"][0])


@pytest.mark.parametrize("loss", vg.losses.LOSSES)
def test_every_loss_learns_the_digits(loss):
    # Absolute differences from rows with a single 1 in ten are least where all outputs are 0, the median.
    floor = 0.05 if loss == "l1" else 0.85
    vg.seed(0)
    recipe = Recipe(data="digits", hidden=(32,), loss=loss, lr=0.01, epochs=6)
    data = recipe.build_data()
    net = recipe.build_model(data)
    optimizer = recipe.build_optimizer(net)
    history = quiet(net, data, loss=recipe.build_loss(data), optimizer=optimizer, epochs=6, seed=0)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert evaluate(net, data.test, recipe.build_loss(data))[1] > floor


def test_the_networks_of_the_report():
    mnist = vg.data.Dataset((np.zeros((10, 1, 28, 28), np.float32), np.arange(10)))
    assert sum(p.value.size for p in Recipe().build_model(mnist).parameters()) == 44_426
    mlp = Recipe(model="mlp", activation="sigmoid").build_model(mnist)
    assert [layer.weight.shape for layer in (mlp[0], mlp[2])] == [(3136, 784), (10, 3136)]
    deep = Recipe(model="mlp", hidden=(784,) * 3, residual=True, batch_norm=True).build_model(mnist)
    assert sum(isinstance(m, vg.nn.Residual) for _, m in deep.named_modules()) == 3
    assert {"cnn", "mlp"} <= set(MODELS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "cn"}, "did you mean 'cnn'"),
        ({"model": "cnn", "data": "synth"}, "use 'mlp'"),
        ({"model": "cnn", "data": "digits"}, "too small"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"init": "glorot"}, "did you mean 'glorot_"),
        ({"dropout": 1.5}, "0 <= p < 1"),
    ],
)
def test_a_recipe_that_cannot_be_built(settings, message):
    recipe = Recipe(**{"data": "digits", **settings})
    with pytest.raises(ValueError, match=message):
        recipe.build_model(recipe.build_data())


def test_momentum_is_for_those_that_have_it():
    net = linear()
    assert Recipe(optimizer="sgd", lr=0.1, momentum=0.9).build_optimizer(net).momentum == 0.9
    with pytest.raises(ValueError, match="adam has no momentum"):
        Recipe(optimizer="adam", momentum=0.9).build_optimizer(net)
