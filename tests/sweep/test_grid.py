"""Cells of a sweep: the grammar, products and pairs, names."""

from collections.abc import Iterable

import numpy as np
import pytest

from ddm_jax.errors import UserError
from ddm_jax.sweep import grid


@pytest.mark.parametrize(
    "text, expected",
    [
        ("optim.lr=1e-4,2e-4", [{"optim.lr": "1e-4"}, {"optim.lr": "2e-4"}]),
        ("config.seed= 1 , 2 ", [{"seed": "1"}, {"seed": "2"}]),
        ("seed=7", [{"seed": "7"}]),
        ("m=(1,2),(1,2,4)", [{"m": "(1,2)"}, {"m": "(1,2,4)"}]),
        ("m=(),(4,)", [{"m": "()"}, {"m": "(4,)"}]),
        ("(a,b)=(1,2),(3,4)", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
        ("(m, b) = ((1,2),x), ((4,),y)", [{"m": "(1,2)", "b": "x"}, {"m": "(4,)", "b": "y"}]),
        ("data.name='folder:a,b',digits", [{"data.name": "folder:a,b"}, {"data.name": "digits"}]),
        ("data.cache='',x", [{"data.cache": ""}, {"data.cache": "x"}]),
        ("data.dir=a=b", [{"data.dir": "a=b"}]),
    ],
)
def test_the_grammar_of_sweeps(text, expected):
    assert grid.parse(text) == expected


def test_lists_of_cells_multiply_zip_and_chain():
    h = grid.Hyper
    a, b = h.sweep("a", [1, 2]), h.sweep("config.b", [3, 4])
    assert h.product([a, b]) == [{"a": i, "b": j} for i in (1, 2) for j in (3, 4)]
    assert h.product([]) == [{}]
    assert h.zipit([a, b]) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert h.chain([a, h.fixed("c", 5)]) == [{"a": 1}, {"a": 2}, {"c": 5}]
    assert h.zipit([a, h.fixed("c", 5, length=2)]) == [{"a": 1, "c": 5}, {"a": 2, "c": 5}]
    with pytest.raises(UserError, match="as many"):
        h.zipit([a, h.fixed("c", 5)])


@pytest.mark.parametrize(
    "key, short",
    [
        ("optim.lr", "lr"),
        ("schedule.name", "schedule.name"),
        ("seed", "seed"),
        ("sample.seed", "sample.seed"),
        ("model.ddpm_unet.multipliers", "multipliers"),
        ("sampler.ddim.eta", "ddim.eta"),
        ("sampler.euler.eta", "euler.eta"),
    ],
)
def test_keys_are_as_short_as_is_clear(key, short):
    known = ["optim.lr", "schedule.name", "sampler.name", "seed", "sample.seed"]
    known += ["model.ddpm_unet.multipliers", "sampler.ddim.eta", "sampler.euler.eta"]
    assert grid.shortest(key, known) == short


def test_names_are_readable_safe_and_unique():
    known = ["schedule.name", "sampler.name", "optim.lr", "m", "data.dir"]
    plain = {"schedule.name": "linear", "optim.lr": 1e-4}
    assert grid.name(plain, known) == "schedule.name=linear,lr=0.0001"
    assert grid.name({"m": (1, 2, 4)}, known) == "m=1-2-4"
    assert grid.name({}, known) == "base"
    odd: Iterable = ("a/b", "a_b", "a b", "../x", "ä", "a,m=1", "x" * 300, "x" * 301, "", "a=b")
    names = [grid.name({"data.dir": value}, known) for value in odd]
    names += [grid.name({"m": value}, known) for value in ((), (1,), (1, -2), (-1, 2), ("1",))]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert len(name) <= grid.NAME_LIMIT and set(name) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+=,-"
        )


def test_arrays_are_written_as_the_command_line_takes_them():
    values = (np.float64(0.5), np.arange(2), [np.int32(1), 2], True, "a b")
    assert [grid.as_text(v) for v in values] == ["0.5", "(0, 1)", "(1, 2)", "True", "a b"]
