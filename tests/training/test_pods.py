"""What a step takes on TPUs that are not at hand."""

import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT, TINY, answer, environment, keys
from jax.errors import JaxRuntimeError

from ddm_jax.errors import UserError
from ddm_jax.training import pods
from ddm_jax.training.layout import Layout
from ddm_jax.training.pods import CHIPS, Chip, Cost, Pod, pod_of, sent
from ddm_jax.verbs import planning
from ddm_jax.verbs.opened import open_run
from ddm_jax.verbs.planning import told

QUICK = ("--config", f"{ROOT}/configs/quickstart.py", "--dry_run")
GROUPS = {
    "listed": "{{0,1,2,3},{4,5,6,7}}",
    "regular": "[2,4]<=[8]",
    "mesh": "mesh['copies'=2,'devices'=4] {'devices'}",
    "both": "mesh['copies'=2,'devices'=2,'x'=3] {'copies','devices'}",
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_a_ring_of_four_sends(groups):
    """Twice three quarters of a sum, half of that where each ends with a part; a result that is
    several arrays counts whole, numbers alone not at all."""
    end = f"(%x), channel_id=1, replica_groups={groups}, to_apply=%add"
    arrays = "(f32[3,5]{1,0:T(8,128)}, /*index=5*/bf16[8]{0}, s32[]{:T(128)})"
    total = 4 * 15 + 2 * 8
    assert sent(f"  %a.1 = {arrays} all-reduce{end}\n") == 2 * total * 3 / 4
    assert sent(f"  ROOT %b = f32[16]{{0}} all-gather{end}") == 64 * 3 / 4
    assert sent(f"  %c = f32[16]{{0}} reduce-scatter{end}") == 64 * 3
    assert sent(f"  %d = f32[16]{{0}} all-to-all{end}") == 64 * 3 / 4
    for kind, size in (("pred", 1), ("f8e4m3fn", 1), ("u64", 8)):
        assert sent(f"%e = {kind}[6]{{0}} all-gather{end}") == size * 6 * 3 / 4


def test_what_is_no_traffic_is_not_counted_and_what_runs_beside_kernels_once():
    moved = "  %p = u8[10]{0} collective-permute(%x), source_target_pairs={{0,1},{1,0}}\n"
    used = "  %f = f32[4]{0} fusion(%all-reduce.1), calls=%all-reduce-scatter\n"
    assert sent(moved + used) == 10
    assert sent("  %a = f32[4]{0} all-reduce(%x), replica_groups={{0},{1}}, to_apply=%add") == 0
    gathered = "  %g = f32[8]{0} all-gather(%x), replica_groups={{0,1}}, config="
    kernels = [f'{gathered}{{"flag_start":"{k}","flag_end":"8"}}' for k in (-1, 2, 2)]
    assert sent("\n".join(kernels)) == 16


def test_the_longest_of_three_bounds_a_step():
    chip = Chip(flops=2e12, memory=2**34, bandwidth=1e9, links=5e8, shapes=("2x2",))
    cost = Cost(flops=4e12, moved=3e9, sent=5e8, held=2**33)
    assert cost.bounds(chip) == {"products": 2.0, "memory": 3.0, "links": 1.0}
    lines = told(cost, Pod("one-4", "2x2", chip, Layout(())), batch=12)
    assert lines[0] == "memory: 8.00 of 16 GiB on each chip"
    assert lines[-1] == "at best 3,000.00 ms a step, 4 images/s, bound by memory"


@pytest.mark.parametrize(
    "name, remedy",
    [
        ("v5", "take v5e or v5p or v6e, as in v5p-256"),
        ("", "take v5e or v5p or v6e, as in v5p-256"),
        ("v5p", "of v5p take 8, 16, 32,"),
        ("v5p-4", "of v5p take 8, 16, 32,"),
        ("v5e-12", "of v5e take 4, 8, 16,"),
        ("v5litepod-2", "v5litepod-2: of v5e take 4, 8, 16,"),
        ("V5P-256", "take v5e or v5p or v6e, as in v5p-256"),
    ],
)
def test_a_pod_that_is_none_is_one_line(name, remedy):
    with pytest.raises(UserError, match=remedy):
        pod_of(name)


def without_a_compiler(**_):
    raise RuntimeError("TPU support is not installed")


def test_without_the_compiler_it_is_named(monkeypatch, capsys, at_root):
    monkeypatch.setattr(pods, "get_topology_desc", without_a_compiler)
    code, _, err = answer(capsys, *QUICK, "--pod=v5e-4")
    assert (code, err.count("\n")) == (2, 1) and 'pip install -e ".[tpu]"' in err


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (("--pod=v5e-4",), "not trained on; add --dry_run"),
        (("--pod=v5e-4", "--dry_run", "--sweep", "seed=1,2"), "without --mode and --sweep"),
        (("--pod=v5e-4", "--dry_run", "--mode", "sample"), "without --mode and --sweep"),
    ],
)
def test_a_pod_is_for_dry_runs_of_training(arguments, remedy, capsys, at_root):
    code, _, err = answer(capsys, *QUICK[:2], *arguments)
    assert (code, err.count("\n")) == (2, 1) and remedy in err


