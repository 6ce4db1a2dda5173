"""``vg.doctor``: each mistake planted and found, and silence on what is healthy."""

import numpy as np
import pytest
from typer.testing import CliRunner

import vugrad as vg
from vugrad import losses, nn
from vugrad.cli import app
from vugrad.train.recipe import Recipe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 64)


def mlp(*sizes, seed=0, **options):
    vg.seed(seed)
    return nn.MLP(sizes or [6, 16, 3], **options)


class Detached(nn.Module):
    """Its first layer is cut off."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.first(x).value)


def with_gradients(model):
    losses.cross_entropy(model(X), Y).backward()
    return model


def zeros(model):
    for parameter in model.parameters():
        parameter.value[...] = 0
    return model


def weights(model):
    """Weight and bias of one layer after the other."""
    return model.parameters()


def biased(model, bias):
    weights(model)[1].value[...] = bias
    return model


def scaled(model, factor, which=0):
    weights(model)[2 * which].value *= factor
    return model


def broadcast_loss(outputs, y):
    return np.mean((outputs - y) ** 2)


def deep(factor):
    model = mlp(6, *[16] * 8, 3, activation=nn.Sigmoid)
    for parameter in model.parameters():
        parameter.value *= factor
    return model


#: The mistake, and a model, loss and batch that have it; with the optimizer and whether it is trained.
PLANTED = {
    "softmax before cross-entropy": (nn.Sequential(nn.Linear(6, 3), nn.Softmax()), losses.cross_entropy, (X, Y)),
    "(N,) against (N, 1)": (nn.Linear(6, 1), broadcast_loss, (X, Y.astype(np.float32))),
    "no gradient": (Detached(), losses.cross_entropy, (X, Y)),
    "not in the optimizer": (
        mlp(),
        losses.cross_entropy,
        (X, Y),
        vg.optim.SGD(mlp().parameters(), lr=0.1),
    ),
    "gradients not reset": (with_gradients(mlp()), losses.cross_entropy, (X, Y)),
    "dead ReLUs": (biased(mlp(), -50), losses.cross_entropy, (X, Y)),
    "saturated": (scaled(mlp(activation=nn.Sigmoid), 100), losses.cross_entropy, (X, Y)),
    "equal units": (zeros(mlp()), losses.cross_entropy, (X, Y)),
    "raw pixels": (mlp(), losses.cross_entropy, (RNG.integers(0, 256, (64, 6)).astype(np.float32), Y)),
    "sorted data": (mlp(), losses.cross_entropy, (X, np.sort(Y))),
    "summed loss": (mlp(), lambda outputs, y: losses.cross_entropy(outputs, y, "sum"), (X, Y)),
    "vanishing gradients": (deep(0.3), losses.cross_entropy, (X, Y)),
    "exploding gradients": (scaled(scaled(mlp(6, 16, 16, 3), 1e-4), 1e4, 2), losses.cross_entropy, (X, Y)),
    "first loss": (scaled(mlp(), 1000, 1), losses.cross_entropy, (X, Y)),
    "labels out of range": (mlp(), losses.cross_entropy, (X, Y + 1)),
    "evaluation in train mode": (mlp(dropout=0.5), losses.cross_entropy, (X, Y), None, False),
    "training in eval mode": (mlp(batch_norm=True).eval(), losses.cross_entropy, (X, Y)),
    "not finite": (mlp(), losses.cross_entropy, (np.where(X > 2, np.nan, X), Y)),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_mistake_is_found(kind):
    model, loss, batch, *more = PLANTED[kind]
    found = vg.doctor(model, loss, batch, *more)
    (finding, *_) = [finding for finding in found if finding.kind == kind]
    assert finding.text
    assert finding.cure
    assert kind in str(found)


#: Mistakes that bring others with them: a first loss that is far off is one of raw pixels, say.
WITH = {
    "raw pixels": {"first loss"},
    "not finite": {"first loss"},
    "dead ReLUs": {"no gradient", "vanishing gradients", "first loss"},
    "equal units": {"vanishing gradients", "dead ReLUs"},
    "vanishing gradients": set(),
    "exploding gradients": {"first loss"},
    "saturated": {"vanishing gradients"},
    "first loss": {"exploding gradients"},
}


@pytest.mark.parametrize("kind", PLANTED)
def test_nothing_else_is_found(kind):
    model, loss, batch, *more = PLANTED[kind]
    kinds = {finding.kind for finding in vg.doctor(model, loss, batch, *more)}
    assert kinds - {kind} <= WITH.get(kind, set())


#: Two mistakes in one, or a mistake and what follows from it: the cause first.
ORDER = [
    ((zeros(mlp(6, 16, 16, 3)), losses.cross_entropy, (X, Y)), ["equal units", "dead ReLUs"]),
    ((zeros(mlp()), losses.cross_entropy, (1e3 * np.abs(X), Y)), ["equal units", "dead ReLUs"]),
    ((scaled(mlp(), 1000, 1), losses.cross_entropy, (X, Y)), ["first loss", "exploding gradients"]),
    ((scaled(mlp(activation=nn.Sigmoid), 100), losses.cross_entropy, (X, Y)), ["saturated", "vanishing gradients"]),
    (
        (zeros(mlp()), losses.cross_entropy, (RNG.integers(0, 256, (64, 6)).astype(np.float32), Y)),
        ["raw pixels", "equal units", "dead ReLUs"],
    ),
    ((mlp(), losses.cross_entropy, (np.where(X > 2, np.nan, X), Y)), ["not finite", "first loss"]),
    (PLANTED["not in the optimizer"], ["not in the optimizer"]),
]


@pytest.mark.parametrize(("planted", "kinds"), ORDER, ids=lambda value: " ".join(value) if type(value) is list else "")
def test_a_cause_comes_before_what_follows_from_it(planted, kinds):
    found = vg.doctor(*planted)
    assert list(dict.fromkeys(finding.kind for finding in found)) == kinds
    assert len([finding for finding in found if finding.kind == "not in the optimizer"]) <= 1


HEALTHY = [
    *(
        Recipe(data=data, model="mlp", hidden=(64, 64), activation=activation)
        for data in ("synth", "digits", "mnist5k")
        for activation in ("relu", "sigmoid", "tanh", "gelu")
    ),
    *(
        Recipe(data="mnist5k", model=model, init=init)
        for model in ("cnn", "strided")
        for init in ("glorot_normal", "he_normal")
    ),
    *(
        Recipe(data="digits", model="mlp", hidden=(32,), loss=loss)
        for loss in ("nll", "mse", "l1", "huber", "hinge", "bce")
    ),
    Recipe(data="mnist5k", model="mlp", hidden=(64,), batch_norm=True, dropout=0.2),
    Recipe(data="digits", model="mlp", hidden=(64, 64, 64), residual=True),
    Recipe(data="mnist5k", pixels="standard", optimizer="sgd", lr=0.1),
]


@pytest.mark.parametrize("recipe", HEALTHY, ids=lambda recipe: str(recipe.changes()))
def test_it_is_silent_on_what_is_healthy(recipe):
    assert recipe.doctor() == []


def test_it_is_silent_after_training():
    model = mlp()
    vg.train.fit(model, (X, Y), epochs=3, progress=False)
    assert vg.doctor(model, losses.cross_entropy, (X, Y)) == []
    assert vg.doctor(model.eval(), losses.cross_entropy, (X, Y), training=False) == []


def test_nothing_is_changed():
    model = with_gradients(mlp(batch_norm=True, dropout=0.5))
    state, gradients = model.state_dict(), [p.grad.copy() for p in model.parameters()]
    vg.doctor(model, losses.cross_entropy, (X, Y))
    assert model.training
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


def test_where_it_is_said():
    found = vg.doctor(*PLANTED["softmax before cross-entropy"])
    assert str(found).startswith("softmax before cross-entropy in 1: cross-entropy takes logits")
    assert repr(vg.doctor(mlp(), losses.cross_entropy, (X, Y))) == "Nothing amiss was found."


REGRESSION = RNG.normal(size=(64, 1)).astype(np.float32)


def test_what_is_not_finite_is_found_wherever_it_is():
    targets = REGRESSION.copy()
    targets[0] = np.nan
    spoilt, huge = mlp(6, 8, 1), mlp(6, 8, 1)
    spoilt.parameters()[0].value[0, 0] = np.inf
    huge.parameters()[0].value *= 1e30
    for model, y in ((mlp(6, 8, 1), targets), (spoilt, REGRESSION), (huge, REGRESSION)):
        assert "not finite" in {finding.kind for finding in vg.doctor(model, losses.mse_loss, (X, y))}


class Keeping(nn.Module):
    """It keeps what it computes, and takes batches of 64 alone."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        outputs = self.linear(x.reshape(64, 6))
        self.last = outputs.value
        return outputs


