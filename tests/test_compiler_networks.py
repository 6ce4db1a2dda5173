"""Compiled training is eager training: every layer, activation, loss and optimizer, and the networks made of them."""

import math

import numpy as np
import pytest
from reference.make_optim import OPTIMIZERS

import vugrad as vg
from vugrad import losses, nn, optim
from vugrad.compiler.trace import slots

SIZES = (1, 3, 16, 37)  # of batches: alone, too few for a block, one block, blocks of which the last is not full


def twins(make):
    """What ``make`` makes, twice alike."""
    both = []
    for _ in range(2):
        vg.seed(3)
        both.append(make())
    return both


def sgd(model):
    return model, optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def step_of(model, optimizer, loss=losses.cross_entropy):
    """A training step; with an optimizer of ``None`` only the loss and the outputs."""

    def step(x, y):
        if optimizer is None:
            outputs = model(x)
            return loss(outputs, y), outputs
        optimizer.zero_grad()
        outputs = model(x)
        value = loss(outputs, y)
        value.backward()
        optimizer.step()
        return value, outputs

    return step


def everything(state):
    """All arrays and numbers of some modules and optimizers, by name."""
    return {slot.name: np.array(slot.get()) for slot in slots(state)}


def assert_trained_alike(make, batches, loss=losses.cross_entropy, tolerance=None):
    """Steps on the same batches give the same losses, outputs, weights, statistics, masks and counts."""
    (model, optimizer), (other, others) = twins(make)
    state = [part for part in (other, others) if part is not None]
    fast = vg.compile(step_of(other, others, loss), state=state)
    eager = step_of(model, optimizer, loss)
    for x, y in batches:
        with np.errstate(all="ignore"):
            expected = eager(x, y)
        for a, b in zip(expected, fast(x, y), strict=True):
            assert_near(a.value, b.value, tolerance, "a result")
    found = everything(state)
    for name, array in everything([part for part in (model, optimizer) if part is not None]).items():
        assert_near(array, found[name], tolerance, name)


def assert_near(expected, found, tolerance, name):
    assert (np.shape(expected), expected.dtype) == (np.shape(found), found.dtype), name
    near = tolerance or {4: 2e-4, 8: 1e-9}[max(expected.dtype.itemsize, 4)]
    scale = np.max(np.abs(expected), initial=0.05, where=np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=near, atol=near * scale, err_msg=name)


def batches_of(shape, classes, n, count=3, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, *shape)).astype(dtype), rng.integers(classes, size=n)) for _ in range(count)]


# --- layers

FLAT, IMAGE = (6,), (2, 7, 6)
LAYERS = {
    "linear": (FLAT, lambda: [nn.Linear(6, 4)]),
    "linear without bias": (FLAT, lambda: [nn.Linear(6, 5, bias=False), nn.Linear(5, 4)]),
    "activations": (FLAT, lambda: [part for a in nn.ACTIVATIONS.values() for part in (nn.Linear(6, 6), a())]),
    "softmax": (FLAT, lambda: [nn.Linear(6, 4), nn.Softmax()]),
    "batch norm": (FLAT, lambda: [nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4)]),
    "batch norm of rows": ((3, 5), lambda: [nn.BatchNorm1d(3, momentum=0.3), nn.Flatten(), nn.Linear(15, 4)]),
    "layer norm": (FLAT, lambda: [nn.Linear(6, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 4)]),
    "layer norm of images": (IMAGE, lambda: [nn.LayerNorm(IMAGE), nn.Flatten(), nn.Linear(84, 4)]),
    "dropout": (FLAT, lambda: [nn.Dropout(0.2), nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.4), nn.Linear(5, 4)]),
    "residual": (FLAT, lambda: [nn.Residual(nn.Sequential(nn.Linear(6, 6), nn.SiLU())), nn.Linear(6, 4)]),
    "convolution": (IMAGE, lambda: [nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(60, 4)]),
    "strided": (IMAGE, lambda: [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)]),
    "groups": (IMAGE, lambda: [nn.Conv2d(2, 4, (2, 3), groups=2, bias=False), nn.Flatten(), nn.Linear(96, 4)]),
    "max-pooling": (IMAGE, lambda: [nn.Conv2d(2, 3, 2), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4)]),
    "average-pooling": (IMAGE, lambda: [nn.Conv2d(2, 3, 2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 4)]),
    "overlapping pools": (
        IMAGE,
        lambda: [nn.MaxPool2d(3, 2, padding=1), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(12, 4)],
    ),
    "batch norm of images": (IMAGE, lambda: [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(60, 4)]),
}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_learns_as_eager(name, n):
    shape, make = LAYERS[name]
    n = max(n, 2) if name == "batch norm" else n  # one instance has no variance
    assert_trained_alike(lambda: sgd(nn.Sequential(*make())), batches_of(shape, 4, n))


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_predicts_as_eager(name):
    shape, make = LAYERS[name]

    def evaluated():
        model = nn.Sequential(*make())
        rng = np.random.default_rng(1)
        for _, module in model.named_modules():
            if hasattr(module, "running_var"):
                module.running_mean = rng.normal(size=module.running_mean.shape).astype(np.float32)
                module.running_var = rng.uniform(0.5, 2, module.running_var.shape).astype(np.float32)
        return model.eval(), None

    assert_trained_alike(evaluated, batches_of(shape, 4, 19, count=1))


