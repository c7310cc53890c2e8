"""The train and the sample step are made of what they were made of: a change is told in words.

Where it is meant, `python tests/programs.py` writes the new counts.
"""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from conftest import PINNED, ROOT
from programs import STAGES, STORED, counted, differences, programs

pytestmark = pytest.mark.skipif(not PINNED, reason="the counts are those of the pinned version")


@pytest.mark.parametrize("name", ["train, bfloat16", "sample, float32"])
def test_programs_as_they_are_lowered(name):
    dtype = name.split(", ")[1]
    found = counted(*programs(dtype)[name], STAGES[:-1])
    changed = list(differences(name, found, json.loads(STORED.read_text())[name]))
    assert not changed, "\n".join(changed)


@pytest.mark.slow
def test_all_programs_also_as_they_are_compiled():
    """In a process of its own: tests are compiled otherwise."""
    given = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    result = subprocess.run(
        [sys.executable, "tests/programs.py", "check"],
        cwd=ROOT,
        env=given,
        text=True,
        capture_output=True,
    )
    assert (result.returncode, result.stdout) == (0, "nothing has changed\n"), result.stderr


def test_all_but_the_last_layer_are_of_bfloat16():
    """The last convolution, with two gradients in training and written twice in sampling; on a CPU
    sums of norms are products too, of float32."""
    stored = json.loads(STORED.read_text())
    for platform in ("cuda", "tpu"):
        assert stored["train, bfloat16"][platform]["products of float32"] == 3
        assert stored["sample, bfloat16"][platform]["products of float32"] == 2


def test_a_change_is_told_in_words():
    def function(x, key):
        x = jnp.sort(x @ x.T) + jax.random.normal(key, (4, 4))
        return jax.lax.conv_general_dilated(
            x[None, ..., None],
            jnp.ones((3, 3, 1, 1)),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    given = jnp.ones((4, 3), jnp.bfloat16), jax.random.key(0)
    before = counted(function, given, ("asked", "cuda", "compiled"))
    assert before["asked"] | {"flops": 0, "bytes accessed": 0} == {
        "draws": 1,
        "random numbers": 16,
        "keys": 0,
        "sorts": 1,
        "flops": 0,
        "bytes accessed": 0,
    }
    assert before["cuda"] | {"transposes": 1} == {
        "convolutions": 1,
        "matrix products": 1,
        "transposes": 1,
        "loops": 0,
        "products of float32": 1,
    }

    def changed(x, key):
        return function(x, key) + jax.random.uniform(key, (2, 4, 4, 1)).T.sum()

    told = list(differences("f", counted(changed, given, ("asked", "cuda")), before))
    assert "f, asked: draws 1 -> 2" in told and "f, asked: random numbers 16 -> 48" in told
    assert "f, cuda: transposes 1 -> 2" in told
    assert not any("convolutions" in line or "sorts" in line for line in told)
    assert not list(differences("f", before, before))