def here(name):
    """A pod of this machine's devices, where nothing is compiled for a TPU."""
    return Pod(name, "2", CHIPS["v5e"], Layout(tuple(jax.local_devices()[:2])))


@pytest.mark.parametrize(
    "setting, remedy",
    [
        ("train.accumulate=2", "train.accumulate=1"),
        ("train.deterministic_shards=4", "deterministic_shards=0"),
    ],
)
def test_steps_that_repeat_operations_are_refused(setting, remedy, monkeypatch, capsys, at_root):
    monkeypatch.setattr("ddm_jax.verbs.entry.pod_of", here)
    code, out, err = answer(capsys, *QUICK, *TINY, f"--config.{setting}", "--pod=v5e-4")
    assert code == 2 and remedy in err and "compiling" not in out


def products(capsys, monkeypatch, *arguments) -> float:
    """How many TFLOP the step of a dry run takes each of two devices."""
    monkeypatch.setattr("ddm_jax.verbs.entry.pod_of", here)
    code, out, err = answer(capsys, *arguments, "--dry_run", "--pod=v5e-4")
    assert code == 0, err
    return float(re.search(r"ms +(\S+) TFLOP", out).group(1))


@pytest.fixture
def given(monkeypatch):
    """A list of what steps are compiled for."""
    found, compiled = [], planning.compiled_cost

    def noted(step, arguments):
        found.append(arguments)
        return compiled(step, arguments)

    monkeypatch.setattr(planning, "compiled_cost", noted)
    return found


def test_a_step_sees_with_the_weights_of_runs_that_it_borrows(
    tiny_run, given, quick_compilation, monkeypatch, capsys, at_root
):
    arguments = (*QUICK[:2], *TINY)
    alone = products(capsys, monkeypatch, *arguments)
    taught = (*arguments, "--config.objective.name=teacher", f"--config.teacher.run={tiny_run}")
    assert 1.2 * alone < products(capsys, monkeypatch, *taught) < 2 * alone
    (_, _, without, _), (_, _, constants, _) = given
    assert not without.borrowed and list(constants.borrowed) == ["teacher"]
    lent = open_run(tiny_run).load().weights.params
    assert planning.shapes(lent) == constants.borrowed["teacher"]


def test_a_step_on_latents_reads_those_that_are_stored(
    tiny_autoencoder, tmp_path, given, quick_compilation, monkeypatch, capsys, at_root
):
    """Which examples that are augmented are not; and none is encoded for a dry run."""
    kept = keys(f"codec.latent.run={tiny_autoencoder}", f"data.cache={tmp_path}")
    arguments = ("--config", f"{ROOT}/configs/digits_latent.py", *TINY, *kept)
    stored = products(capsys, monkeypatch, *arguments)
    encoded = products(capsys, monkeypatch, *arguments, "--config.augment.name=mirror")
    assert stored < encoded
    shapes = [feed["x"].shape[2:] for _, (feed,), _, _ in given]
    assert shapes == [(4, 4, 4), (8, 8, 1)]
    assert not list(tmp_path.rglob("*latents*"))