@pytest.mark.parametrize("n", SIZES)
def test_embeddings_learn_as_eager(n):
    rng = np.random.default_rng(0)
    batches = [(rng.integers(11, size=(n, 3)), rng.integers(4, size=n)) for _ in range(3)]
    assert_trained_alike(lambda: sgd(nn.Sequential(nn.Embedding(11, 5), nn.Flatten(), nn.Linear(15, 4))), batches)


def test_a_module_is_compiled_by_itself():
    model = nn.MLP([6, 5, 4], nn.Tanh)
    x = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    y = vg.compile(model)(x)
    assert isinstance(y, vg.TensorNode)
    np.testing.assert_allclose(y.value, model(x).value, rtol=1e-5, atol=1e-6)


def test_train_and_eval_are_two_plans():
    vg.seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    fast = vg.compile(model)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    trained = fast(x).value
    model.eval()
    np.testing.assert_allclose(fast(x).value, model(x).value, rtol=1e-5, atol=1e-6)
    assert np.any(fast(x).value != trained)
    model.train()
    assert np.any(fast(x).value == 0)  # dropped again
    assert len(fast.plans) == 2


# --- losses

FLOAT_LOSSES = ("mse", "l1", "huber", "bce")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_is_eagers(name, reduction):
    rng = np.random.default_rng(0)

    def make():
        return sgd(nn.Sequential(nn.Linear(6, 4), nn.LogSoftmax()) if name == "nll" else nn.Linear(6, 4))

    batches = batches_of(FLAT, 4, 37)
    if name in FLOAT_LOSSES:
        batches = [(x, rng.uniform(size=(37, 4)).astype(np.float32)) for x, _ in batches]
    assert_trained_alike(make, batches, lambda x, y: losses.LOSSES[name](x, y, reduction=reduction))


def test_losses_of_each_instance():
    fast = vg.compile(lambda x, y: losses.cross_entropy(x, y, reduction="none"))
    x, y = batches_of((5,), 5, 23)[0]
    np.testing.assert_allclose(
        fast(x, y).value, losses.cross_entropy(x, y, reduction="none").value, rtol=1e-5, atol=1e-6
    )


