import math

import numpy as np
import pytest

from vugrad import optim
from vugrad.graph import TensorNode


def node(values=(1.0, 2.0), name=None):
    return TensorNode(np.array(values), name=name)


class Model:
    def parameters(self):
        return [node()]


x = node(name="w")
sgd = optim.SGD([x])
state = sgd.state_dict()
schedule = optim.StepLR(optim.SGD([x]), 2)

ERRORS = {
    "empty": (lambda: optim.SGD([]), ValueError, "the list is empty"),
    "used up": (lambda: optim.Adam(p for p in ()), ValueError, "looped over before is used up"),
    "model": (lambda: optim.SGD(Model()), TypeError, r"params is a Model: .*model\.parameters\(\)"),
    "model in list": (lambda: optim.SGD([Model()]), TypeError, r"params\[0\] is a Model: .*model\.parameters\(\)"),
    "method": (lambda: optim.SGD(Model().parameters), TypeError, r"params is a method: .*model\.parameters\(\)"),
    "node": (lambda: optim.SGD(x), TypeError, "params is a TensorNode: put it in a list"),
    "array": (lambda: optim.SGD([x, np.ones(2)]), TypeError, r"params\[1\] is a ndarray: pass a list of TensorNodes"),
    "integers": (lambda: optim.SGD([node((1, 2), "n")]), TypeError, r"params\[0\] \(n\) holds int64.*astype\(np.float"),
    "twice": (lambda: optim.SGD([node(), x, x]), ValueError, r"params\[2\] \(w\) is params\[1\] again"),
    "lr": (lambda: optim.SGD([x], lr=-0.1), ValueError, r"lr=-0.1 is out of range.*\[0, inf\)"),
    "lr nan": (lambda: optim.SGD([x], lr=math.nan), ValueError, "lr=nan is out of range"),
    "lr text": (lambda: optim.SGD([x], lr="0.1"), TypeError, "lr must be a number, not '0.1'"),
    "momentum": (lambda: optim.SGD([x], momentum=-1), ValueError, "momentum=-1 is out of range"),
    "dampening": (lambda: optim.SGD([x], dampening=-1), ValueError, "dampening=-1 is out of range"),
    "weight_decay": (lambda: optim.SGD([x], weight_decay=-1), ValueError, "weight_decay=-1 is out of range"),
    "nesterov": (lambda: optim.SGD([x], nesterov=True), ValueError, "it needs a momentum, as in"),
    "nesterov dampened": (
        lambda: optim.SGD([x], momentum=0.9, dampening=0.1, nesterov=True),
        ValueError,
        "and no dampening",
    ),
    "beta 1": (lambda: optim.Adam([x], betas=(1.0, 0.9)), ValueError, r"betas\[0\]=1.0 is out of range.*\[0, 1\)"),
    "beta 2": (lambda: optim.AdamW([x], betas=(0.9, -1)), ValueError, r"betas\[1\]=-1 is out of range"),
    "eps": (lambda: optim.Adam([x], eps=-1), ValueError, "eps=-1 is out of range"),
    "alpha": (lambda: optim.RMSprop([x], alpha=1.5), ValueError, "alpha=1.5 is out of range"),
    "rms momentum": (lambda: optim.RMSprop([x], momentum=-1), ValueError, "momentum=-1 is out of range"),
    "rms eps": (lambda: optim.RMSprop([x], eps=-1), ValueError, "eps=-1 is out of range"),
    "lr_decay": (lambda: optim.Adagrad([x], lr_decay=-1), ValueError, "lr_decay=-1 is out of range"),
    "adagrad eps": (lambda: optim.Adagrad([x], eps=-1), ValueError, "eps=-1 is out of range"),
    "no rule": (lambda: optim.Optimizer([x], lr=1).step(), NotImplementedError, "Optimizer has no rule"),
    "state keys": (lambda: sgd.load_state_dict({"w": 1}), ValueError, "not the state_dict .* keys are w"),
    "state lr": (lambda: sgd.load_state_dict(state | {"lr": -1}), ValueError, "lr=-1 is out of range"),
    "state initial_lr": (lambda: sgd.load_state_dict(state | {"initial_lr": "a"}), TypeError, "initial_lr must be a"),
    "state step": (lambda: sgd.load_state_dict(state | {"step": [-1]}), ValueError, r"step must hold a count.*\[-1\]"),
    "no optimizer": (lambda: optim.LinearLR(Model()), TypeError, "LinearLR sets the rate of an optimizer, not of a M"),
    "no rate": (lambda: optim.LRScheduler(optim.SGD([x])), NotImplementedError, "LRScheduler has no rate"),
    "step_size": (lambda: optim.StepLR(sgd, 0), ValueError, "step_size=0 .* whole number from 1 on"),
    "gamma": (lambda: optim.StepLR(sgd, 1, gamma=-1), ValueError, "gamma=-1 is out of range"),
    "T_max": (lambda: optim.CosineAnnealingLR(sgd, 2.5), ValueError, "T_max=2.5 is out of range"),
    "eta_min": (lambda: optim.CosineAnnealingLR(sgd, 2, eta_min=-1), ValueError, "eta_min=-1 is out of range"),
    "start_factor": (lambda: optim.LinearLR(sgd, -1), ValueError, "start_factor=-1 is out of range"),
    "end_factor": (lambda: optim.LinearLR(sgd, 1, -1), ValueError, "end_factor=-1 is out of range"),
    "total_iters": (lambda: optim.LinearLR(sgd, total_iters=0), ValueError, "total_iters=0 is out of range"),
    "max_lr": (lambda: optim.OneCycleLR(sgd, -1, 5), ValueError, "max_lr=-1 is out of range"),
    "total_steps": (lambda: optim.OneCycleLR(sgd, 1, 0), ValueError, "total_steps=0 is out of range"),
    "pct_start": (lambda: optim.OneCycleLR(sgd, 1, 5, pct_start=1.0), ValueError, r"pct_start=1.0 .*\[0, 1\)"),
    "anneal": (lambda: optim.OneCycleLR(sgd, 1, 5, anneal_strategy="cosine"), ValueError, "did you mean 'cos'"),
    "div_factor": (lambda: optim.OneCycleLR(sgd, 1, 5, div_factor=0), ValueError, "div_factor=0 .* above 0"),
    "milestones": (lambda: optim.SequentialLR(sgd, [schedule], [3]), ValueError, "1 schedulers and 1 milestones"),
    "milestone order": (
        lambda: optim.SequentialLR(sgd, [schedule] * 3, [5, 3]),
        ValueError,
        r"milestones=\[5, 3\] must be in rising order",
    ),
    "another's": (lambda: optim.SequentialLR(sgd, [schedule], []), ValueError, r"schedulers\[0\] was made for another"),
    "schedule state": (lambda: schedule.load_state_dict({"step": -1}), ValueError, "not the state_dict of a schedule"),
    "max_norm": (lambda: optim.clip_grad_norm_([x], -1), ValueError, "max_norm=-1 is out of range"),
    "norm_type": (lambda: optim.clip_grad_norm_([x], 1, 0), ValueError, "norm_type=0 is out of range"),
    "clip model": (lambda: optim.clip_grad_norm_(Model(), 1), TypeError, r"model\.parameters\(\)"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_teach(case):
    make, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        make()
