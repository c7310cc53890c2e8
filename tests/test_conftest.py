"""What the tests share is made once, and compiled as their modules ask."""

import os

import jax
import pytest
from conftest import compiled_fast


def test_the_tests_of_a_file_stay_in_one_process(request):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("all tests are in one process")
    group = "@tests/test_conftest.py"
    assert request.node.nodeid.endswith(group), "pytest-xdist does not see groups of this pytest"


def test_quick_compilation_outlasts_a_use_within(quick_compilation):
    with compiled_fast():
        pass
    assert jax.config.read("jax_disable_most_optimizations")
