"""The small changes that can be made to a source, found in its syntax tree. Nobody chooses them, so none is kept up to
date."""

import ast
import copy
from collections.abc import Iterator

import attrs

__all__ = ["Mutant", "mutants_of"]

_OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
_OTHER_FUNCTIONS = {"max": "min", "min": "max", "any": "all", "all": "any", "sorted": "list", "reversed": "list"}
# Swapping their arguments, or leaving them out, shows nothing but that they are there.
_PLAIN_CALLS = {"isinstance", "cast", "TypeVar", "_log.info", "_log.debug"}
_NEW_LINE = "\n"
_SYMMETRIC = {"max", "min"}
# What these say is for the type checker, or for the class's decorator.
_PLAIN_KEYWORDS = {"covariant", "eq", "init", "slots", "strict"}
_INITIALISERS = {"__init__", "__attrs_post_init__"}

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Mutant:
    """One change of one source."""

    file: str
    """Its path, relative to the package."""
    line: int
    where: str
    """The class and the function."""
    change: str
    start: int
    """What is replaced: the bytes from here ..."""
    end: int
    """... to here."""
    text: str
    """What stands there instead."""
    lines: range
    """A test that runs none of these lines cannot notice it."""
    name: str = ""
    """Of the constant or the field that is changed: a test notices it only where that is used."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.where}: {self.change}"

    def applied_to(self, source: str) -> str:
        raw = source.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()


def mutants_of(file: str, source: str) -> Iterator[Mutant]:
    """All changes of a source, in its order."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    module = ast.parse(source)
    for node, outer in _walk(module, []):
        function = next((each for each in reversed(outer) if isinstance(each, _Function)), None)
        for changed in _changes(node, outer[-1], function):
            text = "pass" if changed is None else ast.unparse(changed)
            change = f"{ast.unparse(node)} -> {'(removed)' if changed is None else text}"
            if isinstance(node, ast.Constant):
                change += f" in {ast.unparse(outer[-1]).partition(_NEW_LINE)[0]}"
            lines, name = _scope(node, outer)
            yield Mutant(
                file=file,
                line=node.lineno,
                where=".".join(each.name for each in outer if isinstance(each, _Function | ast.ClassDef)) or "(module)",
                change=" ".join(change.split()),
                start=starts[node.lineno - 1] + node.col_offset,
                end=starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0),
                text=f"({text})" if isinstance(changed, ast.expr) else text,
                lines=lines,
                name=name,
            )


def _walk(node: ast.AST, outer: list[ast.AST]) -> Iterator[tuple[ast.expr | ast.stmt, list[ast.AST]]]:
    """Everything that runs, with what it stands in. Not what only the type checker and decorators read."""
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "type_params", "bases"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.keyword) and child.arg in _PLAIN_KEYWORDS:
                continue
            if isinstance(child, ast.Assert) or not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.Call) and ast.unparse(child.func) in _PLAIN_CALLS:
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child, [*outer, node]
            yield from _walk(child, [*outer, node])


def _scope(node: ast.expr | ast.stmt, outer: list[ast.AST]) -> tuple[range, str]:
    """The lines that a test has to run to notice the change; or what is changed, if it is changed for all of them."""
    chain = [*outer, node]
    while chain:
        match chain.pop():
            case ast.FunctionDef() | ast.AsyncFunctionDef() as function:
                is_default = node.lineno < function.body[0].lineno
                return _lines(function if is_default else node), ""
            case ast.Assign(targets=[ast.Name(id=name), *_]) | ast.AnnAssign(target=ast.Name(id=name)) if not any(
                isinstance(each, _Function) for each in chain
            ):
                return _lines(chain[-1]), name  # a test may also use it itself, with what stands around it
            case ast.ClassDef() | ast.Module() as scope:
                return _lines(scope), ""
            case _:
                pass
    return range(0), ""


def _lines(node: ast.AST) -> range:
    if isinstance(node, ast.Module):
        return range(1, 1 + (node.body[-1].end_lineno or 0))
    return range(node.lineno, 1 + (node.end_lineno or 0)) if isinstance(node, ast.expr | ast.stmt) else range(0)


def _changes(
    node: ast.expr | ast.stmt, parent: ast.AST, function: _Function | None
) -> Iterator[ast.expr | ast.stmt | None]:
    """What may stand there instead; None is nothing at all."""
    if _is_condition(node, parent):
        # A loop that never ends is found by the time-out alone, which takes its time.
        yield from map(ast.Constant, [False] if isinstance(parent, ast.While) else [True, False])
    match node:
        case ast.Compare():
            for index, op in enumerate(node.ops):
                if type(op) in _OTHER:
                    yield _with(node, ops=[*node.ops[:index], _OTHER[type(op)](), *node.ops[index + 1 :]])
        case ast.BoolOp():
            yield _with(node, op=_OTHER[type(node.op)]())
            for index in range(len(node.values)):
                rest = node.values[:index] + node.values[index + 1 :]
                yield _with(node, values=rest) if len(rest) > 1 else rest[0]
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _OTHER and not _is_text(node):
            yield _with(node, op=_OTHER[type(node.op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.Constant(value=bool(value)):
            if not isinstance(parent, ast.While):
                yield ast.Constant(not value)
        case ast.Constant(value=int(number)):
            yield ast.Constant(number + 1)
            yield ast.Constant(number - 1)
        case ast.Constant(value=float(number)):
            yield from map(ast.Constant, [number * 2, number / 2] if number else [1.0])
        case ast.Call():
            if isinstance(node.func, ast.Name) and node.func.id in _OTHER_FUNCTIONS:
                yield _with(node, func=ast.Name(_OTHER_FUNCTIONS[node.func.id]), keywords=_kept_keywords(node))
            for index, (one, two) in enumerate(zip(node.args, node.args[1:], strict=False)):
                is_starred = isinstance(one, ast.Starred) or isinstance(two, ast.Starred)
                if not is_starred and ast.unparse(node.func) not in _SYMMETRIC and ast.unparse(one) != ast.unparse(two):
                    yield _with(node, args=[*node.args[:index], two, one, *node.args[index + 2 :]])
        case ast.Expr(value=ast.Call() | ast.Await()):
            if not (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in _PLAIN_CALLS):
                yield None
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]) if (
            function is not None and function.name not in _INITIALISERS
        ):
            yield None
        case ast.Return(value=None) | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield None
        case _:
            pass
    if isinstance(node, ast.AugAssign):
        yield None


def _is_condition(node: ast.expr | ast.stmt, parent: ast.AST) -> bool:
    """Whether it says if something is done."""
    match parent:
        case ast.If() | ast.While():
            return node is parent.test and not isinstance(node, ast.Constant)
        case ast.match_case():
            return node is parent.guard
        case ast.comprehension():
            return node in parent.ifs
        case _:
            return False


def _kept_keywords(call: ast.Call) -> list[ast.keyword]:
    """``list`` takes no key."""
    is_list = isinstance(call.func, ast.Name) and _OTHER_FUNCTIONS[call.func.id] == "list"
    return [] if is_list else call.keywords


def _is_text(node: ast.AST) -> bool:
    """Texts that are put together: another operator shows nothing but that it is run."""
    return any(isinstance(each, ast.JoinedStr) or _is_string(each) for each in ast.walk(node))


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _with(node: ast.expr | ast.stmt, **fields: object) -> ast.expr | ast.stmt:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
