"""The array program's verifier: what must hold of every program, whoever made it."""

from __future__ import annotations

from vugrad.compiler.arrays.program import Program, infer


def verify(program: Program) -> None:
    """Raise ``ValueError`` that names the first instruction that is wrong.

    Operands come before their users; each shape and dtype is what the primitive gives; inputs have different names;
    what is written back fits the state that it is written to.
    """
    names = set()
    for number, x in enumerate(program.instructions):
        where = f"%{number} = {x.primitive}"
        if not all(0 <= operand < number for operand in x.operands):
            raise ValueError(f"{where} uses {x.operands}: operands must come before it")
        try:
            found = infer(x.primitive, [program[operand] for operand in x.operands], x.parameters)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if found != (x.shape, x.dtype):
            raise ValueError(f"{where} says it is {x.type}, but gives {found[1]} of shape {found[0]}")
        if x.primitive == "input":
            if x.parameters["name"] in names:
                raise ValueError(f"{where}: there are two inputs {x.parameters['name']!r}")
            names.add(x.parameters["name"])
    inputs = program.inputs()
    for output in program.outputs:
        if not 0 <= output.number < len(program.instructions):
            raise ValueError(f"output {output.name!r} is %{output.number}, which there is not")
        if output.into is not None:
            if output.into not in inputs:
                raise ValueError(f"output {output.name!r} goes into {output.into!r}, which is no input")
            x, home = program[output.number], program[inputs[output.into]]
            if (x.shape, x.dtype) != (home.shape, home.dtype):
                raise ValueError(f"output {output.name!r} is {x.type}, and {output.into!r} is {home.type}")
