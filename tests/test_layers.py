"""Layers one by one: against PyTorch's stored answers, and what each promises beyond its formula."""

import re

import numpy as np
import pytest
from reference.make_layers import ARCHIVE, LAYERS, modes

import vugrad as vg
from vugrad import nn

with np.load(ARCHIVE, allow_pickle=False) as archive:
    REFERENCE = dict(archive)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", LAYERS)
def test_layers_are_pytorchs(case, dtype):
    layer = LAYERS[case][1](nn)
    for name, p in layer.named_parameters():
        p.value = REFERENCE[f"{case}/{name}"].astype(dtype)
    for module in (
        module for _, module in layer.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    ):
        module.running_mean, module.running_var = np.zeros_like(module.bias.value), np.ones_like(module.bias.value)
    stored = {name.removeprefix(f"{case}/") for name in REFERENCE if name.startswith(f"{case}/")}
    checked = {name for name, _ in layer.named_parameters()} | {"x", "gy"}
    tolerance = {"float64": 1e-10, "float32": 1e-5}[dtype]
    for step, training in enumerate(modes(case)):
        layer.train(training).zero_grad()
        x = vg.TensorNode(REFERENCE[f"{case}/x"][step].astype(dtype))
        y = layer(x)
        (y * REFERENCE[f"{case}/gy"][step].astype(dtype)).sum().backward()
        found = {"y": y.value, "gx": x.grad}
        found |= {f"g {name}": p.grad for name, p in layer.named_parameters()}
        found |= dict(layer.named_buffers())
        for name, array in found.items():
            expected = REFERENCE[f"{case}/{name}"][step]
            scale = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(array, expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)
        checked |= found.keys()
    assert checked == stored, "layer and reference have parameters and buffers of the same names"


# --- what needs no gradient costs none


class Counted:
    """Counts the matrix products and the window sums that run."""

    def __init__(self, monkeypatch):
        self.count = 0
        for module, name in ((np, "matmul"), (vg.ops.convolve, "contract")):
            monkeypatch.setattr(module, name, self.counting(getattr(module, name)))

    def counting(self, function):
        def counted(*args, **options):
            self.count += 1
            return function(*args, **options)

        return counted


@pytest.mark.parametrize("batch", ["array", "constant", "uint8"])
def test_a_batch_gets_no_gradient_and_no_matrix_product_for_one(batch, monkeypatch):
    x = np.ones((4, 3), np.float32)
    x = {"array": x, "constant": vg.TensorNode(x).detach(), "uint8": vg.TensorNode(x.astype(np.uint8))}[batch]
    layer = nn.Linear(3, 2)
    counted = Counted(monkeypatch)
    layer(x).sum().backward()
    assert counted.count == 2, "one for the value, one for the weights"
    layer(vg.TensorNode(np.ones((4, 3), np.float32))).sum().backward()
    assert counted.count == 5
    assert layer.weight.grad.any()


def test_images_get_no_gradient_of_their_convolution(monkeypatch):
    layer = nn.Conv2d(1, 2, 3)
    counted = Counted(monkeypatch)
    layer(np.ones((2, 1, 5, 5), np.float32)).sum().backward()
    alone = counted.count
    layer(vg.TensorNode(np.ones((2, 1, 5, 5), np.float32))).sum().backward()
    assert counted.count - alone > alone


def test_frozen_weights_get_no_gradient(monkeypatch):
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad = False
    counted = Counted(monkeypatch)
    layer(np.ones((4, 3), np.float32)).sum().backward()
    assert counted.count == 1
    assert not layer.weight.grad.any()
    assert layer.bias.grad.tolist() == [4, 4]


# --- batch normalisation


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.BatchNorm1d, (8, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (4, 3, 2, 5))]
)
def test_running_statistics(layer, shape):
    norm = layer(3, momentum=0.25, dtype=np.float64)
    rng = np.random.default_rng(0)
    mean, variance = np.zeros(3), np.ones(3)
    axes = (0, *range(2, len(shape)))
    for _ in range(3):
        x = rng.normal(3, 2, shape)
        y = norm(x).value
        np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1e-12)
        np.testing.assert_allclose(y.var(axis=axes), 1, rtol=1e-4)
        mean = 0.75 * mean + 0.25 * x.mean(axis=axes)
        variance = 0.75 * variance + 0.25 * x.var(axis=axes, ddof=1)
    np.testing.assert_allclose(norm.running_mean, mean)
    np.testing.assert_allclose(norm.running_var, variance)
    norm.eval()
    per_channel = (3,) + (1,) * (len(shape) - 2)
    expected = (x - mean.reshape(per_channel)) / np.sqrt(variance.reshape(per_channel) + 1e-5)
    np.testing.assert_allclose(norm(x).value, expected)
    np.testing.assert_array_equal(norm.running_mean, norm.state_dict()["running_mean"])
    np.testing.assert_allclose(norm.running_mean, mean)


