"""Wrong backwards, made of right ones: each with one part of its source changed."""

import ast
import copy
import inspect
import textwrap

#: What each operator becomes.
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
COMPARISONS = {ast.Gt: ast.Lt, ast.GtE: ast.Lt, ast.LtE: ast.Gt, ast.Eq: ast.NotEq}
#: Calls that become their first argument: a sum, or a change of axes, that is forgotten.
FORGOTTEN = {"sum", "mean", "sum_to", "swapaxes", "transpose", "reshape", "flip", "where", "exp", "spread"}


def changes(node):
    """What an expression may become, each with a few words."""
    match node:
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            new = OPERATORS[type(op)]
            yield f"{type(op).__name__} → {new.__name__}", ast.BinOp(node.left, new(), node.right)
            yield "left operand alone", node.left
            yield "right operand alone", node.right
        case ast.UnaryOp(op=ast.USub()):
            yield "no minus", node.operand
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield "turned comparison", ast.Compare(node.left, [COMPARISONS[type(op)]()], node.comparators)
        case ast.Call(func=ast.Name("chain"), args=[go, derivative]):
            yield "upstream lost", derivative
            yield "derivative lost", go
            yield "sign", ast.UnaryOp(ast.USub(), node)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[first, *_]) if name in FORGOTTEN:
            yield f"no {name}", first
        case ast.Attribute(attr="T"):
            yield "not transposed", node.value
        case ast.Constant(value=int(n) | float(n)) if type(node.value) in (int, float):
            yield f"{n} → {n + 1}", ast.Constant(n + 1)


class Change(ast.NodeTransformer):
    """Makes the n-th of all changes."""

    def __init__(self, n):
        self.left, self.words = n, None

    def visit(self, node):
        for words, new in changes(node):
            if self.left == 0:
                self.left, self.words = -1, words
                return ast.copy_location(copy.deepcopy(new), node)
            self.left -= 1
        return self.generic_visit(node) if self.left >= 0 else node


def mutants(op):
    """Every change of an op's backward, as ``(words, op)``."""
    source = textwrap.dedent(inspect.getsource(op.backward))
    n = 0
    while True:
        tree, change = ast.parse(source), Change(n)
        function = tree.body[0]
        function.decorator_list, function.returns = [], None
        for argument in function.args.args:
            argument.annotation = None
        changed = ast.fix_missing_locations(change.visit(tree))
        if change.words is None:
            return
        yield change.words, with_backward(op, compiled(changed, op.backward))
        n += 1


def compiled(tree, original):
    """The function in a module's tree, with the globals and the closure of the original."""
    names = dict(inspect.getclosurevars(original).nonlocals)
    scope = {**original.__globals__, **names}
    exec(compile(tree, "mutant", "exec"), scope)
    return scope[original.__name__]


def with_backward(op, backward):
    """The op with another backward."""
    return type(op.__name__, (op,), {"backward": staticmethod(backward), "__module__": "mutants"})
