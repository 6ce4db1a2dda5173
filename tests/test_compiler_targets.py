"""Every kind of kernel on every processor: lesser ones of this machine, and AArch64 in an emulator."""

import re

import numpy as np
import pytest
from compiler_floors import assert_same, flat
from compiler_kernels import HOST, KERNELS, LESSER, Kernels, numbers
from test_native import RUN, outputs

import vugrad as vg
from vugrad import losses, nn, optim
from vugrad.compiler.arrays.program import PRIMITIVES
from vugrad.compiler.lower import Machine, lower
from vugrad.compiler.machine import llvm
from vugrad.compiler.trace import trace


@pytest.fixture(params=LESSER)
def target(request, monkeypatch):
    monkeypatch.setenv("VUGRAD_TARGET", request.param)
    return llvm.host()


def adam_step(model):
    """A training step with batch norm and dropout: the kernels that change a state, and random bits."""
    optimizer = optim.Adam(model.parameters(), lr=0.01, eps=1e-3)

    def step(x, y):
        optimizer.zero_grad()
        loss = losses.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, [model, optimizer]


def network():
    vg.seed(0)
    return nn.MLP([6, 9, 3], nn.GELU, batch_norm=True, dropout=0.2)


BATCH = numbers(21, 6), np.arange(21) % 3


def test_every_primitive_and_every_kind_of_loop_is_in_a_kernel():
    traced = [trace(kernel.function, kernel.arguments) for kernel in KERNELS.values()]
    step, state = adam_step(network())
    traced.append(trace(step, BATCH, tuple(state)))
    assert {x.primitive for t in traced for x in t.program.instructions} == set(PRIMITIVES)
    kinds, pending = set(), []
    for t in traced:
        pending += [k.body for s in lower(t.program, Machine(32, 16, 1)).loops.stages for k in s.kernels()]
    while pending:
        for statement in pending.pop():
            if hasattr(statement, "body"):
                kinds.add(statement.kind)
                pending.append(statement.body)
    assert kinds == {"serial", "unrolled", "turned", "lanes"}


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_on_lesser_processors(name, target):
    kernel = KERNELS[name]
    compiled = vg.compile(kernel.function)
    assert_same(flat(kernel.expected()), flat(compiled(*kernel.arguments)), where=target.cpu)
    assert compiled.plan(*kernel.arguments).target == target


def test_a_training_step_on_lesser_processors(target):
    ends = []
    for compiled in (False, True):
        model = network()
        step, state = adam_step(model)
        run = vg.compile(step, state=state) if compiled else step
        ends.append([*(run(*BATCH).value for _ in range(3)), *model.state_dict().values()])
    for found, expected in zip(ends[1], ends[0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4, err_msg=target.cpu)


@pytest.mark.parametrize(("target", "cc", "run"), [RUN["aarch64"]])
def test_every_kernel_on_aarch64(target, cc, run, tmp_path):
    arguments = [x for kernel in KERNELS.values() for x in kernel.arguments]
    files = vg.export_native(Kernels(), tuple(arguments), tmp_path / "kernels.o", target)
    found = outputs(files, *arguments, cc=cc, run=run, flags=["-lm"])
    for name, kernel in KERNELS.items():
        for i, expected in enumerate(flat(kernel.expected())):
            mine, found = found[: expected.size], found[expected.size :]
            assert_same([expected], [mine.astype(expected.dtype).reshape(expected.shape)], where=f"{name}, {i}")


# --- which processor


def test_code_is_made_for_the_processor_that_is_named(monkeypatch):
    names = [*LESSER, HOST]
    plans = []
    for name in names:
        monkeypatch.setenv("VUGRAD_TARGET", name)
        plans.append(vg.compile(lambda x: np.exp(x)).plan(np.ones(70, np.float32)))
    widths = [plan.target.vector_bytes for plan in plans]
    assert widths == sorted(widths)
    assert len({plan.target.key for plan in plans}) == len(LESSER) + 1
    lanes = [max(int(n) for n in re.findall(r"<(\d+) x float>", plan.text())) for plan in plans]
    assert all(4 * n in (width, 2 * width) for n, width in zip(lanes, widths, strict=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("avx2", "there is no VUGRAD_TARGET 'avx2'.* There are: host, x86-64, x86-64-v3, x86-64-v4, aarch64"),
        ("x86-64-v4", r"VUGRAD_TARGET=x86-64-v4: this machine, .*avx512f.*, cannot run code for it"),
        ("aarch64", r"VUGRAD_TARGET=aarch64: this machine, x86_64-.*, cannot run code for it"),
    ],
)
def test_a_processor_that_this_machine_is_not(name, message, monkeypatch):
    old = llvm.Target("x86_64-unknown-linux-gnu", "x86-64-v3", llvm.V3, 32)
    monkeypatch.setattr(llvm, "_this", lambda: old)
    monkeypatch.setenv("VUGRAD_TARGET", name)
    llvm._emulated.cache_clear()
    with pytest.raises(ValueError, match=message):
        vg.compile(lambda x: x + 1)(np.ones(3))
    llvm._emulated.cache_clear()