def test_statistics_are_kept_without_a_graph():
    norm = nn.BatchNorm1d(2)
    norm(vg.TensorNode(np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32))).sum().backward()
    assert type(norm.running_mean) is type(norm.running_var) is np.ndarray
    assert len(norm.parameters()) == 2


def test_eval_does_not_depend_on_the_batch():
    norm = nn.BatchNorm1d(2)
    x = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    norm(x)
    norm.eval()
    np.testing.assert_allclose(norm(x).value[:1], norm(x[:1]).value, rtol=1e-6)


# --- dropout


def test_dropout_keeps_the_share_and_the_mean():
    layer = nn.Dropout(0.3, rng=np.random.default_rng(0))
    x = np.ones((200, 500), np.float32)
    y = layer(x).value
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert y.mean() == pytest.approx(1, abs=0.01)
    zeros = y == 0
    assert zeros.mean(axis=0).std() == pytest.approx(np.sqrt(0.3 * 0.7 / 200), rel=0.2), "columns go together"
    assert zeros.mean(axis=1).std() == pytest.approx(np.sqrt(0.3 * 0.7 / 500), rel=0.2), "rows go together"


def test_dropout_gives_new_masks_each_time_and_its_gradient_the_same():
    layer = nn.Dropout(0.5, rng=np.random.default_rng(0))
    x = vg.TensorNode(np.ones(1000))
    first, second = layer(x), layer(x)
    agreement = (first.value == second.value).mean()
    assert agreement == pytest.approx(0.5, abs=0.06)
    first.sum().backward()
    np.testing.assert_array_equal(x.grad, first.value)


def test_dropout_does_nothing_in_eval_or_at_zero():
    x = vg.TensorNode(np.ones(5))
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_masks_follow_from_seed_layer_and_count():
    x = np.ones(200)

    def masks(layer, n=3):
        return np.stack([layer(x).value for _ in range(n)])

    vg.seed(3)
    one, two = nn.Dropout(), nn.Dropout()
    drawn = masks(one)
    assert (drawn != masks(two)).any()
    vg.seed(3)
    np.testing.assert_array_equal(masks(nn.Dropout()), drawn)
    own = [masks(nn.Dropout(rng=np.random.default_rng(7))) for _ in range(2)]
    np.testing.assert_array_equal(*own)
    assert (own[0] != drawn).any()


def test_a_restored_dropout_goes_on_with_the_same_masks():
    x = np.ones(200)
    layer, other = nn.Dropout(), nn.Dropout()
    layer(x)
    other.load_state_dict(layer.state_dict())
    for _ in range(2):
        np.testing.assert_array_equal(layer(x).value, other(x).value)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, np.nan])
def test_dropout_of_no_share(p):
    with pytest.raises(ValueError, match="Dropout: p must be the share of dropped elements, 0 <= p < 1, got"):
        nn.Dropout(p)


# --- randomness

SEEDED = {
    "Linear": lambda rng: nn.Linear(3, 2, rng=rng),
    "course Linear": lambda rng: vg.Linear(3, 2),
    "Conv2d": lambda rng: nn.Conv2d(2, 3, 3, rng=rng),
    "Embedding": lambda rng: nn.Embedding(4, 3, rng=rng),
    "Dropout": lambda rng: nn.Dropout(rng=rng),
    "MLP": lambda rng: nn.MLP([3, 4, 2], dropout=0.5, rng=rng),
    "LeNet": lambda rng: nn.LeNet(dropout=0.5, rng=rng),
}


@pytest.mark.parametrize("name", SEEDED)
def test_seeds(name):
    def state(rng=None):
        return np.concatenate([array.ravel() for array in SEEDED[name](rng).state_dict().values()])

    vg.seed(5)
    first, second = state(), state()
    vg.seed(5)
    np.testing.assert_array_equal(state(), first)
    assert (first != second).any()
    if name != "course Linear":
        own = state(np.random.default_rng(5))
        vg.seed(6)
        np.testing.assert_array_equal(state(np.random.default_rng(5)), own)
        np.testing.assert_array_equal(state(), (vg.seed(6), state())[1])


def test_initialisers_can_be_chosen():
    assert not nn.Linear(3, 2, init=vg.initializers.zeros).weight.value.any()
    assert not nn.Conv2d(3, 2, 3, init=vg.initializers.zeros).weight.value.any()
    assert not nn.Embedding(3, 2, init=vg.initializers.zeros).weight.value.any()
    for net in (nn.MLP([3, 4, 2], init=vg.initializers.zeros), nn.LeNet(init=vg.initializers.zeros)):
        assert not any(p.value.any() for p in net.parameters())
    assert nn.Linear(200, 300).weight.value.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)
    assert not nn.Linear(3, 2).bias.value.any()