def test_models_that_keep_arrays_or_take_one_size_alone():
    model = Keeping()
    assert vg.doctor(model, losses.cross_entropy, (X, Y)) == []
    assert not hasattr(model, "last")
    weights = np.ones(64)
    assert vg.doctor(mlp(), lambda o, y: (losses.cross_entropy(o, y, "none") * weights).mean(), (X, Y)) == []


def test_labels_in_a_column_or_one_hot_may_be_sorted():
    column = np.sort(REGRESSION > 0, axis=0).astype(np.float32)
    one_hot = np.eye(3, dtype=np.float32)[np.sort(Y)]
    for model, y in ((mlp(6, 8, 1), column), (mlp(6, 8, 3), one_hot)):
        assert "sorted data" in {f.kind for f in vg.doctor(model, losses.mse_loss, (X, y))}
    assert vg.doctor(mlp(6, 8, 1), losses.mse_loss, (X, np.sort(REGRESSION, axis=0))) == []


def test_what_only_looks_like_a_mistake():
    last = mlp()
    for parameter in last.parameters()[2:]:
        parameter.value[...] = 0  # as some begin
    assert vg.doctor(last, losses.cross_entropy, (X, Y)) == []
    confident = scaled(mlp(6, 16, 1), 100, 1)

    def logistic(outputs, y):
        p = vg.sigmoid(outputs)
        return -(y * np.log(p + 1e-6) + (1 - y) * np.log(1 - p + 1e-6)).mean()

    assert vg.doctor(confident, logistic, (X, (REGRESSION > 0).astype(np.float32))) == []
    whole = RNG.integers(-9, 9, 64)
    assert vg.doctor(mlp(6, 8, 2), lambda o, y: ((o[:, 0] - y) ** 2).mean(), (X, whole)) == []