# --- optimizers, for 50 updates


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", [case for case in OPTIMIZERS if not case.startswith("late")])
def test_fifty_updates_by_every_optimizer(case, dtype):
    def make():
        model = nn.MLP([6, 8, 4], nn.Tanh, dtype=dtype)
        return model, OPTIMIZERS[case](optim, model.parameters())

    tolerance = {np.float32: 3e-3, np.float64: 1e-9}[dtype]
    assert_trained_alike(make, batches_of(FLAT, 4, 20, count=50, dtype=dtype), tolerance=tolerance)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_clipped_gradients(norm_type):
    def clipped(model, optimizer):
        def step(x, y):
            optimizer.zero_grad()
            loss = losses.cross_entropy(model(x), y)
            loss.backward()
            norm = optim.clip_grad_norm_(model.parameters(), 0.1, norm_type)
            optimizer.step()
            return loss, norm

        return step

    (model, optimizer), (other, others) = twins(lambda: sgd(nn.MLP([6, 5, 4])))
    fast = vg.compile(clipped(other, others), state=[other, others])
    eager = clipped(model, optimizer)
    for x, y in batches_of(FLAT, 4, 16):
        (a, expected), (b, norm) = eager(x, y), fast(x, y)
        np.testing.assert_allclose([b.item(), norm], [a.item(), expected], rtol=1e-5)


def test_a_frozen_parameter_keeps_its_value_and_its_state():
    def make():
        model = nn.MLP([6, 5, 4])
        model.parameters()[0].requires_grad = False
        return model, optim.Adam(model.parameters(), lr=0.01)

    assert_trained_alike(make, batches_of(FLAT, 4, 16))


# --- networks, for 50 updates

NETWORKS = {
    "MLP": (FLAT, lambda dtype: nn.MLP([6, 8, 8, 4], dtype=dtype)),
    "MLP with everything": (
        FLAT,
        lambda dtype: nn.MLP([6, 8, 8, 4], nn.GELU, batch_norm=True, residual=True, dropout=0.1, dtype=dtype),
    ),
    "LeNet": ((1, 16, 16), lambda dtype: nn.LeNet(4, (1, 16, 16), (12, 8), nn.Tanh, dtype=dtype)),
    "LeNet with everything": (
        (1, 16, 16),
        lambda dtype: nn.LeNet(
            4, (1, 16, 16), (8, 8), nn.ELU, batch_norm=True, residual=True, dropout=0.1, dtype=dtype
        ),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_fifty_updates_of_every_network(name, dtype):
    shape, make = NETWORKS[name]

    def made():
        model = make(dtype)
        # Before a batch norm a bias has a gradient of 0 but for rounding, by which Adam with a small eps would divide.
        return model, optim.AdamW(model.parameters(), lr=1e-3, eps=1e-3)

    tolerance = {np.float32: 5e-3, np.float64: 1e-9}[dtype]
    assert_trained_alike(made, batches_of(shape, 4, 20, count=50, dtype=dtype), tolerance=tolerance)


@pytest.mark.parametrize("n", SIZES)
def test_networks_on_batches_of_any_size(n):
    assert_trained_alike(lambda: sgd(nn.LeNet(4, (1, 16, 16), (8,))), batches_of((1, 16, 16), 4, n, count=2))
    everything_on = lambda: sgd(nn.MLP([6, 5, 5, 4], batch_norm=n > 1, residual=True, dropout=0.5))  # noqa: E731
    assert_trained_alike(everything_on, batches_of(FLAT, 4, n, count=2))


# --- epochs


@pytest.mark.parametrize("batch_size", [1, 8, 16, 50, 64])
def test_an_epoch_is_its_steps_with_a_smaller_last_batch_and_any_order(batch_size):
    make = lambda: sgd(nn.MLP([6, 8, 4], batch_norm=batch_size > 1, dropout=0.2))  # noqa: E731
    (model, optimizer), (other, others) = twins(make)
    x, y = batches_of(FLAT, 4, 50, count=1)[0]
    order = np.random.default_rng(5).permutation(50)
    eager = step_of(model, optimizer)
    expected = [eager(x[rows], y[rows])[0].item() for rows in np.split(order, range(batch_size, 50, batch_size))]
    fast = vg.compile(lambda x, y: step_of(other, others)(x, y)[0], state=[other, others])
    found = fast.run_epoch(x, y, batch_size=batch_size, order=order)
    np.testing.assert_allclose(found.value, expected, rtol=1e-4)
    after = everything([other, others])
    for name, array in everything([model, optimizer]).items():
        assert_near(array, after[name], 1e-3, name)


def test_an_epoch_takes_the_rows_as_they_lie_or_only_some_of_them():
    fast = vg.compile(lambda x: x.sum())
    x = np.arange(20.0).reshape(10, 2)
    np.testing.assert_array_equal(fast.run_epoch(x, batch_size=4), [28, 92, 70])
    np.testing.assert_array_equal(fast.run_epoch(x, batch_size=2, order=[9, 9, 0]), [74, 1])
    assert fast.run_epoch(x, batch_size=2, order=np.zeros(0, int)) is None


# --- what changes between calls


def test_the_learning_rate_and_schedules_work_from_outside():
    (model, optimizer), (other, others) = twins(lambda: sgd(nn.Linear(6, 4)))
    schedules = [optim.CosineAnnealingLR(o, 5) for o in (optimizer, others)]
    fast = vg.compile(step_of(other, others), state=[other, others])
    eager = step_of(model, optimizer)
    for x, y in batches_of(FLAT, 4, 16, count=6):
        a, b = eager(x, y)[0], fast(x, y)[0]
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-5)
        for schedule in schedules:
            schedule.step()
    optimizer.lr = others.lr = 0.5
    x, y = batches_of(FLAT, 4, 16, count=1)[0]
    eager(x, y), fast(x, y)
    assert_near(model.weight.value, other.weight.value, 1e-4, "weight")
    assert len(fast.plans) == 1


def test_a_rate_for_every_step_of_an_epoch():
    (model, optimizer), (other, others) = twins(lambda: sgd(nn.Linear(6, 4)))
    eager = step_of(model, optimizer)
    fast = vg.compile(step_of(other, others), state=[other, others])
    x, y = batches_of(FLAT, 4, 24, count=1)[0]
    rates = np.array([0.1, 0.3, 0.2])
    for i, rate in enumerate(rates):
        optimizer.lr = rate
        eager(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8])
    fast.run_epoch(x, y, batch_size=8, rates=rates)
    assert_near(model.weight.value, other.weight.value, 1e-4, "weight")