# --- networks


def test_the_reports_convolutional_network():
    net = nn.LeNet()
    assert sum(p.value.size for p in net.parameters()) == 44_426
    assert net(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, 10)
    shapes = [p.value.shape for p in net.parameters()]
    assert shapes == [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 256), (120,), (84, 120), (84,), (10, 84), (10,)]
    other = nn.LeNet(5, (3, 20, 16), hidden=(7,), batch_norm=True, dropout=0.1, activation=nn.Sigmoid)
    assert other(np.zeros((2, 3, 20, 16), np.float32)).shape == (2, 5)
    assert [type(m).__name__ for m in other][:4] == ["Conv2d", "BatchNorm2d", "Sigmoid", "MaxPool2d"]


def test_the_parts_of_an_mlp():
    net = nn.MLP([4, 6, 6, 3], nn.Tanh, batch_norm=True, residual=True, dropout=0.1)
    assert [type(m).__name__ for m in net] == ["Linear", "BatchNorm1d", "Tanh", "Dropout", "Residual", "Linear"]
    assert [type(m).__name__ for m in net[4].module] == ["Linear", "BatchNorm1d", "Tanh", "Dropout"]
    assert net(np.zeros((2, 2, 2), np.float32)).shape == (2, 3)
    assert [type(m).__name__ for m in nn.MLP([4, 3])] == ["Linear"]


def test_residual_adds_its_input():
    inner = nn.Linear(3, 3, dtype=np.float64)
    x = vg.TensorNode(np.random.default_rng(0).standard_normal((2, 3)))
    y = nn.Residual(inner)(x)
    np.testing.assert_allclose(y.value, x.value + inner(x).value)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, 1 + np.tile(inner.weight.value.sum(axis=0), (2, 1)))


def test_sequential_is_a_sequence():
    parts = [nn.Linear(3, 2), nn.ReLU(), nn.Tanh()]
    net = nn.Sequential(*parts)
    assert list(net) == parts
    assert len(net) == 3
    assert net[0] is parts[0]
    assert net[-1] is parts[2]
    x = np.ones((1, 3), np.float32)
    assert nn.Sequential()(vg.TensorNode(x)).value is x
    assert nn.Sequential()(x).value is x, "an array becomes a constant node"
    assert nn.Sequential(nn.Linear(3, 2), vg.relu)(x).shape == (1, 2)


def test_the_names_of_activations():
    x = np.linspace(-2, 2, 5)
    for name, activation in nn.ACTIVATIONS.items():
        assert activation()(x).shape == (5,), name


def test_embeddings_of_symbols():
    layer = nn.Embedding(4, 3)
    for symbols in ([[1, 3], [1, 0]], np.array([[1, 3], [1, 0]], np.uint8), vg.TensorNode([[1, 3], [1, 0]])):
        y = layer(symbols)
        assert y.shape == (2, 2, 3)
    y.sum().backward()
    assert layer.weight.grad[:, 0].tolist() == [1, 2, 0, 1]
    assert layer(np.zeros((0, 2), int)).shape == (0, 2, 3)


# --- what does not fit


def ones(*shape):
    return vg.TensorNode(np.ones(shape, np.float32))


