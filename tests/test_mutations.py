"""The laws notice every deliberate error of the table, and it says which rows have none."""

import subprocess
import sys

import mutating
import mutations
import pytest
from conftest import ROOT, environment

from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.schedules import SCHEDULES

SHARES = 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "share",
    [
        pytest.param(
            i,
            marks=[pytest.mark.xdist_group(f"mutations {i}"), *[pytest.mark.telling] * (i == 0)],
            id=f"share{i}",
        )
        for i in range(SHARES)
    ],
)
def test_every_mutation_is_caught(share):
    """By tests that the suite of tests that are not slow has shown to pass without it."""
    result = subprocess.run(
        [sys.executable, "tests/mutations.py", f"--share={share}/{SHARES}", "--proven"],
        cwd=ROOT,
        env=environment(2),
        text=True,
        capture_output=True,
    )
    lines = result.stdout.splitlines()
    assert [line for line in lines if not line.startswith("caught")] == [], result.stderr
    assert result.returncode == 0, result.stderr
    assert len(lines) == len(mutations.ALL[share::SHARES])


@pytest.mark.parametrize("name", [*SAMPLERS, *SCHEDULES])
def test_a_row_has_a_mutation(name):
    if name not in {mutation.row for mutation in mutations.ALL}:
        pytest.skip(f"no deliberate error is known for {name}: see tests/mutations.py")


def test_what_a_mutation_replaces_stands_once_in_its_function():
    for mutation in mutations.ALL:
        mutating.found(mutation)
