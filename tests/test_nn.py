"""Modules: what they find, keep, restore and show; and every layer's gradients, shapes, dtypes, modes and errors."""

import itertools

import numpy as np
import pytest
from gradients import jacobian

import vugrad as vg
from vugrad import nn

# --- parameters: found where they are kept, in order, once


class Tangle(nn.Module):
    """Parameters in attributes, lists, tuples, dicts and modules; some shared, some not to be found."""

    def __init__(self):
        super().__init__()
        self.first = nn.parameter([1.0])
        self.layers = [nn.Linear(2, 3), nn.ReLU(), [nn.parameter([2.0]), nn.Linear(3, 1, bias=False)]]
        self.table = {"b": nn.parameter([3.0]), "a": (nn.LayerNorm(2),), 7: nn.parameter([4.0])}
        self.again = self.layers[0]
        self.scale = self.layers[0].weight
        self.count = np.zeros(2)
        self._hidden = nn.parameter([5.0])
        self.computed = self.first * 2
        self.number, self.text, self.nothing = 3, "text", None
        self.last = nn.parameter([6.0])


def test_parameters_have_the_names_and_order_of_their_places():
    net = Tangle()
    assert [name for name, _ in net.named_parameters()] == [
        "first",
        "layers.0.weight",
        "layers.0.bias",
        "layers.2.0",
        "layers.2.1.weight",
        "table.b",
        "table.a.0.weight",
        "table.a.0.bias",
        "table.7",
        "last",
    ]
    assert [p for _, p in net.named_parameters()] == net.parameters()
    assert net.parameters()[1] is net.scale
    assert [name for name, _ in net.named_buffers()] == ["count"]
    names = ["", "layers.0", "layers.1", "layers.2.1", "table.a.0"]
    assert [name for name, _ in net.named_modules()] == names


def test_the_parameters_of_each_layer():
    found = {name: [n for n, _ in make().named_parameters()] for name, (make, _) in LAYERS.items()}
    assert found["Linear"] == found["Conv2d"] == found["BatchNorm1d"] == found["LayerNorm"] == ["weight", "bias"]
    assert found["Linear without bias"] == found["Embedding"] == ["weight"]
    assert found["Sequential"] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert found["Residual"] == ["module.weight", "module.bias"]
    assert found["MLP, everything"][:4] == [
        "0.module.0.weight",
        "0.module.0.bias",
        "0.module.1.weight",
        "0.module.1.bias",
    ]
    assert found["ReLU"] == []


def test_containers_may_be_cyclic():
    outer, inner = nn.Module(), nn.Module()
    outer.inner, inner.outer = inner, outer
    outer.parts = [inner]
    outer.parts.append(outer.parts)
    inner.w = nn.parameter([1.0])
    assert [name for name, _ in outer.named_parameters()] == ["inner.w"]
    assert [name for name, _ in inner.named_parameters()] == ["w"]
    assert [names for names, _ in outer.named_arrays()] == [["inner.w", "parts.0.w"]]
    outer.eval()
    assert not inner.training


