"""The tests of a file stay in one process, so that what they share is made once."""

import os

import pytest


def test_the_tests_of_a_file_stay_in_one_process(request):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("all tests are in one process")
    group = "@tests/test_groups.py"
    assert request.node.nodeid.endswith(group), "pytest-xdist does not see groups of this pytest"