def test_a_step_is_compiled_on_the_devices_of_the_pod(
    quick_compilation, monkeypatch, capsys, at_root
):
    """With the compiler for CPUs, whose sums over two devices are those of the gradient."""
    monkeypatch.setattr("ddm_jax.verbs.entry.pod_of", here)
    code, out, err = answer(capsys, *QUICK, *TINY, "--pod=v5e-4")
    assert code == 0, err
    parameters = int(re.search(r"parameters: ([\d,]+)", out).group(1).replace(",", ""))
    gigabytes = float(re.search(r"ms +(\S+) GB at 200 GB/s sent", out).group(1))
    np.testing.assert_allclose(gigabytes, parameters * 4 / 1e9, rtol=0.02)
    assert re.search(r"at best \S+ ms a step, \S+ images/s, bound by memory\n$", out)


@pytest.mark.parametrize(
    "message, told",
    [
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory "
            "space hbm. Used 21.50G of 15.75G hbm. Exceeded hbm capacity by 5.75G.\n...",
            "21.50G of 15.75G",
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (280.10G) exceeds available HBM (15.75G).",
            "280.10G of 15.75G",
        ),
        ("RESOURCE_EXHAUSTED: too much", "RESOURCE_EXHAUSTED: too much"),
    ],
)
def test_what_does_not_fit_is_said_with_how_much_it_needs(message, told):
    class Step:
        def lower(self):
            return self

        def compile(self):
            raise JaxRuntimeError(message)

    with pytest.raises(UserError, match=f"not fit into the memory, {told}; take a larger pod, "):
        pods.compiled_cost(Step(), ())


def compiled_for_v5e(*settings):
    """What --pod=v5e-4 says of such a network, in a process of its own, as libtpu reads its
    environment once: (exit code, output, errors).
    """
    pytest.importorskip("libtpu", reason='needs the compiler for TPUs: pip install -e ".[tpu]"')
    arguments = (*QUICK, *TINY, *keys("optim.name=adam", *settings), "--pod=v5e-4")
    found = subprocess.run(
        [sys.executable, "launch.py", *map(str, arguments)],
        cwd=ROOT,
        env=environment(1),
        text=True,
        capture_output=True,
    )
    return found.returncode, found.stdout, found.stderr


def said(pattern, text):
    return float(re.search(pattern, text).group(1).replace(",", ""))


@pytest.mark.slow
def test_the_compiler_for_tpus_counts_what_a_layout_sends_and_keeps():
    """Whole states: the sum of all gradients. In parts: weights twice, in the type of the network,
    and half of such a sum."""
    deep = ("model.name=dit", "model.dit.channels=256", "model.dit.depth=2", "model.dit.heads=2")
    settings = (*deep, "model.dit.patch=4", "model.dit.dtype=bfloat16", "train.batch=64")
    whole, parts = (
        compiled_for_v5e(*settings, f"train.layout={layout}")
        for layout in ("replicated", "sharded")
    )
    for code, _, err in (whole, parts):
        assert (code, err) == (0, "")
    parameters = said(r"parameters: ([\d,]+)", whole[1])
    sent = [1e9 * said(r"(\S+) GB at 200", out) for _, out, _ in (whole, parts)]
    np.testing.assert_allclose(sent[0], 2 * 4 * parameters * 3 / 4, rtol=0.05)
    np.testing.assert_allclose(sent[1], (2 * 2 + 4) * parameters * 3 / 4, rtol=0.1)
    held = [said(r"memory: (\S+) of 16 GiB", out) for _, out, _ in (whole, parts)]
    assert held[1] < held[0]
    for _, out, _ in (whole, parts):
        assert "compiling a step for v5e-4, 4 chips, 2x2" in out


@pytest.mark.slow
def test_the_compiler_for_tpus_says_what_does_not_fit():
    code, _, err = compiled_for_v5e("model.residual_mlp.channels=32768")
    assert (code, err.count("\n")) == (2, 1), err
    assert re.match(r"error: a step does not fit into the memory, [\d.]+G of 15.75G; take", err)