def test_an_overridden_parameters_method_is_the_one_that_counts():
    class Half(nn.Module):
        """Trains its second layer only."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def parameters(self):
            return self.b.parameters()

    net = Half()
    for p in (net.a.weight, net.b.weight):
        p.grad[...] = 1
    net.zero_grad()
    assert net.a.weight.grad.all()
    assert not net.b.weight.grad.any()
    assert set(net.state_dict()) == {"a.weight", "a.bias", "b.weight", "b.bias"}


def test_a_parameter_owns_its_array():
    array = np.ones(2)
    p = nn.parameter(array, "w")
    p.value += 1
    assert array.tolist() == [1, 1]
    assert (p.name, p.value.dtype, p.requires_grad) == ("w", np.float64, True)


def test_a_module_without_a_forward():
    class Unfinished(nn.Module):
        """No forward yet."""

    with pytest.raises(NotImplementedError, match=r"Unfinished needs a method forward\(self, x\)"):
        Unfinished()(1)


# --- modes


def test_train_and_eval_reach_every_part():
    net = Tangle()
    modules = [module for _, module in net.named_modules()]
    assert all(module.training for module in modules)
    assert net.eval() is net
    assert not any(module.training for module in modules)
    assert net.train() is net
    assert all(module.training for module in modules)
    net.train(False)
    assert not any(module.training for module in modules)


# --- state


def full_network(seed=0):
    options = {"batch_norm": True, "dropout": 0.5, "rng": np.random.default_rng(seed)}
    return nn.Sequential(nn.Conv2d(1, 2, 3, rng=options["rng"]), nn.Flatten(), nn.MLP([8, 5, 3], **options))


def images(n=4, dtype=np.float32):
    return np.random.default_rng(9).standard_normal((n, 1, 4, 4)).astype(dtype)


def test_a_state_restores_everything():
    net, other = full_network(0), full_network(1)
    for _ in range(3):
        net(images())
    state = net.state_dict()
    assert list(state) == [
        *("0.weight", "0.bias", "2.0.weight", "2.0.bias", "2.1.weight", "2.1.bias"),
        *("2.1.running_mean", "2.1.running_var", "2.3.key", "2.4.weight", "2.4.bias"),
    ]
    arrays = [p.value for p in other.parameters()]
    other.load_state_dict(state)
    assert all(p.value is array for p, array in zip(other.parameters(), arrays, strict=True)), "not in place"
    for _ in range(2):  # the same masks, and running statistics, from here on
        np.testing.assert_array_equal(net(images()).value, other(images()).value)
    np.testing.assert_array_equal(net.eval()(images()).value, other.eval()(images()).value)


def test_a_state_is_a_copy():
    net = full_network()
    state = net.state_dict()
    before = {name: array.copy() for name, array in state.items()}
    net(images())
    net[0].weight.value += 1
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])
    net.load_state_dict(state)
    net[0].weight.value += 1
    np.testing.assert_array_equal(state["0.weight"], before["0.weight"])


def test_a_state_that_does_not_fit_says_everything_and_loads_nothing():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout())
    before, state = net.state_dict(), net.state_dict()
    state = {name: np.zeros_like(array) for name, array in state.items()}
    state["0.weight"] = np.zeros((3, 1), np.float32)  # which would broadcast
    state["1.bias"] = np.zeros(3, complex)
    state["2.key"] = np.zeros(2)
    state["1.scale"] = state.pop("1.weight")
    with pytest.raises(ValueError, match="this state does not fit Sequential") as caught:
        net.load_state_dict(state)
    assert str(caught.value).splitlines()[1:] == [
        "  0.weight: shape (3, 1) in the state, (3, 2) in the module",
        "  1.bias: complex128 in the state, float32 in the module",
        "  2.key: float64 in the state, uint32 in the module",
        "  1.weight: missing from the state",
        "  1.scale: not in the module",
    ]
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_state_that_is_not_strict():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    bias = net[0].bias.value.copy()
    net.load_state_dict({"0.weight": np.ones((3, 2)), "5.weight": np.ones(7)}, strict=False)
    assert net[0].weight.value.tolist() == [[1, 1]] * 3
    assert net[0].weight.value.dtype == np.float32
    np.testing.assert_array_equal(net[0].bias.value, bias)
    with pytest.raises(ValueError, match=r"0\.weight: shape"):
        net.load_state_dict({"0.weight": np.ones((2, 3))}, strict=False)


def test_shared_parameters_are_stored_once_and_stay_shared():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net.tied = net[0]
    net.load_state_dict({"0.weight": np.ones((2, 2)), "0.bias": np.zeros(2)})
    assert set(net.state_dict()) == {"0.weight", "0.bias"}
    assert net.tied.weight is net[0].weight


# --- to look at


def test_a_summary():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.MLP([8, 5, 3], dropout=0.5))
    expected = """\
layer            output         parameters
Sequential       (N, 3)                 83
  0  Conv2d      (N, 2, 2, 2)           20
  1  ReLU        (N, 2, 2, 2)            0
  2  Flatten     (N, 8)                  0
  3  MLP         (N, 3)                 63
    0  Linear    (N, 5)                 45
    1  ReLU      (N, 5)                  0
    2  Dropout   (N, 5)                  0
    3  Linear    (N, 3)                 18
