"""``vg.export_native``: a network as one C function that needs nothing but itself."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.compiler.export import Array, Native, export
from vugrad.files import check_writable, write_whole
from vugrad.graph import TensorNode
from vugrad.nn import Module
from vugrad.viewer.watched import kept

#: What no function can be called, in C and C++.
KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const constexpr const_cast
continue decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if
inline int long main mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public
register reinterpret_cast restrict return short signed sizeof static static_assert static_cast struct switch template
this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor
xor_eq
"""
#: Of each kind of number how printf shows it, and as what.
SHOWN = {"f": ("%.9g", ""), "i": ("%lld", "(long long) "), "u": ("%llu", "(unsigned long long) "), "b": ("%d", "")}


def export_native(model: Module, example: Any, path: str | Path, target: str = "host") -> tuple[Path, Path, Path]:
    """Write a network, in eval mode, as one C function: an object file, its header, and an example that calls it.

    The function is called as the file, ``digits`` for ``digits.o``, and takes a pointer for each input and output. The
    weights are constants in the object file, in which all that depends on them alone is computed already. Any number
    of threads may call it at once: it starts none, allocates nothing, and writes only its outputs and the stack. A
    network that works in more than 256 KiB takes that memory as a last argument, ``workspace``. The header says all
    that the function needs.

    Args:
        model: is left as it is.
        example: an input of the shape and dtype that the function is for, a batch of 1 most often; a tuple of several.
        path: where to write ``digits.o``; ``digits.h`` and ``digits_example.c`` come beside it.
        target: "host", this machine and its like; "x86-64", "x86-64-v3" (with AVX2 and FMA) and "aarch64", for Linux.

    Returns the paths of the three files. Raises ``ValueError`` for a target that there is not, or a name that C cannot
    have, ``TypeError`` for what is no example and for a model that cannot be compiled, ``OSError`` where nothing can be
    written.

    >>> import tempfile, numpy as np, vugrad as vg
    >>> model = vg.nn.MLP([4, 3, 2])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = vg.export_native(model, np.zeros((1, 4), np.float32), f"{folder}/net.o", target="aarch64")
    ...     print(files[1].read_text().splitlines()[-5])
    void net(const float *x, float *y);
    """
    path = Path(path)
    if not isinstance(model, Module):
        raise TypeError(f"export_native writes a Module, and this is a {type(model).__name__}")
    inputs = [_array(x) for x in (example if isinstance(example, tuple) else (example,))]
    check_writable(path)
    name = _name(path.stem)
    with kept(model):
        native = export(model.eval(), inputs, name, target)
    pointers = _pointers(native)
    _check_free(name, pointers)
    files = path.with_suffix(".o"), path.with_suffix(".h"), path.with_name(f"{name}_example.c")
    header, program = _header(name, type(model).__name__, native, pointers), _example(name, native, pointers)
    for file, content in zip(files, (native.code, header.encode(), program.encode()), strict=True):
        write_whole(file, content)
    return files


def _array(x: Any) -> Any:
    """An example's array."""
    x = x.value if isinstance(x, TensorNode) else x
    if not isinstance(x, np.ndarray) or not x.size:
        what = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise TypeError(
            "export_native compiles for arrays like the example's: give it an array with all its axes, the batch "
            f"first, as np.zeros((1, 1, 28, 28), np.float32), or a tuple of them for a model of several, and not {what}"
        )
    return x


def _name(stem: str) -> str:
    """The C function's name."""
    keywords = KEYWORDS.split()
    if re.fullmatch(r"[A-Za-z_]\w*", stem, re.ASCII) and stem not in keywords:
        return stem
    better = re.sub(r"\W+", "_", stem, flags=re.ASCII)
    better = f"net_{better}" if better in keywords or not better[:1].isalpha() else better
    raise ValueError(f"the C function is called as its file, and {stem!r} is no name in C: write {better}.o")


Pointers = list[tuple[str, Array, bool]]  # the name, what it points to, and whether that is written


def _pointers(native: Native) -> Pointers:
    """The function's arguments: x and y, or x0, x1 and so on where there are several."""
    found: Pointers = []
    for letter, arrays in (("x", native.inputs), ("y", native.outputs)):
        for i, array in enumerate(arrays):
            found.append((f"{letter}{i}" if len(arrays) > 1 else letter, array, letter == "y"))
    return found


