"""What every signature of the package says: types of all that it takes and gives, names of most."""

import ast

import pytest
from conftest import ROOT

MODULES = sorted((ROOT / "ddm_jax").rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef
BY_POSITION = 4  # arguments that may be given without their names


def functions(source):
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]


def by_position(function):
    """The parameters that a caller may give by position."""
    parameters = [*function.args.posonlyargs, *function.args.args]
    return parameters[parameters[:1] != [] and parameters[0].arg in ("self", "cls") :]


def without_type(function):
    """The names of what has no type: of parameters, and `return`."""
    arguments = function.args
    others = [*arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    names = [p.arg for p in (*by_position(function), *others) if p.annotation is None]
    given = function.returns is not None or function.name.startswith("__")
    return names if given else [*names, "return"]


def test_such_signatures_are_found():
    many, bare, good = functions(
        "def many(a, b, c, d, e): ...\n"
        "def bare(self, a: int, *b, c, **d) -> int: ...\n"
        "def good(self, a: int, b: int, c: int, d: int, *, e: int = 1) -> int: ...\n"
    )
    assert len(by_position(many)) == 5 and without_type(many) == [*"abcde", "return"]
    assert without_type(bare) == ["c", "b", "d"]
    assert len(by_position(good)) == BY_POSITION and without_type(good) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_signatures_have_types_and_few_arguments_by_position(path):
    for function in functions(path.read_text()):
        what = f"{path.name}:{function.lineno} {function.name}"
        assert len(by_position(function)) <= BY_POSITION, f"{what} takes too many by position"
        assert not without_type(function), f"{what} has no types of {without_type(function)}"
