"""Convolutions on a CPU are XLA's own, where the user does not say otherwise."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from ddm_jax.models import kernels
from ddm_jax.models.kernels import FLAG, known, prefer_xla

CONVOLUTIONS = "LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
PROGRAM = """
import launch
assert launch.main(["--config", "configs/quickstart.py", "--dry_run"]) == 0
import jax, jax.numpy as jnp
x, w, axes = jnp.ones((4, 16, 16, 32)), jnp.ones((3, 3, 32, 32)), ("NHWC", "HWIO", "NHWC")
conv = lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=axes)
print("ynn" in jax.jit(conv).lower(x, w).compile().as_text())
"""


@pytest.mark.skipif(not known(FLAG), reason="this version of XLA has no YNNPACK")
@pytest.mark.parametrize(("given", "handed"), [("", "False"), (f"--{FLAG}={CONVOLUTIONS}", "True")])
def test_a_command_computes_convolutions_by_xla_unless_told_otherwise(given, handed):
    environ = {**os.environ, "XLA_FLAGS": given}
    how = {"cwd": ROOT, "env": environ, "text": True, "capture_output": True}
    result = subprocess.run([sys.executable, "-c", PROGRAM], **how)
    assert result.stdout.splitlines()[-1:] == [handed], result.stdout + result.stderr


def test_flags_of_the_user_stay_and_unknown_ones_are_not_named(monkeypatch):
    for given, left in (
        ({}, f"--{FLAG}="),
        ({"XLA_FLAGS": "--xla_dump_to=d"}, f"--xla_dump_to=d --{FLAG}="),
        ({"XLA_FLAGS": f"--{FLAG}=X"}, f"--{FLAG}=X"),
    ):
        if known(FLAG):
            prefer_xla(given)
            assert given["XLA_FLAGS"] == left
    monkeypatch.setattr(kernels, "known", lambda flag: False)
    given = {"XLA_FLAGS": "--xla_dump_to=d"}
    prefer_xla(given)
    assert given == {"XLA_FLAGS": "--xla_dump_to=d"}


def test_a_flag_is_known_by_its_name_in_every_library(monkeypatch, tmp_path):
    assert known("xla_force_host_platform_device_count") and not known("xla_cpu_" + "no" * 9)
    ours, of_an_accelerator = tmp_path / "a.so", tmp_path / "b.so"
    ours.write_bytes(b"\0xla_one\0xla_two\0")
    of_an_accelerator.write_bytes(b"\0xla_two\0")
    monkeypatch.setattr(kernels, "libraries", lambda: iter((ours, of_an_accelerator)))
    assert known("xla_two") and not known("xla_one")
    monkeypatch.setattr(kernels, "libraries", lambda: iter(()))
    assert not known("xla_two")
