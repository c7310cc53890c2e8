"""Plant a deliberate error in a function and see whether a law notices it.

For every mutation one expression of one function is replaced, its tests are run, and the function
is put back. Functions are named as Python does within a module and found wherever they stand in
the package; expressions are compared as syntax, so that neither moving nor reformatting code
touches the table. All in one process: a mutation costs the time of its tests.
"""

import argparse
import ast
import contextlib
import functools
import importlib
import inspect
import io
import os
import pkgutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FunctionType
from typing import NamedTuple

import jax
import pytest

import ddm_jax

HERE = Path(__file__).resolve().parent


class Mutation(NamedTuple):
    """The expression `right` of `function` (as in `DDPM.step`) becomes `wrong`.

    tests: the stem of a file of tests and what `pytest -k` selects from it; none of them is slow.
    """

    row: str
    function: str
    right: str
    wrong: str
    tests: tuple[str, str]


@functools.cache
def functions() -> dict[str, list[FunctionType]]:
    """Every function of the package by its qualified name within its module."""
    found: dict[str, list[FunctionType]] = {}
    for info in pkgutil.walk_packages(ddm_jax.__path__, "ddm_jax."):
        module = importlib.import_module(info.name)
        own = [v for v in vars(module).values() if getattr(v, "__module__", "") == info.name]
        inner = [v for cls in own if inspect.isclass(cls) for v in vars(cls).values()]
        for value in (*own, *inner):
            value = getattr(value, "fget", None) or inspect.unwrap(value)
            if isinstance(value, FunctionType) and value.__module__ == info.name:
                found.setdefault(value.__qualname__, []).append(value)
    return found


def replaced(function: Callable, right: str, wrong: str) -> list[ast.Module]:
    """The syntax of `function` with `right` replaced by `wrong`, once for each place of it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []
    wanted = ast.dump(ast.parse(right, mode="eval").body)
    places = [i for i, node in enumerate(ast.walk(tree)) if ast.dump(node) == wanted]

    def at(place: int) -> ast.Module:
        copy = ast.parse(ast.unparse(tree))
        node = list(ast.walk(copy))[place]

        class Replace(ast.NodeTransformer):
            def visit(self, other):
                same = other is node
                return ast.parse(wrong, mode="eval").body if same else self.generic_visit(other)

        return ast.fix_missing_locations(Replace().visit(copy))

    return [at(place) for place in places]


def found(mutation: Mutation) -> tuple[FunctionType, ast.Module]:
    """The one function in which `right` stands, and its syntax with `wrong` in that one place."""
    named = functions().get(mutation.function, [])
    changed = [(f, tree) for f in named for tree in replaced(f, mutation.right, mutation.wrong)]
    if len(changed) != 1:
        raise ValueError(f"{mutation.right!r} is {len(changed)} times in {mutation.function}")
    return changed[0]


@contextlib.contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The function's code replaced in place, so that everything that refers to it is mutated."""
    function, tree = found(mutation)
    names: dict = {}
    exec(compile(tree, mutation.function, "exec"), function.__globals__, names)
    right = function.__code__
    function.__code__ = names[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = right


def forget() -> None:
    """Empty the caches of compiled programs, and of functions of the package and of the tests."""
    jax.clear_caches()
    tests = str(HERE)
    for module in [
        m
        for name, m in sys.modules.items()
        if name.startswith("ddm_jax") or (getattr(m, "__file__", None) or "").startswith(tests)
    ]:
        classes = [v for v in vars(module).values() if inspect.isclass(v)]
        for value in (*vars(module).values(), *(v for c in classes for v in vars(c).values())):
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def passes(file: str, selected: str) -> bool:
    """Whether tests that are not slow ran and passed; what they print is kept away."""
    forget()
    (path,) = HERE.rglob(f"{file}.py")
    arguments = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", str(path), "-k", selected)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = pytest.main(list(arguments))
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest {arguments}: {code!r}\n{out.getvalue()}")
    return code == pytest.ExitCode.OK


def main(mutations: Sequence[Mutation], arguments: Sequence[str]) -> int:
    """Run the mutations whose row or function holds one of `arguments`; how many were missed.

    `--share=i/n` takes every n-th of them from the i-th on. `--proven` says that their tests are
    known to pass without a mutation, as they do after the suite of tests that are not slow: nothing
    fails for a reason of its own then, and half of the time is saved.
    """
    os.chdir(HERE.parent)
    sys.path.insert(0, str(HERE.parent))
    reader = argparse.ArgumentParser()
    reader.add_argument("parts", nargs="*", help="of names of rows and functions; default: all")
    reader.add_argument("--share", default="0/1")
    reader.add_argument("--proven", action="store_true")
    flags = reader.parse_args(arguments)
    first, every = map(int, flags.share.split("/"))
    named = [f"{m.row} {m.function}" for m in mutations]
    chosen = [
        m
        for m, name in zip(mutations, named, strict=True)
        if not flags.parts or any(part in name for part in flags.parts)
    ][first::every]
    if flags.proven:
        prepare()
    else:
        check_unmutated(chosen)
    missed = 0
    for mutation in chosen:
        with mutated(mutation):
            caught = not passes(*mutation.tests)
        print("caught" if caught else "missed", mutation.row, mutation.function, flush=True)
        missed += not caught
    return missed


def prepare() -> None:
    """Let pytest import what it watches, conftest.py too, before anything of the package is."""
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-n", "0", "-p", "no:cacheprovider", str(HERE / "sweep")])


def check_unmutated(mutations: Sequence[Mutation]) -> None:
    """Raise RuntimeError for a file of whose tests some fail without any mutation."""
    for file in sorted({mutation.tests[0] for mutation in mutations}):
        own = {f"({mutation.tests[1]})" for mutation in mutations if mutation.tests[0] == file}
        if not passes(file, " or ".join(sorted(own))):
            raise RuntimeError(f"tests of {file} fail without any mutation")