def test_weights_that_are_replaced_are_used():
    model = nn.Linear(3, 2)
    fast = vg.compile(model)
    x = np.eye(3, dtype=np.float32)
    fast(x)
    model.weight.value = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(fast(x).value, np.ones((3, 2)) + model.bias.value)
    model.weight.value[:] = 2
    np.testing.assert_array_equal(fast(x).value, 2 * np.ones((3, 2)) + model.bias.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_go_where_eager_takes_them(bad):
    x, y = batches_of(FLAT, 4, 20, count=1)[0]
    x[3, 2] = bad
    for activation in (nn.ReLU, nn.Tanh, nn.Sigmoid):
        assert_trained_alike(lambda a=activation: sgd(nn.MLP([6, 5, 4], a)), [(x, y)])


def test_finite_stops_before_a_loss_that_is_not_finite_spoils_the_weights():
    model, optimizer = sgd(nn.Linear(6, 4))
    fast = vg.compile(lambda x, y: step_of(model, optimizer)(x, y)[0], state=[model, optimizer], finite=True)
    x, y = batches_of(FLAT, 4, 32, count=1)[0]
    fast(x[:8], y[:8])
    before = everything([model, optimizer])
    x[5] = np.nan
    assert np.isnan(fast(x[:8], y[:8]).item())
    after = everything([model, optimizer])
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    x[5], x[17] = 0, np.nan
    assert np.isnan(fast.run_epoch(x, y, batch_size=8).value).tolist()[-1]
    assert all(np.all(np.isfinite(array)) for array in everything([model, optimizer]).values())


@pytest.mark.parametrize("whole", [1, np.int64(1), np.float32(1)], ids=["int", "NumPy's int", "f32"])
def test_a_rate_may_be_a_whole_number_first(whole):
    def weights(compiled):
        model = nn.Linear(3, 2, rng=np.random.default_rng(0))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = losses.mse_loss(model(x), np.ones((4, 2), np.float32))
            loss.backward()
            optimizer.step()
            return loss

        run = vg.compile(step, state=[model, optimizer]) if compiled else step
        x = np.eye(4, 3, dtype=np.float32)
        for lr in (whole, 0.5, whole, 0.25):
            optimizer.lr = lr
            run(x)
        optimizer.lr = whole
        if compiled:
            run.run_epoch(x, batch_size=4, rates=[0.125])
        else:
            optimizer.lr = 0.125
            run(x)
        return model.weight.value

    np.testing.assert_allclose(weights(True), weights(False), rtol=1e-5)


def test_parts_in_lists_and_dictionaries_may_change_between_calls():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(3, 3), nn.Linear(3, 3)]
            self.numbers = {"scale": 1.0, "more": [2.0]}
            self.arrays = (np.ones(3, np.float32), 1)

        def forward(self, x):
            for layer in self.layers:
                x = np.tanh(layer(x)) * self.numbers["scale"] * self.numbers["more"][0] + self.arrays[0]
            return x

    def scale():
        net.numbers["scale"] = 3.0

    def inner():
        net.numbers["more"][0] = 0.5

    net = Net()
    fast = vg.compile(net)
    x = np.eye(4, 3, dtype=np.float32)
    changes = [
        lambda: None,
        scale,
        inner,
        lambda: net.layers.append(nn.Dropout(0.5)),
        net.eval,  # also of the part that came later
        lambda: net.layers.insert(1, nn.ReLU()),
        lambda: net.layers.__setitem__(0, nn.Linear(3, 3)),
    ]
    for i, change in enumerate(changes):
        change()
        if i != 3:  # random there
            np.testing.assert_allclose(fast(x).value, net(x).value, rtol=1e-5, err_msg=str(i))
        else:
            fast(x)


