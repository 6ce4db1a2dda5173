"""What a person at the prompt is told: by call, the error, words that it must have, and words that it must not."""

import numpy as np
import pytest
import scipy.sparse
from numpy.exceptions import AxisError

import vugrad as vg
from vugrad import losses, nn, optim, train
from vugrad.data import Dataset

BCE = losses.binary_cross_entropy_with_logits
X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)
Y = np.array([0, 1, 2, 0, 1, 2])
#: How NumPy and Python speak of what happened below.
NOT = ("gufunc", "core dimension", "unpack", "object has no attribute", "not supported between", "not subscriptable")


def node(*shape):
    return vg.TensorNode(np.ones(shape))


def image(*shape):
    return np.zeros(shape, np.float32)


def net(outputs=3):
    return nn.MLP([4, 5, outputs])


def fit(*data, model=None, **settings):
    model = net() if model is None else model
    return train.fit(model, *data, **{"epochs": 1, "progress": False, "compile": False, **settings})


def adam():
    return optim.Adam(net().parameters())


LAYERS = {
    "features": (lambda: net()(image(6, 7)), ValueError, "Linear(4, 5) takes shape (…, 4), got (6, 7)", "Linear(7, 5)"),
    "features of the course's": (lambda: vg.Linear(4, 2)(image(6, 7)), ValueError, "Linear(4, 2)", "got (6, 7)"),
    "one row": (lambda: net()(X[0]), ValueError, "MLP takes shape (N, 4), got (4,)", "x[None]"),
    "a number": (lambda: nn.Linear(4, 2)(np.float32(3)), ValueError, "got (): give it 4 features"),
    "nothing": (lambda: net()(None), TypeError, "a node holds numbers, not objects such as None"),
    "text": (lambda: net()("abc"), TypeError, "a node holds numbers, not text such as"),
    "objects": (lambda: net()(X.astype(object)), TypeError, "not objects"),
    "sparse": (lambda: net()(scipy.sparse.csr_matrix(X)), TypeError, "csr_matrix is sparse", "x.toarray()"),
    "channels": (lambda: nn.Conv2d(3, 4, 3)(image(2, 1, 8, 8)), ValueError, "got (2, 1, 8, 8): write Conv2d(1, …)"),
    "channels last": (lambda: nn.Conv2d(3, 4, 3)(image(2, 8, 8, 3)), ValueError, "x.transpose(0, 3, 1, 2)"),
    "no channels": (lambda: nn.Conv2d(1, 4, 3)(image(2, 28, 28)), ValueError, "got (2, 28, 28)", "x[:, None]"),
    "rows for images": (lambda: nn.LeNet()(image(2, 784)), ValueError, "got (2, 784)", "x.reshape(-1, 1, 28, 28)"),
    "one image": (lambda: nn.Conv2d(1, 4, 3)(image(28, 30)), ValueError, "x[None, None] for one image"),
    "small images": (lambda: nn.Conv2d(1, 4, 5)(image(2, 1, 3, 3)), ValueError, "5x5 does not fit into images of 3x3"),
    "unbatched pooling": (lambda: nn.MaxPool2d(2)(image(3, 8, 8)), ValueError, "MaxPool2d", "got (3, 8, 8)", "x[None]"),
    "pooling of an image": (lambda: nn.AvgPool2d(2)(image(8, 8)), ValueError, "AvgPool2d", "got (8, 8)"),
    "pooling op": (
        lambda: vg.ops.MaxPool2d.do_forward(image(3, 8, 8), kernel=(2, 2), stride=(2, 2)),
        ValueError,
        "four",
    ),
    "large pooling": (lambda: nn.AvgPool2d(9)(image(1, 2, 8, 8)), ValueError, "9x9 does not fit into images of 8x8"),
    "batch norm": (lambda: nn.BatchNorm1d(4)(image(5, 3)), ValueError, "(N, 4)", "got (5, 3): write BatchNorm1d(3)"),
    "batch norm axes": (lambda: nn.BatchNorm2d(4)(image(5, 4)), ValueError, "BatchNorm2d(4)", "got (5, 4)"),
    "layer norm": (lambda: nn.LayerNorm(4)(image(5, 3)), ValueError, "got (5, 3): write LayerNorm((3,))"),
    "embedding": (lambda: nn.Embedding(5, 2)(np.array([7])), ValueError, "7 is not one of the symbols 0 to 4"),
    "shift": (lambda: nn.RandomShift(1)(image(2, 8, 8)), ValueError, "RandomShift", "got (2, 8, 8)", "x[:, None]"),
    "flatten": (lambda: nn.Flatten()(np.float32(1)), ValueError, "Flatten takes shape (N, …), got ()"),
    "residual": (lambda: nn.Residual(nn.Linear(4, 3))(X), ValueError, "made (6, 3) of (6, 4)"),
}
ARGUMENTS = {
    "Linear(5, -1)": (lambda: nn.Linear(5, -1), ValueError, "Linear: out_features is a whole number from 1 on, got -1"),
    "Linear(5.0, 2)": (
        lambda: nn.Linear(5.0, 2),
        TypeError,
        "Linear: in_features is a whole number from 1 on, got 5.0",
    ),
    "Linear('5', 2)": (lambda: nn.Linear("5", 2), TypeError, "Linear: in_features", "got '5'"),
    "vg.Linear(5, -1)": (
        lambda: vg.Linear(5, -1),
        ValueError,
        "Linear: output_size is a whole number from 1 on, got -1",
    ),
    "vg.Linear(5.0, 2)": (lambda: vg.Linear(5.0, 2), TypeError, "Linear: input_size", "got 5.0"),
    "Linear of integers": (
        lambda: nn.Linear(5, 2, dtype=int),
        TypeError,
        "Linear: dtype must be a floating-point dtype",
    ),
    "init by name": (
        lambda: nn.Linear(5, 2, init="he"),
        TypeError,
        "init must be a function, such as vg.initializers.he_normal",
    ),
    "rng by seed": (lambda: nn.Linear(5, 2, rng=3), TypeError, "rng must be a generator", "default_rng"),
    "MLP(5, 2)": (
        lambda: nn.MLP(5, 2),
        TypeError,
        "MLP: sizes must be a list of numbers of features, as in MLP([5, 2]), got 5",
    ),
    "MLP('abc')": (lambda: nn.MLP("abc"), TypeError, "MLP: sizes must be a list of numbers of features"),
    "MLP([5, 2.5])": (lambda: nn.MLP([5, 2.5]), TypeError, "MLP: sizes[1]", "got 2.5"),
    "MLP([5, 0, 2])": (lambda: nn.MLP([5, 0, 2]), ValueError, "MLP: sizes[1]", "got 0"),
    "activation by name": (lambda: nn.MLP([5, 4, 2], "relu"), TypeError, "as vg.nn.ReLU or", "got 'relu'"),
    "activation made": (
        lambda: nn.MLP([5, 4, 2], nn.ReLU()),
        TypeError,
        "activation must return a module",
        "got ReLU()",
    ),
    "activation function": (lambda: nn.MLP([5, 4, 2], np.tanh), TypeError, "activation must return a module", "tanh"),
    "activation op": (lambda: nn.LeNet(activation=vg.ops.ReLU), TypeError, "LeNet: activation must return a module"),
    "image_shape": (lambda: nn.LeNet(10, (28, 28)), ValueError, "image_shape must be (channels, rows, columns)"),
    "num_classes": (lambda: nn.StridedCNN("a"), TypeError, "StridedCNN: num_classes", "got 'a'"),
    "kernel_size": (lambda: nn.Conv2d(1, 2, 3.0), TypeError, "kernel_size=3.0", "or two, for rows"),
    "padding": (lambda: nn.Conv2d(1, 2, 3, padding="same"), TypeError, "padding='same'"),
    "three extents": (lambda: nn.MaxPool2d((3, 3, 3)), ValueError, "kernel_size=(3, 3, 3)"),
    "BatchNorm1d(-1)": (lambda: nn.BatchNorm1d(-1), ValueError, "BatchNorm1d: num_features", "got -1"),
    "LayerNorm(2.5)": (lambda: nn.LayerNorm(2.5), TypeError, "LayerNorm: normalized_shape", "got 2.5"),
    "Embedding(3, 2.0)": (lambda: nn.Embedding(3, 2.0), TypeError, "Embedding: embedding_dim", "got 2.0"),
    "Dropout('a')": (lambda: nn.Dropout("a"), TypeError, "the share of dropped elements", "got 'a'"),
    "RandomShift(1.5)": (lambda: nn.RandomShift(1.5), TypeError, "RandomShift: pixels", "got 1.5"),
    "Sequential([…])": (lambda: nn.Sequential([nn.ReLU()]), TypeError, "Sequential(*modules)"),
    "Sequential(Linear)": (lambda: nn.Sequential(nn.Linear), TypeError, "Linear is a class: write Linear(…)"),
    "ReLU(x)": (lambda: nn.ReLU(node(2)), TypeError, "ReLU is a layer", "write ReLU()(x)"),
    "an op called": (lambda: vg.ops.ReLU(node(2)), TypeError, "ReLU is an op", "ReLU.do_forward(x)"),
    "seed('a')": (lambda: vg.seed("a"), TypeError, "a seed is a whole number from 0 on, got 'a'"),
    "seed(1.5)": (lambda: vg.seed(1.5), TypeError, "a seed is a whole number from 0 on, got 1.5"),
    "seed(-1)": (lambda: vg.seed(-1), ValueError, "a seed is a whole number from 0 on, got -1"),
    "no parameters": (lambda: optim.SGD([]), ValueError, "there are no parameters to train"),
    "a model": (lambda: optim.SGD(net()), TypeError, "pass its parameters, model.parameters()"),
    "lr=-1": (lambda: optim.SGD(net().parameters(), lr=-1), ValueError, "lr=-1 is out of range"),
    "lr='a'": (lambda: optim.SGD(net().parameters(), lr="a"), TypeError, "lr must be a number, not 'a'"),
    "betas": (
        lambda: optim.Adam(net().parameters(), betas=0.9),
        TypeError,
        "betas must be two numbers, as in (0.9, 0.999)",
    ),
    "a schedule of a rate": (lambda: optim.StepLR(0.1, 3), TypeError, "make the optimizer first"),
    "compile(3)": (lambda: vg.compile(3), TypeError, "vg.compile takes a function or a module, and not int"),
    "compiled inv": (lambda: vg.compile(np.linalg.inv)(np.eye(2)), vg.compiler.CannotCompileError, "np.linalg.inv"),
    "a function": (lambda: vg.grad(3), TypeError, "vg.grad takes a function"),
    "jvp of an array": (
        lambda: vg.jvp(np.square, np.ones(3), np.ones(3)),
        TypeError,
        "write vg.jvp(f, (x,), (direction,))",
    ),
    "argnums": (lambda: vg.grad(np.sum, np.ones(3)), TypeError, "as in vg.grad(f)(x)"),
    "argnums too far": (lambda: vg.grad(np.sum, argnums=1)(1.0), IndexError, "argnums is 1", "with 1 positional"),
    "not one number": (
        lambda: vg.grad(lambda x: x * 2)(np.ones(3)),
        ValueError,
        "returned shape (3,)",
        "return its sum",
    ),
    "threads": (lambda: vg.set_threads("a"), TypeError, "set_threads: n is a whole number from 1 on, got 'a'"),
}
NODES = {
    "TensorNode('abc')": (lambda: vg.TensorNode("abc"), TypeError, "not text such as", "'abc'"),
    "TensorNode(None)": (lambda: vg.TensorNode(None), TypeError, "not objects such as None"),
    "TensorNode({})": (lambda: vg.TensorNode({"a": 1}), TypeError, "not objects"),
    "TensorNode of dates": (lambda: vg.TensorNode(np.array(["2020-01-01"], "M8[D]")), TypeError, "not dates"),
    "TensorNode of objects": (lambda: vg.TensorNode(np.array([None, 1])), TypeError, "replace None"),
    "ragged": (lambda: vg.TensorNode([[1, 2], [3]]), ValueError, "its rows differ in length"),
    "sparse node": (lambda: vg.TensorNode(scipy.sparse.csr_matrix(X)), TypeError, "x.toarray()"),
    "x + 'a'": (lambda: node(2) + "a", TypeError, "not text"),
    "x + None": (lambda: node(2) + None, TypeError, "not objects such as None"),
    "flatten": (lambda: node(2, 3).flatten(), AttributeError, "a node has no 'flatten': write x.reshape(-1)"),
    "ravel": (lambda: node(2, 3).ravel(), AttributeError, "write np.ravel(x"),
    "std": (lambda: node(2, 3).std(), AttributeError, "write np.std(x"),
    "exp": (lambda: node(2, 3).exp(), AttributeError, "write np.exp(x)"),
    "view": (lambda: node(2, 3).view(6), AttributeError, "write x.reshape(…)"),
    "numpy": (lambda: node(2, 3).numpy(), AttributeError, "write x.value"),
    "relu": (lambda: node(2, 3).relu(), AttributeError, "write vg.relu(x)"),
    "unsqueeze": (lambda: node(2, 3).unsqueeze(0), AttributeError, "write np.expand_dims(x, axis)"),
    "tolist": (lambda: node(2, 3).tolist(), AttributeError, "x.value.tolist"),
    "a typing mistake": (lambda: node(2, 3).gard, AttributeError, "did you mean x.grad?"),
    "nothing near": (lambda: node(2, 3).xyz, AttributeError, "a node has no 'xyz'"),
    "size": (lambda: node(2, 3).size(5), IndexError, "size(5)", "shape (2, 3), and no axis 5"),
    "item": (lambda: node(2, 3).item(), ValueError, "shape (2, 3), and is not one number"),
    "pickle": (lambda: (node(2) * 2).__reduce_ex__(2), TypeError, "part of a graph", "save node.value", "!weakref"),
    "format": (lambda: f"{node(3):.3f}", ValueError, "shape (3,), and is not one number"),
    "if x": (lambda: bool(node(3)), ValueError, "shape (3,)", "(x > 0).any()"),
    "backward": (
        lambda: node(2, 3).backward(),
        ValueError,
        "backward() starts from one number",
        "loss.sum().backward()",
    ),
    "product": (lambda: node(2, 3) @ node(2, 3), ValueError, "(2, 3) and (2, 3): their extents do not fit", "x @ y.T"),
    "x[0] = 1": (lambda: node(2).__setitem__(0, 1), TypeError, "cannot be written into", "np.where"),
    "transpose": (lambda: node(2, 3).transpose(0), ValueError, "axes (0,) must name all 2 axes, and name 1"),
    "axis of a number": (lambda: np.sum(node(), axis=0), AxisError, "Sum of shapes (): there is no axis 0", "number"),
    "max of a number": (lambda: np.max(node(), axis=-1), AxisError, "Max of shapes (): there is no axis -1"),
    "mean of a number": (lambda: node().mean(axis=0), AxisError, "Mean of shapes (): there is no axis 0"),
    "softmax of a number": (lambda: nn.Softmax()(node()), AxisError, "Softmax of shapes (): there is no axis -1"),
    "log_softmax of a number": (lambda: vg.log_softmax(node()), AxisError, "LogSoftmax of shapes ()", "no axis"),
    "logsumexp of a number": (lambda: vg.logsumexp(node(), axis=0), AxisError, "there is no axis 0"),
    "flip of a number": (lambda: np.flip(node(), axis=0), AxisError, "Flip of shapes (): there is no axis 0"),
    "take of a number": (lambda: np.take(node(), [0], axis=0), AxisError, "there is no axis 0"),
    "join of numbers": (lambda: np.concatenate([node(), node()]), ValueError, "Concatenate", "np.stack"),
    "axis too far": (lambda: node(3).sum(axis=2), AxisError, "axis 2 is out of bounds"),
    "linalg.inv": (lambda: np.linalg.inv(node(2, 2)), TypeError, "np.linalg.inv does not", "np.linalg.norm", "!np.sin"),
    "cross": (
        lambda: np.cross(node(3), node(3)),
        TypeError,
        "np.cross does not work on nodes",
        "supported()",
        "!np.cos",
    ),
    "median": (lambda: np.median(node(3)), TypeError, "Similar ones that do: np.mean."),
    "cumprod": (lambda: np.cumprod(node(3)), TypeError, "Similar ones that do: np.prod."),
    "percentile": (lambda: np.percentile(node(3), 5), TypeError, "np.percentile does not", "!np.tile"),
    "vg.MLP": (lambda: vg.MLP, AttributeError, "write vg.nn.MLP"),
    "vg.fit": (lambda: vg.fit, AttributeError, "write vg.train.fit"),
    "vg.load": (lambda: vg.load, AttributeError, "write vg.data.load"),
    "vg.Tensor": (lambda: vg.Tensor, AttributeError, "did you mean vg.TensorNode?"),
    "vg.xyz": (lambda: vg.xyz, AttributeError, "module 'vugrad' has no attribute 'xyz'", "!did you mean"),
}
TRAINING = {
    "x alone": (lambda: fit(X), TypeError, "fit(model, (x, y))"),
    "no targets": (lambda: fit((X, None)), TypeError, "train.y is None"),
    "data first": (lambda: train.fit(X, Y, net()), TypeError, "fit: model must be a vg.nn.Module", "got ndarray"),
    "a class": (lambda: fit((X, Y), model=nn.MLP), TypeError, "got the class MLP"),
    "a list of layers": (lambda: fit((X, Y), model=[nn.Linear(4, 3)]), TypeError, "fit: model must be a vg.nn.Module"),
    "nothing to train": (lambda: fit((X, Y), model=nn.Sequential(nn.ReLU())), ValueError, "no parameters to train"),
    "dataset and targets": (lambda: fit(Dataset((X, Y)), Y), TypeError, "a Dataset has its targets"),
    "two pairs": (lambda: fit(((X, Y), (X, Y))), TypeError, "vg.data.Dataset((x, y), validation="),
    "sparse data": (lambda: fit(scipy.sparse.csr_matrix(X), Y), TypeError, "train.x is sparse", "x.toarray()"),
    "ragged data": (lambda: fit([[1, 2], [3]], [0, 1]), ValueError, "train.x is not an array"),
    "nodes": (lambda: fit((vg.TensorNode(X), Y)), TypeError, "node.value"),
    "lengths": (lambda: fit((X, Y[:4])), ValueError, "train.x has 6 instances", "train.y has 4"),
    "empty": (lambda: fit((X[:0], Y[:0])), ValueError, "at least one instance"),
    "NaN": (lambda: fit((X * np.nan, Y)), ValueError, "train.x[0, 0] is nan"),
    "features": (lambda: fit((X[:, :2], Y)), ValueError, "Linear(4, 5)", "got (6, 2)"),
    "text labels": (lambda: fit((X, np.array(list("abcabc")))), TypeError, "np.unique(y, return_inverse=True)[1]"),
    "float labels": (lambda: fit((X, Y * 1.0)), ValueError, "write targets.astype(int)"),
    "one-hot": (lambda: fit((X, np.eye(3)[Y])), ValueError, "targets.argmax(axis=1)"),
    "one-hot integers": (lambda: fit((X, np.eye(3, dtype=int)[Y])), ValueError, "y.argmax(axis=1)", "np.float32"),
    "labels from 1": (lambda: fit((X, Y + 1)), ValueError, "target 3 at", "classes 0 to 2", "count the classes from 0"),
    "labels below 0": (lambda: fit((X, Y - 1)), ValueError, "train.y[0] is -1"),
    "one output": (lambda: fit((X, Y % 2), model=net(1)), ValueError, "binary_cross_entropy_with_logits"),
    "three classes": (
        lambda: fit((X, Y), model=net(1), loss=BCE),
        ValueError,
        "targets must be from 0 to 1",
        "got 0.0 to 2.0",
    ),
    "labels for mse": (
        lambda: fit((X, Y), model=net(1), loss=losses.mse_loss),
        ValueError,
        "targets.reshape(6, 1).astype(np.float32)",
    ),
    "loss of a number": (
        lambda: fit((X, Y), loss=lambda outputs, targets: 1.0),
        TypeError,
        "the loss <lambda> returned float, and not a node: compute the loss from the outputs",
    ),
    "loss of nothing": (lambda: fit((X, Y), loss=lambda outputs, targets: None), TypeError, "returned NoneType"),
    "loss of an array": (
        lambda: fit((X, Y), loss=lambda outputs, targets: (outputs.value**2).mean(), compile=False),
        TypeError,
        "returned float32, and not a node",
    ),
    "loss of each instance": (
        lambda: fit((X, Y), loss=lambda outputs, targets: outputs**2),
        ValueError,
        "the loss <lambda> returned shape (6, 3), and not one number: return its mean over the batch",
    ),
    "evaluated loss of a number": (
        lambda: vg.train.evaluate(net(), (X, Y), lambda outputs, targets: 1.0),
        TypeError,
        "the loss <lambda> returned float",
    ),
    "loss by name": (lambda: fit((X, Y), loss="mse"), TypeError, "vg.losses.mse_loss, got 'mse'"),
    "loss spelled wrong": (lambda: fit((X, Y), loss="crossentropy"), TypeError, "vg.losses.cross_entropy"),
    "optimizer by name": (lambda: fit((X, Y), optimizer="adam"), TypeError, "vg.optim.SGD(model.parameters())"),
    "optimizer of another": (lambda: fit((X, Y), optimizer=adam()), ValueError, "no parameter of this model"),
    "schedule by name": (lambda: fit((X, Y), schedule="cosine"), TypeError, "made with the optimizer", "got 'cosine'"),
    "epochs=0": (lambda: fit((X, Y), epochs=0), ValueError, "fit: epochs is a whole number from 1 on, got 0"),
    "epochs=-1": (lambda: fit((X, Y), epochs=-1), ValueError, "fit: epochs", "got -1"),
    "epochs=1.5": (lambda: fit((X, Y), epochs=1.5), TypeError, "fit: epochs", "got 1.5"),
    "epochs='3'": (lambda: fit((X, Y), epochs="3"), TypeError, "fit: epochs", "got '3'"),
    "batch_size=0": (lambda: fit((X, Y), batch_size=0), ValueError, "fit: batch_size", "got 0"),
    "batch_size=8.0": (lambda: fit((X, Y), batch_size=8.0), TypeError, "fit: batch_size", "got 8.0"),
    "seed='a'": (lambda: fit((X, Y), seed="a"), TypeError, "a seed is a whole number from 0 on, got 'a'"),
    "max_norm='a'": (lambda: fit((X, Y), max_norm="a"), TypeError, "max_norm=a"),
    "history={}": (lambda: fit((X, Y), history={}), TypeError, "fit: history"),
    "a function": (lambda: fit((X, Y), callbacks=[print]), TypeError, "vg.train.Callback", "on_epoch_end(self, run)"),
    "function, no list": (lambda: fit((X, Y), callbacks=print), TypeError, "vg.train.Callback"),
    "no list": (lambda: fit((X, Y), callbacks=train.EarlyStopping(3)), TypeError, "callbacks=[EarlyStopping(…)]"),
    "a class for a callback": (
        lambda: fit((X, Y), callbacks=[train.EarlyStopping]),
        TypeError,
        "write EarlyStopping(…)",
    ),
    "history['val_loss']": (lambda: train.History()["val_loss"], KeyError, "did you mean 'validation_loss'"),
    "history[0]": (lambda: train.History()[0], KeyError, "must be a name", "history.epochs"),
    "evaluate(net, x, y)": (lambda: train.evaluate(net(), X, Y), TypeError, "evaluate(model, (x, y))"),
    "evaluate a dataset": (lambda: train.evaluate(net(), Dataset((X, Y))), TypeError, "data.validation"),
    "predict one": (lambda: train.predict(net(), X[0]), ValueError, "x[None]"),
    "predict none": (lambda: train.predict(net(), X[:0]), ValueError, "nothing to cut into batches"),
    "doctor without a batch": (lambda: vg.doctor(net(), BCE, X), TypeError, "vg.doctor(model, loss, (x, y))"),
    "dataset": (lambda: vg.data.load("mnits"), ValueError, "did you mean 'mnist'"),
    "dataset by number": (lambda: vg.data.load(3), TypeError, "must be a name"),
    "reduction": (lambda: losses.cross_entropy(node(2, 3), [0, 1], "avg"), ValueError, "no reduction 'avg'"),
    "one_hot": (lambda: losses.one_hot(Y, 2), ValueError, "from 0 to 1", "from 0 to 2"),
    "no file": (lambda: vg.load_state(net(), "nothere.safetensors"), FileNotFoundError, "nothere.safetensors"),
    "path first": (lambda: vg.load_state("a.safetensors", net()), TypeError, "vg.load_state(net, 'net.safetensors')"),
    "path first, saving": (lambda: vg.save_state("a", net()), TypeError, "vg.save_state(net, 'net.safetensors')"),
    "not a state": (lambda: net().load_state_dict("a"), TypeError, "vg.load_state(net, path)"),
    "not a file of ours": (lambda: vg.load_state(net(), __file__), ValueError, "neither a safetensors file nor"),
}