def test_bad_input():
    for arguments in [(3, losses.cross_entropy, (X, Y)), (mlp(), 3, (X, Y)), (mlp(), losses.cross_entropy, X)]:
        with pytest.raises(TypeError, match="doctor takes a module, a loss function and a pair of arrays"):
            vg.doctor(*arguments)
    for batch in (({"a": X}, Y), ((X, X[:, :2]), Y), (X, None)):
        with pytest.raises((TypeError, ValueError)):
            vg.doctor(mlp(), losses.cross_entropy, batch)
    with pytest.raises(TypeError, match=r"a node of shape \(64,\), and not one number as a node: end it with"):
        vg.doctor(mlp(), lambda outputs, y: losses.cross_entropy(outputs, y, "none"), (X, Y))


def test_the_command(tmp_path):
    result = CliRunner().invoke(app, ["doctor", "--data", "digits"])
    assert result.exit_code == 0, result.output
    assert "Nothing amiss was found" in result.output
    result = CliRunner().invoke(app, ["doctor", "--data", "digits", "--init", "zeros", "--reduction", "sum"])
    assert result.exit_code == 1
    assert "equal units in 0.weight" in result.output
    assert "summed loss" in result.output
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np, vugrad as vg\n"
        "model = vg.nn.Sequential(vg.nn.Linear(2, 3), vg.nn.Softmax())\n"
        "loss = vg.losses.cross_entropy\n"
        "batch = np.eye(2), np.array([2, 1])\n"
    )
    result = CliRunner().invoke(app, ["doctor", str(path)])
    assert result.exit_code == 1
    assert "softmax before cross-entropy in 1" in result.output
    path.write_text("model = 3\n")
    with pytest.raises(ValueError, match="has no loss and no batch"):
        CliRunner().invoke(app, ["doctor", str(path)], catch_exceptions=False)
    with pytest.raises(ValueError, match="is not there"):
        CliRunner().invoke(app, ["doctor", str(tmp_path / "none.py")], catch_exceptions=False)
