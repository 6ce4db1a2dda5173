"""``vg.export_native``: a network as one C function that needs nothing but itself."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.compiler.arrays import Instruction
from vugrad.compiler.export import Native, export
from vugrad.files import check_writable, write_whole
from vugrad.interchange.cnames import is_free, near
from vugrad.interchange.example import argument_names, array_of
from vugrad.nn import Module
from vugrad.nn.calls import kept

HEADER = """\
/* {name}: a {kind} as a function, made by vugrad {version}. Do not change it, export it again.

{arrays}

   An array begins wherever its numbers may, its last axis lies closest together, and no two share memory.
   {where}
   Any number of threads may call it at once: it keeps nothing, allocates nothing and starts no thread.
   {needs}

   For {triple}, {processor}:
       cc -std=c99 {name}_example.c {name}.o -o {name}_example{library}
*/
#ifndef {big}_H
#define {big}_H

#include <stdint.h>

{sizes}

#ifdef __cplusplus
extern "C" {{
#endif
void {name}({taken});
#ifdef __cplusplus
}}
#endif
#endif
"""
EXAMPLE = """\
/* Reads {read} from standard input, as numbers lie in memory, and prints what {name} makes of them. */
#include <stdio.h>

#include "{name}.h"

int main(void) {{
{arrays}

{reading}
    {name}({given});
{printing}
    return 0;
}}
"""
READING = """\
    if (fread({0.name}, sizeof {0.name}[0], {0.size}, stdin) != {0.size}) {{
        fprintf(stderr, "{0.name} is %d numbers\\n", {0.size});
        return 1;
    }}"""
PRINTING = """\
    for (int i = 0; i < {0.size}; i++)
        printf({0.shown});"""
#: What comes before a number in a call of printf, by its type in C; for those that are not here, as for int64_t.
SHOWN = {"float": '"%.9g\\n", ', "double": '"%.17g\\n", ', "uint64_t": '"%llu\\n", (unsigned long long) '}


def export_native(model: Module, example: Any, path: str | Path, target: str = "host") -> tuple[Path, Path, Path]:
    """Write a network, in eval mode, as one C function: an object file, its header, and an example that calls it.

    The function is called as the file, ``digits`` for ``digits.o``, and takes a pointer for each input and output. The
    weights are constants in the object file, in which all that depends on them alone is computed already. Any number
    of threads may call it at once: it starts none, allocates nothing, and writes only its outputs and the stack. A
    network that works in more than 64 KiB takes that memory as a last argument, ``workspace``. The header says all
    that the function needs.

    It computes what a compiled model does: a position that is out of range, as for an ``Embedding``, is kept within it,
    where the model itself raises an error, and which whole number ``astype(int)`` makes of NaN is not defined.

    Args:
        model: is left as it is. No other thread may use it until the export is done.
        example: an input of the shape and dtype that the function is for, a batch of 1 most often; a tuple of several.
        path: where to write ``digits.o``. ``digits.h`` comes beside it, and ``digits_example.c`` if it is not there
            yet: one that you have changed stays, and one that is to be new is deleted first.
        target: "host" for this kind of machine, or, for Linux, "x86-64", "x86-64-v3" (with AVX2 and FMA), "x86-64-v4"
            (with AVX-512) or "aarch64".

    Returns the paths of the three files. Raises ``ValueError`` for a target that there is not, and a name that C cannot
    have or has already, ``TypeError`` for what is no example and for a model that cannot be compiled, ``OSError`` where
    nothing can be written.

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
    inputs = [_array(x) for x in (example if isinstance(example, tuple) and example else (example,))]
    given = argument_names(model, inputs)
    name = _name(path)
    files = path.with_suffix(".o"), path.with_suffix(".h"), path.with_name(f"{name}_example.c")
    for file in files:
        check_writable(file)
    with kept(model):
        native = export(model.eval(), inputs, name, target)
    arguments = _arguments(name, native, given)
    header = _header(name, type(model).__name__, native, arguments)
    contents = native.code, header.encode(), _example(name, native, arguments).encode()
    for file, content in zip(files, contents, strict=True):
        if file is not files[-1] or not file.exists():  # an example is there to be changed
            write_whole(file, content)
    return files


def _array(x: Any) -> Any:
    """An example's array."""
    x = array_of(x)
    if not isinstance(x, np.ndarray) or not x.ndim or not x.size:
        what = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise TypeError(
            "export_native compiles for arrays like the example's: give it an array with all its axes, the batch "
            f"first, as np.zeros((1, 1, 28, 28), np.float32), or a tuple of them for a model of several, and not {what}"
        )
    return x


