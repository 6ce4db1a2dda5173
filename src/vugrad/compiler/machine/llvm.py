"""LLVM: what this machine can do, from text to machine code, and from machine code to functions that can be called."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm


@dataclass(frozen=True)
class Target:
    """A processor: its name and features as LLVM spells them, and the bytes in its widest vectors."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int

    @property
    def registers(self) -> int:
        """How many vectors fit in registers."""
        return 32 if self.vector_bytes == 64 or not self.triple.startswith("x86") else 16

    @property
    def key(self) -> str:
        """All that machine code depends on, LLVM's own version included."""
        return f"{llvm.llvm_version_info} {self.triple} {self.cpu} {self.features}"


@functools.cache
def host() -> Target:
    """The machine that this runs on."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    names = features.flatten()
    if features.get("avx512f") and features.get("avx512vl"):
        size, names = 64, f"{names},-prefer-256-bit"
    elif features.get("avx2") and features.get("fma"):
        size = 32
    else:
        size = 16
    return Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), names, size)


def _machine(target: Target) -> Any:
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )


def compile_text(text: str, target: Target) -> bytes:
    """Machine code, as an object file, from a module's text."""
    host()
    machine = _machine(target)
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    # The loops are as they should be: only what is around them is left to LLVM.
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_interleaving = False
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


class Code:
    """Loaded machine code."""

    def __init__(self, object_file: bytes, target: Target) -> None:
        host()
        _add_symbols()
        backing = llvm.parse_assembly("")
        backing.triple = target.triple
        self._engine = llvm.create_mcjit_compiler(backing, _machine(target))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(object_file))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function is; ``KeyError`` if there is none of that name."""
        address = int(self._engine.get_function_address(name))
        if not address:
            raise KeyError(name)
        return address


@functools.cache
def _add_symbols() -> None:
    """Make the C library's mathematical functions known, wherever the platform keeps them."""
    library = ctypes.CDLL(ctypes.util.find_library("m") or None)
    for name in ("tan", "asin", "acos", "atan", "sinh", "cosh", "pow", "sin", "cos", "exp", "log", "fma"):
        for suffix in ("", "f"):
            function = getattr(library, name + suffix, None)
            if function is not None:
                llvm.add_symbol(name + suffix, ctypes.cast(function, ctypes.c_void_p).value)
