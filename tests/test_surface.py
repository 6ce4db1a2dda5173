"""What a person sees at the prompt: the names after a dot, in ``help`` and by ``import *``. A change here is meant."""

import builtins
import importlib
import pydoc
import rlcompleter
import subprocess
import sys

import numpy as np
import pytest

import vugrad as vg

#: By module, all names that ``dir`` lists.
SURFACE = {
    "vugrad": """
        Add BatchMM Exp Expand Id Linear Log MatrixMultiply Module Multiply Normalize Op OpNode RowMax RowSum Select
        Sigmoid Squeeze Sub Sum TensorNode Unsqueeze __version__ celoss check compile compiler data debug doctor
        elementwise elu erf export_native export_onnx gelu get_threads grad gradcheck graph hessian initializers
        jacobian jvp leaky_relu load_mnist load_state load_synth log_softmax logceloss logsoftmax logsumexp losses nn
        no_grad ops optim prove random relu save_state seed set_threads sigmoid silu sklearn softmax softplus train
        value_and_grad view
    """,
    "vugrad.check": "Proof Report doctor gradcheck prove",
    "vugrad.compiler": "CannotCompileError Compiled Plan compile get_threads set_threads",
    "vugrad.data": "Dataset Split batches load synth",
    "vugrad.graph": "Op OpNode TensorNode as_array grad hessian is_array jacobian jvp no_grad value_and_grad",
    "vugrad.initializers": """
        INITIALIZERS fans glorot_normal glorot_uniform he_normal he_uniform normal orthogonal zeros
    """,
    "vugrad.lab": "Record Records Run Study execute",
    "vugrad.losses": """
        LOSSES binary_cross_entropy_with_logits cross_entropy hinge_loss huber_loss l1_loss mse_loss nll_loss one_hot
    """,
    "vugrad.nn": """
        ACTIVATIONS AvgPool2d BatchNorm1d BatchNorm2d Conv2d Dropout ELU Embedding Flatten GELU Identity LayerNorm LeNet
        LeakyReLU Linear LogSoftmax MLP MaxPool2d Module RandomShift ReLU Residual Sequential SiLU Sigmoid Softmax
        Softplus StridedCNN Tanh parameter
    """,
    "vugrad.ops": """
        Abs Add Arccos Arcsin Arctan AvgPool2d BatchMM BatchNorm BroadcastTo Cast Concatenate Conv2d Cos Cosh
        CrossEntropy Divide Dropout ELU Einsum Erf Exp Expand Expm1 Flip Fold GELU Id LayerNorm LeakyReLU Log Log10
        Log1p Log2 LogSoftmax LogSumExp MatrixMultiply Max MaxPool2d Maximum Mean Min Minimum Multiply Negative
        Normalize Op Pad Power ReLU Reciprocal Reshape RowMax RowSum Scatter Select SiLU Sigmoid Sin Sinh Slice Softmax
        Softplus Sqrt Square Squeeze Stack Sub Sum Take TakeAlongAxis Tan Tanh TensorNode Transpose Unfold Unsqueeze Var
        Where chain contract elementwise elu erf fold gelu leaky_relu log_softmax logsumexp np pick random_bits relu
        scatter silu softplus sum_to supported unfold
    """,
    "vugrad.optim": """
        Adagrad Adam AdamW CosineAnnealingLR LRScheduler LinearLR OneCycleLR Optimizer RMSProp RMSprop SGD SequentialLR
        StepLR clip_grad_norm_
    """,
    "vugrad.random": "drawn_from generator seed seeded",
    "vugrad.sklearn": "Classifier",
    "vugrad.train": """
        Callback EagerWarning EarlyStopping Epoch History Run confusion_matrix evaluate fit load_checkpoint predict
        save_checkpoint
    """,
    "vugrad.viewer": "NotFiniteError OverwrittenError View debug view",
}


@pytest.mark.parametrize("name", SURFACE)
def test_the_public_surface_is_as_it_is_written_down(name):
    module = importlib.import_module(name)
    assert dir(module) == sorted(SURFACE[name].split())
    assert [key for key in dir(module) if not hasattr(module, key)] == []


def test_tab_after_the_dot_offers_what_a_person_uses():
    complete = rlcompleter.Completer({"vg": vg}).attr_matches
    offered = {text.removeprefix("vg.").rstrip("()") for text in complete("vg.")}
    assert {"prove", "view", "train", "data", "compile", "save_state", "doctor", "sklearn", "nn"} <= offered
    assert not offered & {"Any", "TYPE_CHECKING", "importlib", "course", "suggest"}
    assert complete("vg.sav") == ["vg.save_state("]
    assert complete("vg.optim.SG") == ["vg.optim.SGD("]


def test_star_hides_nothing():
    code = (
        "data = random = compile = train = nn = 'mine'\nbefore = dict(globals())\nfrom vugrad import *\n"
        "print({key for key in before if globals()[key] is not before[key]})"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    others = {*dir(builtins), *sys.stdlib_module_names, *dir(np), "data", "train"}
    assert not others & {*vg.__all__}
    assert set(vg.__all__) < {*dir(vg)}
    assert [name for name in vg.__all__ if isinstance(getattr(vg, name), type(sys))] == []


def test_help_says_what_there_is():
    missing = [name for name in dir(vg) if name != "__version__" and name not in vg.__doc__.replace(",", " ").split()]
    assert missing == []
    text = pydoc.render_doc(vg, renderer=pydoc.plaintext)
    assert "class TensorNode" in text
    assert "gradcheck(" in text


def test_what_needs_an_extra_is_not_offered_without_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("sympy", "sklearn") else find(name))
    assert {*SURFACE["vugrad"].split()} - {*dir(vg)} == {"prove", "sklearn"}
    assert dir(vg.check) == ["Report", "doctor", "gradcheck"]