@pytest.mark.parametrize(
    "table", [LAYERS, ARGUMENTS, NODES, TRAINING], ids=["layers", "arguments", "nodes", "training"]
)
def test_messages_say_what_to_write(table):
    """All of a table at once: what each says is short, in the caller's words."""
    faults = []
    for name, (call, kind, *words) in table.items():
        try:
            call()
        except Exception as error:
            said = error.args[0] if isinstance(error, KeyError) else str(error)
            lacks = [word for word in words if word[0] != "!" and word not in said]
            has = [word for word in (*NOT, *(word[1:] for word in words if word[0] == "!")) if word in said]
            if type(error) is not kind or lacks or has or len(said) > 360:
                faults.append(f"{name}: {type(error).__name__}: {said} (lacks {lacks}, has {has})")
        else:
            faults.append(f"{name}: no error")
    assert not faults, "\n".join(faults)


# --- what just works


def test_fit_takes_x_and_y_as_a_pair_or_one_by_one():
    vg.seed(0)
    pair, apart = net(), net()
    apart.load_state_dict(pair.state_dict())
    one, other = fit((X, Y), model=pair, seed=1), fit(X.tolist(), Y.tolist(), model=apart, seed=1)
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)


LABELS = {
    "integers": lambda y: y,
    "a column of integers": lambda y: y[:, None],
    "booleans": lambda y: y.astype(bool),
    "floats": lambda y: y.astype(np.float32),
    "a column of floats": lambda y: y[:, None].astype(np.float32),
}


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("labels", LABELS)
def test_binary_classification_works_with_labels_as_they_come(labels, compile):
    """Class 1 where the sum of the features is above 0: learnt, with the loss and accuracy of a computation by hand."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype(np.float32)
    truth = (x.sum(axis=1) > 0).astype(int)
    y = LABELS[labels](truth)
    model = nn.Linear(4, 1, rng=np.random.default_rng(1))
    settings = {"loss": BCE, "epochs": 40, "batch_size": 24, "seed": 0, "compile": compile}
    settings["optimizer"] = optim.Adam(model.parameters(), lr=0.1)
    history = fit(Dataset((x, y), validation=(x, y)), model=model, **settings)
    logits = x @ model.weight.value[0] + model.bias.value[0]
    assert history["validation_accuracy"][-1] == np.mean((logits > 0) == truth) >= 0.95
    assert history["accuracy"][-1] > 0.9
    by_hand = np.mean(np.logaddexp(0, np.where(truth, -logits, logits)))
    assert history["validation_loss"][-1] == pytest.approx(by_hand, rel=1e-5)
    assert train.evaluate(model, (x, y), BCE) == pytest.approx((by_hand, np.mean((logits > 0) == truth)), rel=1e-5)
    assert not vg.doctor(nn.Linear(4, 1), BCE, (x, y))
    if y.dtype.kind in "bi":
        data = Dataset((x, y))
        assert train.confusion_matrix(model, data, data.train).trace() == np.count_nonzero((logits > 0) == truth)


def test_the_loss_of_labels_has_the_dtype_of_the_outputs():
    outputs = vg.TensorNode(np.zeros((3, 1), np.float32))
    assert BCE(outputs, np.array([0, 1, 1])).dtype == np.float32
    assert BCE(outputs, vg.TensorNode(np.array([[0], [1], [1]]))).item() == pytest.approx(np.log(2))


def test_a_single_output_has_no_accuracy_under_another_loss():
    y = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]], np.float32)
    assert train.evaluate(net(1), (X, y), losses.mse_loss)[1] is None
    labels = lambda outputs, targets: BCE(outputs, targets)  # noqa: E731
    assert train.evaluate(net(1), (X, y[:, 0].astype(int)), labels)[1] is None


def test_one_number_is_formatted_as_a_number():
    assert f"{vg.TensorNode(0.12345):.3f}" == "0.123"
    assert f"{vg.TensorNode([2.5]):>6}" == "   2.5"
    assert f"{node(3)}" == str(node(3))


def test_lists_are_arrays_to_networks_and_losses():
    model = net()
    np.testing.assert_allclose(model(X.tolist()).value, model(X).value, rtol=1e-5)
    assert train.predict(model, X.tolist()).shape == (6, 3)
    assert losses.cross_entropy(np.zeros((2, 4)).tolist(), [1, 2]).item() == pytest.approx(np.log(4))


TAKEN = [((1, 1), (3, 4), 1), ((3, 1), (1, 4), 1), ((2, 1, 3), (1, 5, 3), 1), ((5, 1), (4, 3), 0), ((2, 1), (2, 3), -1)]


@pytest.mark.parametrize(("indices", "shape", "axis"), TAKEN)
def test_take_along_axis_repeats_as_numpy_does(indices, shape, axis):
    rng = np.random.default_rng(0)
    x, at = rng.normal(size=shape), rng.integers(0, shape[axis], indices)
    y = np.take_along_axis(x, at, axis=axis)
    w = rng.normal(size=y.shape)
    taken = vg.TensorNode(x)
    result = np.take_along_axis(taken, at, axis=axis)
    assert result.value.tolist() == y.tolist()
    (result * w).sum().backward()
    units = np.eye(x.size).reshape(-1, *shape)
    by_units = [np.sum(np.take_along_axis(unit, at, axis=axis) * w) for unit in units]
    np.testing.assert_allclose(taken.grad.ravel(), by_units, atol=1e-12)


def test_an_in_place_sum_is_another_node():
    x = vg.TensorNode([1.0, 2.0])
    y = x
    y += 1
    y.sum().backward()
    assert (x.value.tolist(), y.value.tolist(), x.grad.tolist()) == ([1, 2], [2, 3], [1, 1])


def test_a_summary_takes_features_as_a_number():
    assert net().summary(4) == net().summary((4,))


def test_asking_whether_a_node_has_something_is_no_error():
    x = node(2)
    assert not hasattr(x, "flatten")
    assert not hasattr(x, "__cuda_array_interface__")
    with pytest.raises(AttributeError, match="a node has no attribute '_x'"):
        x._x  # noqa: B018
