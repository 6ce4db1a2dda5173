"""Judge one op of a submission at inputs that its forward accepts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vugrad.check.compare import check_row
from vugrad.check.inputs import EXAMPLE, NoInputs, drawn, guesses, named, rows_of
from vugrad.check.proof import prove_row
from vugrad.check.subject import Fault, listed, of_op, short
from vugrad.graph import Op
from vugrad.ops.table import Row


@dataclass(frozen=True)
class Verdict:
    """What was found of one op.

    Args:
        op: its name.
        forward: "right" or "wrong" for one that the library has by that name, else "unknown".
        backward: "proven", "checked", "wrong", or "not established"; "missing" if there is no such op; "not graded" for
            an op that is not the submission's own, or whose forward accepts none of the inputs that were tried.
        text: why, in sentences.
        shapes: where it was looked at.
        seconds: that it took.
    """

    op: str
    forward: str
    backward: str
    text: str
    shapes: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with it, as far as that can be known."""
        return self.forward != "wrong" and self.backward in ("proven", "checked")

    @property
    def mark(self) -> int | None:
        """1 or 0; ``None`` if nothing could be shown, so that a person has to look at the op."""
        open_ = self.forward != "wrong" and self.backward in ("not established", "not graded")
        return None if open_ else int(self.passed)


def judge(name: str, op: type[Op], seconds: float = 10) -> Iterator[Verdict]:
    """An op of one's own: its forward beside the library's of the same name, and its backward checked, then proven.

    The last verdict counts; those before are there if what comes next takes too long.
    """
    start = time.perf_counter()
    rows: list[Row] = []
    forward, text = "unknown", ""
    own_inputs, known = hasattr(op, "inputs"), False

    def verdict(status: str, *texts: str) -> Verdict:
        shapes = "; ".join(row.name.partition(" ")[2] for row in rows[:1]) + (" and more" if len(rows) > 1 else "")
        return Verdict(name, forward, status, "\n".join(filter(None, texts)), shapes, time.perf_counter() - start)

    try:
        rows, known = rows_of(name, op)
        if known:
            rows, text = _beside(name, rows)
            forward = "wrong" if text else "right"
        _run_once(rows[0])
        yield verdict("not established", text, f"it is too slow to be checked at {rows[0].name}: name smaller inputs")
        for row in rows:
            report = check_row(row, seconds / 2)
            if not report:
                elsewhere = "" if known or own_inputs else _right_elsewhere(op, row)
                yield verdict("not established" if elsewhere else report.status, text, elsewhere, str(report))
                return
        yield verdict("checked", text, "not proven: the time ran out")
        proofs = [prove_row(row, max(0.1, start + seconds - time.perf_counter())) for row in rows]
    except NoInputs as error:
        yield verdict("not graded", str(error))
    except Fault as error:
        yield verdict("wrong", text, str(error))
    except Exception as error:  # whatever the submitted code raises; after its inputs are found it need not be at fault
        yield verdict("not established" if rows else "wrong", text, f"{type(error).__name__}: {error}")
    else:
        refuted = next((str(proof) for proof in proofs if proof.status == "refuted"), "")
        if own_inputs and not refuted:
            refuted = _wrong_elsewhere(op)
        unproven = next((proof for proof in proofs if not proof), None)
        if refuted and own_inputs:
            here = "it is right at the inputs that it names, and wrong at others; for such inputs alone it is right:"
            yield verdict("not established", text, here, refuted)
        elif refuted:
            yield verdict("wrong", text, refuted)
        elif unproven is not None:
            yield verdict("checked", text, f"not proven: {unproven.text}")
        else:
            yield verdict("proven", text)


def _run_once(row: Row) -> None:
    """Run both directions, to see that they come to an end."""
    checked = of_op(row.op, row.inputs(np.random.default_rng(0)), row.constants)
    with np.errstate(all="ignore"), contextlib.suppress(Fault):  # which has a verdict of its own
        checked.gradients(checked.inputs, [np.ones(y.shape) for y in checked.forward(checked.inputs)])


def _beside(name: str, rows: Sequence[Row]) -> tuple[list[Row], str]:
    """The rows where the forward has outputs of the reference's shapes; and where its numbers differ, if they do.

    Other shapes are those of another op: raises :class:`NoInputs` for them in the first row, the ordinary case. In a
    later row, as one of no instances, they say that the op is not made for it.
    """
    alike = []
    for row in rows:
        xs = row.inputs(np.random.default_rng(0))
        expected = [np.asarray(y) for y in listed(row.reference(*xs, **row.constants))]
        with np.errstate(all="ignore"):
            found = of_op(row.op, xs, row.constants).forward(xs)
        where, shapes = row.name.partition(" ")[2], [[y.shape for y in ys] for ys in (found, expected)]
        if shapes[0] == shapes[1]:
            alike.append(row)
            for a, b in zip(found, expected, strict=True):
                if not np.allclose(a, b, 1e-6, 1e-9):
                    return [*rows], f"its forward is wrong for {where}: it gives {short(a)}, and not {short(b)}"
        elif row is rows[0]:
            gives, has = (" and ".join(f"shape {shape}" for shape in each) or "nothing" for each in shapes)
            raise NoInputs(
                f"its forward gives {gives} for {where}, and vugrad's {name} {has}: look at it yourself, or give the "
                "op another name if it is meant to differ"
            )
    return alike, ""


def _wrong_elsewhere(op: type[Op]) -> str:
    """The report of what is wrong at other numbers, of the shapes and kinds that an op names; else empty."""
    row = drawn(named(op))
    with contextlib.suppress(Exception):  # the op need not accept these numbers
        report = check_row(row, 2)
        return str(report) if report.status == "wrong" else ""
    return ""


def _right_elsewhere(op: type[Op], wrong: Row) -> str:
    """Where an op is right that is wrong at guessed inputs: for example at vectors in place of matrices."""
    start = time.perf_counter()
    for row in guesses(op):
        axes = [(len(a), len(b)) for a, b in zip(row.shapes, wrong.shapes, strict=True)]
        fewer = all(a <= b for a, b in axes) and any(a < b for a, b in axes)
        if row.domains != wrong.domains or not fewer or any(a == 0 < b for a, b in axes):
            continue
        with contextlib.suppress(Exception):  # forward need not take it
            if check_row(row, 1):
                where = [row_.name.partition(" ")[2] for row_ in (row, wrong)]
                return (
                    f"it is right for inputs of shapes {where[0]}, and wrong for {where[1]}: if it is for the first "
                    f"alone, name such in it, as {EXAMPLE}"
                )
        if time.perf_counter() > start + 3:
            break
    return ""