def test_an_optimizer_alone_is_state_whose_parameters_may_be_frozen_and_replaced():
    def weights(compiled):
        model = nn.Linear(3, 2, rng=np.random.default_rng(0))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run = vg.compile(step, state=optimizer) if compiled else step
        x = np.eye(4, 3, dtype=np.float32)
        run(x)
        model.weight.requires_grad = False
        run(x)
        model.weight.requires_grad = True
        optimizer.momentum = 0.5
        run(x)
        model.bias.value = model.bias.value.astype(np.float64)
        run(x)
        return model.weight.value, model.bias.value

    for found, expected in zip(weights(True), weights(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert found.dtype == expected.dtype


def test_large_factors_are_turned_for_many_instances():
    """Above some size what is summed over is made to lie together, for arguments and for weights that are updated."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((600, 300)), rng.standard_normal((300, 700))
    assert np.allclose(vg.compile(lambda a, b: a @ b)(a, b), a @ b)
    square = rng.standard_normal((512, 512))
    assert np.allclose(vg.compile(lambda a, b: a @ b @ a)(square, square.T.copy()), square @ square.T @ square)
    x, y = rng.standard_normal((520, 300)), rng.integers(0, 5, 520)

    def trained(compiled):
        vg.seed(0)
        model = nn.MLP([300, 260, 300, 5], nn.Tanh, dtype=np.float64)
        optimizer = vg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, y):
            optimizer.zero_grad()
            loss = vg.losses.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = vg.compile(step, state=[model, optimizer]) if compiled else step
        losses = [run(x, y).item() for _ in range(3)]
        if compiled:
            names = [k.name for stage in run.plan(x, y).lowered.loops.stages for k in stage.kernels()]
            assert "transpose" in names
        return losses, model.state_dict()

    (losses, state), (eager, expected) = trained(True), trained(False)
    assert losses == pytest.approx(eager, rel=1e-12)
    assert all(np.allclose(state[name], expected[name], rtol=1e-10, atol=1e-13) for name in expected)