def _name(path: Path) -> str:
    """The C function's name."""
    if path.suffix not in ("", ".o"):
        raise ValueError(
            f"export_native writes an object file, with a header and an example beside it: write {near(path.stem)}.o, "
            f"and not {path.name}"
        )
    if is_free(path.stem):
        return path.stem
    raise ValueError(
        f"the C function is called as its file, and {path.stem!r} is no name in C, or that of something else: write "
        f"{near(path.stem)}.o"
    )


@dataclass(frozen=True)
class Argument:
    """A pointer that the function takes: its name, the macro for how many numbers it points to, and to which."""

    name: str
    size: str
    array: Instruction
    written: bool

    @property
    def type(self) -> str:
        """C's name of the type of the numbers."""
        kind, size = self.array.dtype.kind, self.array.dtype.itemsize
        if kind == "f":
            return {4: "float", 8: "double"}[size]
        return f"{'' if kind == 'i' else 'u'}int{8 * size}_t"

    @property
    def shown(self) -> str:
        """What printf takes to show the number at i, with all its digits."""
        return SHOWN.get(self.type, '"%lld\\n", (long long) ') + f"{self.name}[i]"

    def shape(self, sign: str) -> str:
        """The extents with a sign between them."""
        return f" {sign} ".join(map(str, self.array.shape)) or "1"


def _arguments(name: str, native: Native, given: list[str]) -> list[Argument]:
    """The function's arguments, called as forward's and as the keys of its result, or x0, x1 and y0, y1 and so on."""
    results = ["_".join(re.findall(r"\w+", path.removeprefix("result"))) for path in native.outputs]
    wanted = [*given, *results]
    plain = [
        f"{letter}{i}" if len(names) > 1 else letter
        for letter, names in (("x", given), ("y", results))
        for i in range(len(names))
    ]
    taken, own = {name.upper(), "WORKSPACE", "I"}, []  # in capitals, as the macros have them
    for first, second in zip(wanted, plain, strict=True):
        own.append(first if is_free(first) and first.upper() not in taken else second)
        taken.add(own[-1].upper())
    own = own if len({x.upper() for x in own}) == len(own) else plain
    if name in ("workspace", *own):
        raise ValueError(f"{name} is the name of an argument of the C function: give the file another one")
    arrays = [*native.inputs, *native.outputs.values()]
    return [
        Argument(x, f"{name}_{x}_size".upper(), array, i >= len(given))
        for i, (x, array) in enumerate(zip(own, arrays, strict=True))
    ]


def _header(name: str, kind: str, native: Native, arguments: list[Argument]) -> str:
    """The header file."""
    big, target, library = name.upper(), native.target, " -lm" if native.missing else ""
    needs = [f"It takes {', '.join(native.missing)} from C's library:{library}." if library else "It needs no library."]
    needs += ["While it runs, numbers too small to be normal count as 0."] if target.flushes else []
    sizes = [f"#define {a.size} ({a.shape('*')})" for a in arguments]
    taken = [f"{'' if a.written else 'const '}{a.type} *{a.name}" for a in arguments]
    if not native.stack:
        sizes.append(f"#define {big}_WORKSPACE {native.memory}")
        taken.append("void *workspace")
    return HEADER.format(
        name=name,
        big=big,
        kind=kind,
        version=importlib.metadata.version("vugrad"),
        arrays="\n".join(
            f"   {'writes' if a.written else 'reads'} {a.name}: {a.type}, {a.shape('x')}" for a in arguments
        ),
        where=f"It works in {native.memory} bytes "
        + ("on the stack." if native.stack else f"({big}_WORKSPACE) at workspace, an address that is a multiple of 8."),
        needs="\n   ".join(needs),
        triple=target.triple,
        processor="any processor" if target.cpu == "generic" else f"{target.cpu} and what can do all that it can",
        library=library,
        sizes="\n".join(sizes),
        taken=", ".join(taken),
    )


def _example(name: str, native: Native, arguments: list[Argument]) -> str:
    """A program that calls the function."""
    memory = [] if native.stack else [f"    static uint64_t workspace[({name.upper()}_WORKSPACE + 7) / 8];"]
    read, printed = [a for a in arguments if not a.written], [a for a in arguments if a.written]
    return EXAMPLE.format(
        name=name,
        read=", ".join(a.name for a in read),
        arrays="\n".join([*(f"    static {a.type} {a.name}[{a.size}];" for a in arguments), *memory]),
        reading="\n".join(map(READING.format, read)),
        given=", ".join([a.name for a in arguments] + (["workspace"] if memory else [])),
        printing="\n".join(map(PRINTING.format, printed)),
    )
