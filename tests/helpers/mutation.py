"""How code is broken on purpose: every place of a file where one thing may be changed.

A comparison, an operator, a constant, a minimum; a term, a call, a keyword or a statement left
out. Not: annotations, decorators, texts and messages, the `strict` of zip, and how a function is
compiled.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

NEXT = {  # what an operator becomes
    **{ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE]},
    **{ast.GtE: [ast.Gt, ast.Lt], ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq]},
    **{ast.Is: [ast.IsNot], ast.IsNot: [ast.Is], ast.In: [ast.NotIn], ast.NotIn: [ast.In]},
    **{ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div], ast.Div: [ast.Mult]},
    **{ast.FloorDiv: [ast.Mult], ast.Mod: [ast.Add], ast.Pow: [ast.Mult]},
    **{ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd], ast.And: [ast.Or], ast.Or: [ast.And]},
}
TWINS = "min max, minimum maximum, any all, argmin argmax, ceil floor, zeros ones, nanmax nanmin"
TWIN = {a: b for pair in TWINS.split(", ") for a, b in (pair.split(), reversed(pair.split()))}
TRANSPARENT = {"abs", "copy", "clip", "sqrt", "sort", "round"}  # a call that may be left out
TYPES = ("annotation", "returns", "decorator_list", "bases")


class Mutant(NamedTuple):
    path: str
    change: str  # "function: statement before => after"
    source: str


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of an expression or a statement."""
    match node:
        case ast.BinOp(left, op, right):
            yield from (ast.BinOp(left, new(), right) for new in NEXT.get(type(op), []))
            yield from (left, right)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(NEXT[type(op)][0](), values)
            for k in range(len(values)):
                others = values[:k] + values[k + 1 :]
                yield ast.BoolOp(op, others) if len(others) > 1 else others[0]
        case ast.Compare(left, [op], right):
            yield from (ast.Compare(left, [new()], right) for new in NEXT[type(op)])
        case ast.Compare(left, [first, second], right):
            yield from (ast.Compare(left, [new(), second], right) for new in NEXT[type(first)])
            yield from (ast.Compare(left, [first, new()], right) for new in NEXT[type(second)])
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield ast.Constant(value + 1)
            if value > 0:
                yield ast.Constant(value - 1)
        case ast.Constant(float() as value):
            yield ast.Constant(2.0 * value if value else 1.0)
        case ast.IfExp(test, body, orelse):
            yield from (body, orelse)
        case ast.Call(function, args, keywords):
            match function:
                case ast.Name(name) if name in TWIN:
                    yield ast.Call(ast.Name(TWIN[name], ast.Load()), args, keywords)
                case ast.Attribute(value, name) if name in TWIN:
                    yield ast.Call(ast.Attribute(value, TWIN[name], ast.Load()), args, keywords)
                case ast.Attribute(ast.Name("np"), "where") if len(args) == 3:
                    yield from args[1:]
            name = getattr(function, "attr", getattr(function, "id", ""))
            if name in TRANSPARENT:
                is_method = isinstance(function, ast.Attribute) and not args
                yield function.value if is_method else args[0] if args else function
            for k in range(len(keywords)):
                if not is_empty(keywords[k]):
                    yield ast.Call(function, args, keywords[:k] + keywords[k + 1 :])
        case ast.If(test, body, orelse) | ast.While(test, body, orelse):
            yield type(node)(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.AugAssign(target, op, value):
            yield from (ast.AugAssign(target, new(), value) for new in NEXT.get(type(op), []))
            yield ast.Assign([target], value)
            yield ast.Pass()
        case ast.Assign([ast.Attribute() | ast.Subscript()]) | ast.Raise() | ast.Break():
            yield ast.Pass()
        case ast.Expr(value) if not isinstance(value, ast.Constant):
            yield ast.Pass()


def mutants(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    tree = ast.parse(path.read_text())

    def walk(node: ast.AST, where: str, statement: ast.AST) -> Iterator[Mutant]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
        for field, value in ast.iter_fields(node):
            if field in TYPES or isinstance(node, ast.JoinedStr | ast.Raise) or is_empty(node):
                continue
            is_list = isinstance(value, list)
            for k, child in enumerate(value if is_list else [value]):
                if not isinstance(child, ast.AST) or is_one_below(node):
                    continue
                inner = child if isinstance(child, ast.stmt) else statement
                before = shown(inner)
                for new in replacements(child):
                    ast.copy_location(new, child)
                    put(node, field, k if is_list else None, new)
                    after = shown(new if inner is child else inner)
                    source = ast.unparse(ast.fix_missing_locations(tree))
                    yield Mutant(str(path), f"{where}: {before} => {after}", source)
                    put(node, field, k if is_list else None, child)
                yield from walk(child, where, inner)

    unique = {mutant.source: mutant for mutant in walk(tree, "", tree)}
    yield from unique.values()


def shown(statement: ast.AST) -> str:
    """A statement in one line, of a compound one its head."""
    return ast.unparse(ast.fix_missing_locations(statement)).splitlines()[0]


def is_one_below(node: ast.AST) -> bool:
    """-1, the last or the rest: its sign may go, but -2 says the same in many places."""
    match node:
        case ast.UnaryOp(ast.USub(), ast.Constant(1)):
            return True
    return False


def is_empty(node: ast.AST) -> bool:
    """Says nothing that a test could see: zip's `strict`, compile options, a name of a type."""
    match node:
        case ast.keyword("strict") | ast.Assign(value=ast.Call(ast.Name("njit" | "compiled"))):
            return True
        case ast.Assign([ast.Name(name)], ast.BinOp(op=ast.BitOr())):
            return name[0].isupper()
    return False


def put(node: ast.AST, field: str, index: int | None, value: Any) -> None:
    if index is None:
        setattr(node, field, value)
    else:
        getattr(node, field)[index] = value