def _check_free(name: str, pointers: Pointers) -> None:
    if name in ("workspace", *(p for p, *_ in pointers)):
        raise ValueError(f"{name} is the name of an argument of the C function: give the file another one")


def _type(array: Array) -> str:
    """C's name of the type of an array's numbers."""
    kind, bits = array.dtype.kind, 8 * array.dtype.itemsize
    if kind == "f":
        return "float" if bits == 32 else "double"
    return f"{'' if kind == 'i' else 'u'}int{bits}_t"


def _said(name: str, array: Array) -> str:
    """What a pointer points to, for the header's comment."""
    shape = " x ".join(map(str, array.shape)) or "1"
    truth = ", 0 for false and 1 for true" if array.dtype.kind == "b" else ""
    return f"{name}: {_type(array)}, {shape}, the last axis closest together{truth}"


def _header(name: str, kind: str, native: Native, pointers: Pointers) -> str:
    """The header file."""
    big, target, library = name.upper(), native.target, " -lm" if native.missing else ""
    processor = "any processor" if target.cpu == "generic" else f"{target.cpu} and whatever can do all that it can"
    needs = f"It takes {', '.join(native.missing)} from C's library:{library}." if library else "It needs no library."
    where = "on the stack" if native.stack else f"at workspace ({big}_WORKSPACE), which begins at a multiple of 8"
    taken = [f"{'' if written else 'const '}{_type(array)} *{p}" for p, array, written in pointers]
    lines = [
        f"/* {name}: a {kind} as a function, made by vugrad {importlib.metadata.version('vugrad')}. Do not change it, export it again.",
        "",
        *(f"   {_said(p, array)}" for p, array, _ in pointers),
        "",
        "   An array may begin wherever its numbers may, and shares no memory with another.",
        f"   The function works in {native.memory} bytes {where}.",
        "   Any number of threads may call it at once: it keeps nothing, allocates nothing and starts no thread.",
        *(["   While it runs, numbers too small to be normal count as 0."] if target.flushes else []),
        f"   {needs}",
        "",
        f"   For {target.triple}, {processor}:",
        f"       cc -std=c99 {name}_example.c {name}.o -o {name}_example{library}",
        "*/",
        f"#ifndef {big}_H",
        f"#define {big}_H",
        "",
        "#include <stdint.h>",
        "",
        *(f"#define {big}_{p.upper()}_SIZE ({' * '.join(map(str, a.shape)) or '1'})" for p, a, _ in pointers),
        *([] if native.stack else [f"#define {big}_WORKSPACE {native.memory}"]),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        f"void {name}({', '.join(taken + ([] if native.stack else ['void *workspace']))});",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "#endif",
    ]
    return _text(lines)


def _example(name: str, native: Native, pointers: Pointers) -> str:
    """A program that calls the function."""
    big, read = name.upper(), ", ".join(p for p, _, written in pointers if not written)
    lines = [
        f"/* Reads {read} from standard input, as numbers lie in memory, and prints what {name} makes of them. */",
        "#include <stdio.h>",
        "",
        f'#include "{name}.h"',
        "",
        "int main(void) {",
        *(f"    static {_type(array)} {p}[{big}_{p.upper()}_SIZE];" for p, array, _ in pointers),
        *([] if native.stack else [f"    static uint64_t workspace[({big}_WORKSPACE + 7) / 8];"]),
        "",
    ]
    for p, _, written in pointers:
        if not written:
            lines += [
                f"    if (fread({p}, sizeof {p}[0], {big}_{p.upper()}_SIZE, stdin) != {big}_{p.upper()}_SIZE) {{",
                f'        fprintf(stderr, "{p} is %d numbers\\n", {big}_{p.upper()}_SIZE);',
                "        return 1;",
                "    }",
            ]
    given = [p for p, *_ in pointers] + ([] if native.stack else ["workspace"])
    lines.append(f"    {name}({', '.join(given)});")
    for p, array, written in pointers:
        if written:
            form, cast = SHOWN[array.dtype.kind] if array.dtype != np.float64 else ("%.17g", "")
            lines.append(f"    for (int i = 0; i < {big}_{p.upper()}_SIZE; i++)")
            lines.append(f'        printf("{form}\\n", {cast}{p}[i]);')
    return _text([*lines, "    return 0;", "}"])


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