ERRORS = {
    "Linear": (
        lambda: nn.Linear(3, 2)(ones(4, 5)),
        "Linear(3, 2) takes shape (…, 3), got (4, 5)",
        "write Linear(5, 2), or give it 3 features on the last axis",
    ),
    "course Linear": (
        lambda: vg.Linear(3, 2)(ones(4, 5)),
        "Linear(3, 2) takes shape (…, 3), got (4, 5)",
        "write Linear(5, 2)",
    ),
    "Conv2d channels": (
        lambda: nn.Conv2d(3, 2, 3)(ones(4, 1, 8, 8)),
        "Conv2d(3, 2, (3, 3), stride=(1, 1), padding=(0, 0)) takes shape (N, 3, rows, columns), got (4, 1, 8, 8)",
        "write Conv2d(1, …) for images of 1 channels",
    ),
    "Conv2d without channels": (
        lambda: nn.Conv2d(1, 2, 3)(ones(4, 8, 8)),
        "takes shape (N, 1, rows, columns), got (4, 8, 8)",
        "write x[None] for one image, x[:, None] for images without a channel axis",
    ),
    "Conv2d of small images": (
        lambda: nn.Conv2d(1, 2, 5)(ones(4, 1, 3, 3)),
        "takes shape (N, 1, rows, columns), got (4, 1, 3, 3)",
        "a window of 5x5 does not fit into images of 3x3",
    ),
    "Conv2d groups": (
        lambda: nn.Conv2d(4, 6, 3, groups=3),
        "Conv2d: 4 channels in and 6 out cannot form 3 groups",
        "",
    ),
    "MaxPool2d": (
        lambda: nn.MaxPool2d(5)(ones(4, 1, 3, 3)),
        "MaxPool2d((5, 5), stride=(5, 5), padding=(0, 0)) takes shape (N, C, rows, columns), got (4, 1, 3, 3)",
        "a window of 5x5 does not fit into images of 3x3",
    ),
    "AvgPool2d": (
        lambda: nn.AvgPool2d(5)(ones(4, 1, 3, 3)),
        "AvgPool2d((5, 5), stride=(5, 5), padding=(0, 0)) takes shape (N, C, rows, columns), got (4, 1, 3, 3)",
        "a window of 5x5 does not fit into images of 3x3",
    ),
    "pooling": (lambda: nn.MaxPool2d(2, padding=2), "padding (2, 2) is more than half of kernel_size (2, 2)", ""),
    "BatchNorm1d axes": (
        lambda: nn.BatchNorm1d(3)(ones(3)),
        "BatchNorm1d(3) takes shape (N, 3) or (N, 3, L), got (3,)",
        "the channels are axis 1",
    ),
    "BatchNorm2d axes": (
        lambda: nn.BatchNorm2d(3)(ones(4, 3)),
        "BatchNorm2d(3) takes shape (N, 3, L, M), got (4, 3)",
        "the channels are axis 1",
    ),
    "BatchNorm1d channels": (
        lambda: nn.BatchNorm1d(3)(ones(4, 1)),
        "BatchNorm1d(3) takes shape (N, 3) or (N, 3, L), got (4, 1)",
        "write BatchNorm1d(1)",
    ),
    "BatchNorm1d channels in eval": (
        lambda: nn.BatchNorm1d(3).eval()(ones(4, 1)),
        "BatchNorm1d(3) takes shape (N, 3) or (N, 3, L), got (4, 1)",
        "write BatchNorm1d(1)",
    ),
    "BatchNorm2d one channel in eval": (
        lambda: nn.BatchNorm2d(1).eval()(ones(4, 3, 2, 2)),
        "BatchNorm2d(1) takes shape (N, 1, L, M), got (4, 3, 2, 2)",
        "write BatchNorm2d(3)",
    ),
    "LayerNorm": (
        lambda: nn.LayerNorm(3)(ones(3, 4)),
        "LayerNorm((3,)) takes shape (…, 3), got (3, 4)",
        "write LayerNorm((4,))",
    ),
    "LayerNorm that broadcasts": (
        lambda: nn.LayerNorm(1)(ones(3, 4)),
        "LayerNorm((1,)) takes shape (…, 1), got (3, 4)",
        "last axes",
    ),
    "LayerNorm of too few axes": (
        lambda: nn.LayerNorm((2, 3))(ones(3)),
        "LayerNorm((2, 3)) takes shape (…, 2, 3), got (3,)",
        "last axes",
    ),
    "Residual": (
        lambda: nn.Residual(nn.Linear(3, 2))(ones(4, 3)),
        "Residual: the module made (4, 2) of (4, 3), and they cannot be added",
        "",
    ),
    "Residual that broadcasts": (
        lambda: nn.Residual(nn.Linear(3, 1))(ones(4, 3)),
        "Residual: the module made (4, 1) of (4, 3), and they cannot be added",
        "",
    ),
    "Embedding too large": (
        lambda: nn.Embedding(3, 2)(np.array([0, 3])),
        "Embedding: 3 is not one of the symbols 0 to 2",
        "",
    ),
    "Embedding negative": (
        lambda: nn.Embedding(3, 2)([[0], [-1]]),
        "Embedding: -1 is not one of the symbols 0 to 2",
        "",
    ),
    "Embedding of real numbers": (
        lambda: nn.Embedding(3, 2)(np.array([1.0])),
        "Embedding: symbols are whole numbers, got float64: write indices.astype(int)",
        "",
    ),
    "MLP sizes": (lambda: nn.MLP([3]), "MLP: sizes must have at least the features of input and output, got [3]", ""),
    "MLP input": (lambda: nn.MLP([3, 2])(ones(4, 5)), "Linear(3, 2) takes shape (…, 3), got (4, 5)", ""),
    "LeNet": (lambda: nn.LeNet(image_shape=(1, 8, 8)), "LeNet: images of 8x8 are too small, use MLP for them", ""),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_teach(name):
    fault, *words = ERRORS[name]
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        fault()
    assert words[1] in str(caught.value)


def test_a_list_of_modules_is_not_a_module():
    with pytest.raises(
        TypeError, match=r"Sequential takes modules one by one, as in Sequential\(\*modules\), got a list"
    ):
        nn.Sequential([nn.ReLU()])
