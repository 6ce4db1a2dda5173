"""``vg.export_onnx``: a model as an ONNX file."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.files import check_writable, write_whole
from vugrad.interchange.example import argument_names, array_of
from vugrad.interchange.onnx.graph import Graph
from vugrad.interchange.onnx.patterns import find
from vugrad.interchange.onnx.record import record
from vugrad.interchange.onnx.steps import Steps
from vugrad.interchange.onnx.translate import constant
from vugrad.nn import Module

Array = Any

#: The newest set of operators that both onnx 1.23 and onnxruntime 1.32 call released.
OPSET = 28
#: The file format that came with it.
IR_VERSION = 14
#: Arrays of this many bytes are too many: protocol buffers end at 2 GiB, and the nodes are to fit in too.
LIMIT = 2**31 - 2**24


def export_onnx(model: Module, example: Any, path: str | os.PathLike[str]) -> None:
    """Write a model as an ONNX file, which onnxruntime and others run without vugrad, for every batch size.

    The model is exported in eval mode, and is afterwards as it was; no other thread may use it meanwhile. Parameters
    and buffers have the names that they have in its ``state_dict``; what is computed from them alone is computed now.
    Results that are the same whatever the input are constants in the graph. Positions out of range, for which
    ``vg.nn.Embedding`` raises, are moved to the ends in the graph. What a pooling or ``argmax`` makes of NaN is the
    runtime's to say; float64 is exported too, but onnxruntime has no float64 for ``erf``, ``tan``, ``sinh``, ``cosh``
    and the arc functions.

    Args:
        model: the module.
        example: a batch of inputs, of any size: an array, or a tuple of them for a model of several inputs. Their first
            axis is the batch; the others, and the dtypes, are those of the graph's inputs.
        path: of the file, ``model.onnx`` for example.

    Raises ``ImportError`` without the package onnx, ``TypeError`` for what is no model, no example for it, or no path,
    :class:`~vugrad.compiler.CannotCompileError` for a model that cannot be recorded, ``ValueError`` for one that is not
    the same at every batch size, and for float64 examples of one in float32, and ``OSError`` if the file cannot be
    written.

    >>> import numpy as np, vugrad as vg, tempfile
    >>> model = vg.nn.MLP([4, 3, 2])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     vg.export_onnx(model, np.zeros((1, 4), np.float32), f"{folder}/mlp.onnx")
    """
    if importlib.util.find_spec("onnx") is None:
        raise ImportError("ONNX files need the package onnx: pip install 'vugrad[onnx]'")
    if not isinstance(model, Module):
        raise TypeError(f"export_onnx takes a vg.nn.Module, not a {type(model).__name__}: give it the model itself")
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"export_onnx writes a file: give it the path as text, 'model.onnx', not {type(path).__name__}")
    examples, path = _examples(example), Path(path)
    arguments = [name or f"input_{i}" for i, name in enumerate(argument_names(model, examples))]
    _check_dtypes(model, examples)
    check_writable(path)
    steps = record(model, examples)
    taken = {name for name, _ in steps.state.values()}
    inputs = [_free(name, taken) for name in arguments]
    outputs = [_free(name, taken) for name, _ in steps.outputs]
    graph = build(steps, inputs, outputs)
    write_whole(path, _serialized(graph, steps, inputs, outputs, type(model).__name__))


def _examples(example: Any) -> list[Array]:
    """The arrays of the example; ``TypeError`` if they are none, ``ValueError`` if they have not the same batch."""
    parts = example if isinstance(example, tuple) else (example,)
    arrays = [array_of(part) for part in parts]
    others = [type(array).__name__ for array in arrays if not isinstance(array, np.ndarray)]
    if others:
        raise TypeError(
            f"the example {'has in it' if isinstance(example, tuple) else 'is'} a {others[0]}: give a batch of inputs "
            "as an array, np.zeros((1, 4), np.float32) for example, or a tuple of arrays for a model of several inputs"
        )
    if not arrays or not all(array.ndim for array in arrays) or len({len(array) for array in arrays}) > 1:
        shapes = " and ".join(str(array.shape) for array in arrays) or "nothing"
        raise ValueError(
            f"the example is of shape {shapes}: give a batch, whose first axis is the same in every array. "
            "A single instance x becomes one as x[None]"
        )
    return arrays


def _check_dtypes(model: Module, examples: list[Array]) -> None:
    """Raise for float64, as NumPy makes it, where the model is all float32: the graph would take nothing else."""
    own = {p.value.dtype for p in model.parameters() if p.value.dtype.kind == "f"}
    if own == {np.dtype(np.float32)} and any(x.dtype == np.float64 for x in examples):
        raise ValueError(
            "the example is float64 and the model float32, and the graph's inputs have the example's dtype: write "
            "x.astype(np.float32)"
        )


def _free(name: str, taken: set[str]) -> str:
    """The name, with a count behind it if it is taken, which it then is."""
    found = next(n for n in itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1))) if n not in taken)
    taken.add(found)
    return found


def build(steps: Steps, inputs: list[str], outputs: list[str]) -> Graph:
    """The graph, under these names."""
    graph = Graph(inputs[0], [*inputs, *outputs, *(name for name, _ in steps.state.values())])
    names = dict(zip(steps.arguments, inputs, strict=True))
    # Backwards, what is needed and how it is made; then forwards, so that the nodes come in order.
    needed = {number for _, number in steps.outputs}
    matches = {}
    for number in reversed(range(len(steps.steps))):
        if number in needed and number not in names and not steps.known[number]:
            matches[number] = find(steps, number)
            needed.update(matches[number].operands)
    for number in sorted(needed - names.keys()):
        graph.path = steps[number].path
        if steps.known[number]:
            names[number] = constant(graph, steps, number, [])
        else:
            names[number] = matches[number].emit(graph, [names[i] for i in matches[number].operands])
    graph.finish({name: names[number] for name, (_, number) in zip(outputs, steps.outputs, strict=True)})
    return graph


def _serialized(graph: Graph, steps: Steps, inputs: list[str], outputs: list[str], name: str) -> bytes:
    """The file's content, checked by onnx, with the shape of every result in it."""
    import onnx
    from onnx import helper, numpy_helper

    size = sum(value.nbytes for value in graph.values.values())
    if size >= LIMIT:
        raise ValueError(
            f"the model's arrays are {size / 2**30:.2f} GiB, and an ONNX file holds less than {LIMIT / 2**30:.0f} GiB: "
            "export its parts one by one"
        )

    def described(name: str, number: int) -> Any:
        x = steps[number]
        shape = [n if isinstance(n, int) else str(n) for n in x.shape]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), shape)

    def attribute(key: str, value: Any) -> Any:
        return helper.np_dtype_to_tensor_dtype(value) if isinstance(value, np.dtype) else value

    nodes = [
        helper.make_node(
            node.op, node.inputs, [node.output], node.name, **{k: attribute(k, v) for k, v in node.attributes.items()}
        )
        for node in graph.nodes.values()
    ]
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            name,
            [described(name, number) for name, number in zip(inputs, steps.arguments, strict=True)],
            [described(name, number) for name, (_, number) in zip(outputs, steps.outputs, strict=True)],
            [numpy_helper.from_array(value, name) for name, value in graph.values.items()],
        ),
        producer_name="vugrad",
        producer_version=vars(sys.modules["vugrad"])["__version__"],
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())