83 parameters, 332 bytes"""
    key = net[3][2].key.copy()
    assert net.summary((1, 4, 4)) == expected
    assert net.summary(images()) == expected
    assert net.summary(vg.TensorNode(images())) == expected
    assert all(module.training for _, module in net.named_modules())
    assert net[3][2].key.tolist() == key.tolist()
    assert not any("forward" in vars(module) for _, module in net.named_modules())


def test_a_summary_that_fails_leaves_the_model_as_it_was():
    net = full_network()
    with pytest.raises(ValueError, match=r"Conv2d\(.*got \(1, 3, 4, 4\)"):
        net.summary((3, 4, 4))
    assert all(module.training for _, module in net.named_modules())
    assert net(images()).shape == (4, 3)


def test_a_summary_of_parts_in_containers_that_do_not_run():
    net = Tangle()
    net.forward = forward = lambda x: x
    assert net.summary((2,)).splitlines()[1:-1] == [
        "Tangle                   (N, 2)           21",
        "  layers.0  Linear       -                 9",
        "  layers.1  ReLU         -                 0",
        "  layers.2.1  Linear     -                 3",
        "  table.a.0  LayerNorm   -                 4",
    ]
    assert net.forward is forward


def test_the_repr_of_nested_modules():
    net = nn.Sequential(nn.Linear(2, 3), nn.Residual(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1))), nn.Tanh())
    assert repr(net) == (
        "Sequential()\n  (0): Linear(2, 3)\n  (1): Residual()\n    (module): Sequential()\n      (0): Linear(3, 3)\n"
        "      (1): Dropout(p=0.1)\n  (2): Tanh()"
    )
    assert repr(nn.Conv2d(4, 6, 3, groups=2)) == "Conv2d(4, 6, (3, 3), stride=(1, 1), padding=(0, 0))"
    assert repr(nn.Embedding(5, 2)) == "Embedding(5, 2)"
    assert repr(nn.LayerNorm((2, 3))) == "LayerNorm((2, 3))"
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d((2, 2), stride=(2, 2), padding=(0, 0))"


# --- every layer

F64 = {"dtype": np.float64}
LAYERS = {  # how to make it in float64, and the shape of a batch
    "Linear": (lambda: nn.Linear(3, 2, **F64), (4, 3)),
    "Linear of a stack": (lambda: nn.Linear(3, 2, **F64), (2, 4, 3)),
    "Linear of a vector": (lambda: nn.Linear(3, 2, **F64), (3,)),
    "Linear without bias": (lambda: nn.Linear(3, 2, bias=False, **F64), (4, 3)),
    "course Linear": (lambda: vg.Linear(3, 2), (4, 3)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, **F64), (2, 2, 4, 4)),
    "Conv2d, everything": (
        lambda: nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 2), groups=2, bias=False, **F64),
        (2, 2, 5, 3),
    ),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (2, 2, 4, 5)),
    "MaxPool2d, overlapping": (lambda: nn.MaxPool2d(3, stride=2, padding=1), (2, 1, 5, 5)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (2, 2, 4, 5)),
    "AvgPool2d, overlapping": (lambda: nn.AvgPool2d(3, stride=2, padding=1), (2, 1, 5, 5)),
    "Flatten": (lambda: nn.Flatten(), (2, 3, 2)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3, **F64), (5, 3)),
    "BatchNorm1d of sequences": (lambda: nn.BatchNorm1d(3, **F64), (2, 3, 4)),
    "BatchNorm1d in eval": (lambda: nn.BatchNorm1d(3, **F64).eval(), (5, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2, **F64), (2, 2, 3, 3)),
    "BatchNorm2d in eval": (lambda: nn.BatchNorm2d(2, **F64).eval(), (2, 2, 3, 3)),
    "LayerNorm": (lambda: nn.LayerNorm(3, **F64), (4, 3)),
    "LayerNorm of two axes": (lambda: nn.LayerNorm((2, 3), **F64), (4, 2, 3)),
    "Dropout": (lambda: nn.Dropout(0.5, rng=np.random.default_rng(0)), (4, 5)),
    "Dropout in eval": (lambda: nn.Dropout(0.5).eval(), (4, 5)),
    "RandomShift": (lambda: nn.RandomShift(1, 0.5, rng=np.random.default_rng(0)), (3, 2, 4, 5)),
    "RandomShift in eval": (lambda: nn.RandomShift(1).eval(), (3, 2, 4, 5)),
    "Embedding": (lambda: nn.Embedding(4, 3, **F64), None),
    "Identity": (lambda: nn.Identity(), (2, 3)),
    "Sigmoid": (lambda: nn.Sigmoid(), (2, 3)),
    "Tanh": (lambda: nn.Tanh(), (2, 3)),
    "ReLU": (lambda: nn.ReLU(), (2, 3)),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.2), (2, 3)),
    "ELU": (lambda: nn.ELU(1.5), (2, 3)),
    "GELU": (lambda: nn.GELU(), (2, 3)),
    "SiLU": (lambda: nn.SiLU(), (2, 3)),
    "Softplus": (lambda: nn.Softplus(), (2, 3)),
    "Softmax": (lambda: nn.Softmax(dim=0), (2, 3)),
    "LogSoftmax": (lambda: nn.LogSoftmax(), (2, 3)),
    "Sequential": (lambda: nn.Sequential(nn.Linear(3, 4, **F64), nn.Tanh(), nn.Linear(4, 2, **F64)), (5, 3)),
    "Residual": (lambda: nn.Residual(nn.Linear(3, 3, **F64)), (4, 3)),
    "MLP": (lambda: nn.MLP([6, 4, 3], nn.Tanh, **F64), (5, 2, 3)),
    "MLP, everything": (
        lambda: nn.MLP([3, 3, 2], nn.Tanh, batch_norm=True, residual=True, dropout=0.3, **F64),
        (5, 3),
    ),
    "LeNet": (
        lambda: nn.LeNet(3, (1, 16, 16), hidden=(4,), activation=nn.Tanh, batch_norm=True, **F64),
        (2, 1, 16, 16),
    ),
    "StridedCNN": (lambda: nn.StridedCNN(3, (1, 19, 19), nn.Tanh, **F64), (2, 1, 19, 19)),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def make(name, seed=0):
    """The layer, with parameters and statistics away from their zeros and ones, and a batch for it."""
    vg.seed(seed)
    layer, shape = LAYERS[name][0](), LAYERS[name][1]
    rng = np.random.default_rng(seed)
    for p in layer.parameters():
        p.value = rng.standard_normal(p.value.shape)
    for array in (array for _, array in layer.named_buffers() if array.dtype == np.float64):
        array[...] = rng.uniform(0.5, 2, array.shape)
    if shape is None:
        return layer, np.array([[0, 3, 3], [1, 0, 3]])
    numbers = np.prod(shape)  # no two closer than 0.01, none near 0: away from ties and kinks
    batch = (rng.permutation(numbers) + 0.5 - numbers // 2) / numbers * 4
    return layer, batch.reshape(shape)


@each_layer
def test_gradients_agree_with_finite_differences(name):
    layer, batch = make(name)
    state = layer.state_dict()
    x = vg.TensorNode(batch)
    weights = np.random.default_rng(1).standard_normal(layer(x).shape)

    def loss(x):
        for key, array in layer.named_buffers():  # the same dropout masks and statistics at each call
            if key in state:
                array[...] = state[key]
        for module in (module for _, module in layer.named_modules() if hasattr(module, "key")):
            module.key = np.array([7, 7], np.uint32)
        return (layer(x) * weights).sum()

    loss(x).backward()
    tolerance = {"rtol": 1e-5, "atol": 1e-6}
    for key, p in layer.named_parameters():
        start = p.value

        def at(value, p=p):
            p.value = value
            return loss(x).value

        expected = some_of(at, start)
        p.value = start
        np.testing.assert_allclose(p.grad[~np.isnan(expected)], expected[~np.isnan(expected)], **tolerance, err_msg=key)
        assert p.grad.dtype == np.float64
    if x.requires_grad:
        expected = some_of(lambda v: loss(vg.TensorNode(v)).value, batch)
        np.testing.assert_allclose(x.grad[~np.isnan(expected)], expected[~np.isnan(expected)], **tolerance)


def some_of(f, x, most=40):
    """The gradient of ``f`` by finite differences, in up to ``most`` places; NaN in the others."""
    places = np.random.default_rng(0).permutation(x.size)[:most]

    def at(numbers):
        moved = x.copy()
        moved.flat[places] = numbers
        return f(moved)

    gradient = np.full(x.shape, np.nan)
    gradient.flat[places] = jacobian(at, x.flat[places])
    return gradient


@each_layer
def test_a_layer_takes_nodes_and_arrays_and_changes_neither(name):
    layer, batch = make(name)
    before = batch.copy()
    batch.flags.writeable = False
    parameters = [p.value.copy() for p in layer.parameters()]
    layer.eval()
    from_array, from_node = layer(batch), layer(vg.TensorNode(batch))
    values = [getattr(y, "value", y) for y in (from_array, from_node)]
    np.testing.assert_array_equal(*values)
    np.testing.assert_array_equal(batch, before)
    for p, value in zip(layer.parameters(), parameters, strict=True):
        np.testing.assert_array_equal(p.value, value)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "Linear of a vector"])
def test_a_batch_of_one(name):
    layer, batch = make(name)
    norms = [m for _, m in layer.named_modules() if isinstance(m, nn.BatchNorm1d) and m.training]
    if norms and name != "BatchNorm1d of sequences":
        with pytest.raises(ValueError, match="of a channel needs more than one value"):  # as in PyTorch
            layer(vg.TensorNode(batch[:1]))
        layer.eval()
    y = layer(vg.TensorNode(batch[:1]))
    assert y.shape[0] == 1
    assert np.isfinite(y.value).all()
    (y * y).sum().backward()
    assert all(np.isfinite(p.grad).all() for p in layer.parameters())


@each_layer
def test_an_empty_batch_leaves_no_trace(name):
    """It is refused, and nothing has changed, or there is nothing in it that is not a number."""
    layer, batch = make(name)
    before = layer.state_dict()
    norms = [m for _, m in layer.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.training]
    if norms:
        statistics = [(m.running_mean, m.running_var) for m in norms]
        with pytest.raises(ValueError, match="of a channel needs more than one value"):
            layer(vg.TensorNode(batch[:0]))
        assert all(
            m.running_mean is mean and m.running_var is v for m, (mean, v) in zip(norms, statistics, strict=True)
        )
        layer.eval()
    if name in ("Linear of a vector", "Flatten", "Softmax"):  # whose first axis is not that of the batch, or is needed
        return
    y = layer(vg.TensorNode(batch[:0]))
    assert y.shape[0] == 0
    np.sum(y * y).backward()
    assert not any(p.grad.any() for p in layer.parameters())
    assert all(np.isfinite(array).all() for array in layer.state_dict().values())
    assert before.keys() == layer.state_dict().keys()


FAILS = {
    "BatchNorm1d of one": (lambda: nn.BatchNorm1d(3), (1, 3)),
    "BatchNorm1d of none": (lambda: nn.BatchNorm1d(3), (0, 3)),
    "BatchNorm2d of none": (lambda: nn.BatchNorm2d(3), (0, 3, 4, 4)),
    "BatchNorm2d of empty images": (lambda: nn.BatchNorm2d(3), (4, 3, 0, 4)),
    "BatchNorm2d of one pixel": (lambda: nn.BatchNorm2d(3), (1, 3, 1, 1)),
    "BatchNorm1d of others": (lambda: nn.BatchNorm1d(3), (5, 4)),
    "RandomShift of a matrix": (lambda: nn.RandomShift(2), (4, 4)),
}


@pytest.mark.parametrize("run", [lambda f, x: f(x), lambda f, x: vg.compile(f)(x)], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", FAILS)
def test_a_call_that_fails_changes_nothing(name, run):
    make_layer, shape = FAILS[name]
    layer = make_layer()
    before = layer.state_dict()
    with pytest.raises(ValueError):  # noqa: PT011 (each has its own)
        run(layer, np.ones(shape, np.float32))
    after = layer.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)


@each_layer
def test_float32_stays_float32(name):
    layer, batch = make(name)
    for p in layer.parameters():
        p.value = p.value.astype(np.float32)
    for module in (module for _, module in layer.named_modules() if hasattr(module, "running_mean")):
        module.running_mean, module.running_var = (
            a.astype(np.float32) for a in (module.running_mean, module.running_var)
        )
    x = vg.TensorNode(batch.astype(np.float32) if batch.dtype.kind == "f" else batch)
    for mode in (True, False):
        y = layer.train(mode)(x)
        assert y.dtype == np.float32
    (y * y).sum().backward()
    assert {p.grad.dtype for p in layer.parameters()} <= {np.dtype(np.float32)}
    assert {a.dtype for _, a in layer.named_buffers()} <= {np.dtype(np.float32), np.dtype(np.uint32)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_the_parameters(dtype):
    for layer in (
        nn.Linear(3, 2, dtype=dtype),
        nn.Conv2d(1, 2, 3, dtype=dtype),
        nn.Embedding(3, 2, dtype=dtype),
        nn.BatchNorm2d(3, dtype=dtype),
        nn.LayerNorm(3, dtype=dtype),
        nn.MLP([2, 3, 2], batch_norm=True, dtype=dtype),
        nn.LeNet(batch_norm=True, dtype=dtype),
    ):
        assert {p.value.dtype for p in layer.parameters()} == {np.dtype(dtype)}
        assert {array.dtype for _, array in layer.named_buffers()} <= {np.dtype(dtype)}


def test_a_part_that_names_its_parameters_is_believed():
    class Secret(nn.Module):
        def __init__(self):
            super().__init__()
            self._w = vg.TensorNode(np.ones((3, 3)))
            self.frozen = nn.Linear(3, 3)

        def forward(self, x):
            return self.frozen(x @ self._w)

        def parameters(self):
            return [self._w]

    part = Secret()
    last = nn.Linear(3, 2)
    found = nn.Sequential(part, last).parameters()
    assert {id(p) for p in found} == {id(part._w), id(last.weight), id(last.bias)}


@pytest.mark.parametrize(
    "layer", [nn.Dropout(np.float64(0.5)), nn.ELU(np.float64(1)), nn.LayerNorm(3, np.float64(1e-5))], ids=repr
)
def test_settings_of_numpy_do_not_make_float64_of_float32(layer):
    assert layer(np.ones((4, 3), np.float32)).dtype == np.float32


def test_running_statistics_keep_their_dtype():
    layer = nn.BatchNorm1d(3)
    layer(np.random.default_rng(0).normal(size=(4, 3)))
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"stride": -1}, "stride=-1"), ({"kernel_size": 0}, "kernel_size=0"), ({"groups": 0}, "0 groups")],
)
def test_settings_of_a_convolution_that_mean_nothing(settings, message):
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(1, 2, **{"kernel_size": 3, **settings})


# --- shifts


def shifted(image, down, across, value):
    """A shifted image, pixel by pixel."""
    y = np.full_like(image, value)
    for i, j in np.ndindex(*image.shape[1:]):
        if 0 <= i - down < image.shape[1] and 0 <= j - across < image.shape[2]:
            y[:, i, j] = image[:, i - down, j - across]
    return y


def test_random_shift_moves_each_image_by_a_shift_of_its_own():
    x = np.random.default_rng(0).random((300, 2, 5, 4))
    layer = nn.RandomShift(1, -3.0, rng=np.random.default_rng(1))
    first = layer(x).value
    counts = dict.fromkeys(itertools.product((-1, 0, 1), repeat=2), 0)
    for image, y in zip(x, first, strict=True):
        fits = [by for by in counts if np.array_equal(y, shifted(image, *by, -3.0))]
        assert len(fits) == 1
        counts[fits[0]] += 1
    assert min(counts.values()) > 300 / 9 / 2  # each as likely as the others
    assert not np.array_equal(layer(x).value, first), "the next batch is shifted anew"
    assert layer.eval()(x).value is x
    assert nn.RandomShift(0)(x).value is x
    with pytest.raises(ValueError, match="pixels"):
        nn.RandomShift(-1)


def test_random_shift_continues_from_its_state():
    x = np.random.default_rng(0).random((8, 1, 4, 4))
    one, other = nn.RandomShift(2), nn.RandomShift(2)
    one(x)
    other.load_state_dict(one.state_dict())
    assert np.array_equal(one(x).value, other(x).value)


def test_strided_cnn_counts_what_its_docstring_says():
    net = nn.StridedCNN()
    assert sum(p.value.size for p in net.parameters()) == 8906
    with pytest.raises(ValueError, match="too small"):
        nn.StridedCNN(10, (1, 18, 18))
