"""train.layout=sharded: a part of the state on each device, and the numbers of the whole one."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import (
    DRAWS,
    FAST,
    ROOT,
    TINY,
    TINY_UNET,
    answer,
    environment,
    keys,
    one_device,
    sparing,
    state_of,
    two_devices,
)
from jax.sharding import PartitionSpec

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.data.pipeline import feed
from ddm_jax.errors import UserError
from ddm_jax.training import sharded
from ddm_jax.training.base import Constants
from ddm_jax.training.layout import Layout
from ddm_jax.training.sharded import Sharded

QUICK = ("--config", f"{ROOT}/configs/quickstart.py")
SGD = ("--config.optim.name=sgd", "--config.optim.lr=0.5", "--config.optim.warmup=0")
CLIPPED = (*DRAWS, "--config.optim.clip=0.3")
# Two losses of which each trains its own part, and no noise levels.
CRITIC = (
    *("adversary.name=patches", "adversary.patches.channels=8"),
    *("model.conv.channels=8", "train.batch=16"),
)
FEW = "model.residual_mlp.channels=30"  # so few that vectors stay whole where matrices are divided
CASES = {
    "unet": (*TINY_UNET, *SGD, *CLIPPED, "--config.model.ddpm_unet.dropout=0.2"),
    "mlp": (*TINY, *SGD, *CLIPPED, *keys("model.residual_mlp.dropout=0.2", FEW)),
    "memory": (*TINY, *SGD, *CLIPPED, "--config.schedule.cosine.num_timesteps=32"),
    "accumulated": (*TINY, *SGD, "--config.train.accumulate=2"),
    "skipping": (*TINY, *SGD, "--config.train.on_bad_step=skip"),
    "critic": (*SGD, *(f"--config.{text}" for text in CRITIC)),
    "muon": (*TINY, "--config.optim.name=muon", "--config.optim.lr=1e-3"),
}


@pytest.fixture
def all_divided(monkeypatch, quick_compilation):
    """Arrays of tiny networks are divided, too."""
    monkeypatch.setattr(sharded, "SMALL", 32)


def assembled(*settings, config="quickstart.py"):
    config = override(load_config(f"{ROOT}/configs/{config}"), settings)
    data = sources.load(data_options(config))
    return assemble(config, data.spec), data


def fed(setup, data, layout, k):
    how = {"augment": setup.task.augment, "by_index": setup.data.on_device}
    return layout.shard(feed(data, k, setup.train.batch, 0, **how))


def trained(setup, data, layout, steps=3):
    """(state, metrics of the last step) on a layout."""
    state, step = layout.make(setup.init_state), setup.compiled_steps(layout)
    pool = data.columns["x"] if setup.data.on_device else None
    fixed = layout.replicate((Constants(pool, {}), setup.train_key()))
    for k in range(steps):
        state, (metrics,) = step(state, (fed(setup, data, layout, k),), *fixed)
    return state, metrics


def close(one, other, atol=1e-6):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)


# Of them tests that are not slow take three, and CI one more.
TELLING = pytest.param("unet", marks=[pytest.mark.slow, pytest.mark.telling])
OTHERS = sparing(
    [case for case in CASES if case != "unet"], {"mlp", "memory", "accumulated"}.__contains__
)


@pytest.mark.parametrize("case", [TELLING, *OTHERS])
def test_two_devices_with_half_of_the_state_each_are_one_with_all(all_divided, case):
    config = "digits_latent.py:autoencoder" if case == "critic" else "quickstart.py"
    setup, data = assembled(*CASES[case], config=config)
    one = trained(setup, data, one_device())
    two = trained(setup, data, Sharded(two_devices().devices))
    moved = jax.tree.map(lambda a, b: abs(a - b).max(), one[0].params, setup.init_params())
    assert max(jax.tree.leaves(moved)) > 1e-3
    close(*jax.device_get((one, two)), atol=1e-4 if case == "muon" else 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", sparing(["ddpm_unet", "edm2_unet", "dit"], "dit".__eq__))
def test_the_backward_pass_gathers_weights_once_more(monkeypatch, name, dtype):
    """Also where they are used in another type, normalised, or as matrices: none of it is kept. A
    layer whose input needs no gradient does not need its weights again."""
    monkeypatch.setattr(sharded, "SMALL", 200)
    model = {
        "ddpm_unet": ("channels=16", "multipliers=(1,2)", "attention=(4,)"),
        "edm2_unet": ("channels=16", "multipliers=(1,2)", "attention=(4,)"),
        "dit": ("channels=16", "depth=2", "heads=2", "patch=2"),
    }
    settings = [f"model.{name}.{text}" for text in (*model[name], f"dtype={dtype}")]
    text = lowered(Sharded(two_devices().devices), f"model.name={name}", *settings)
    divided = text.count("stablehlo.reduce_scatter")
    assert divided > 16
    assert text.count("stablehlo.all_gather") >= 2 * divided - 2


def test_the_backward_pass_computes_nothing_again_but_what_it_gathers(monkeypatch):
    """As many products as where the state is whole, though kernels outweigh what they see."""
    monkeypatch.setattr(sharded, "SMALL", 200)
    sizes = ("channels=32", "multipliers=(1,2)", "attention=(4,)")
    settings = ["model.name=edm2_unet", *(f"model.edm2_unet.{text}" for text in sizes)]
    layouts = two_devices(), Sharded(two_devices().devices)
    whole, parts = (lowered(layout, *settings, "train.batch=2") for layout in layouts)
    for product in ("stablehlo.convolution", "stablehlo.dot_general"):
        assert whole.count(product) == parts.count(product) > 100


def lowered(layout, *settings):
    """The text of the program of a step."""
    setup, data = assembled(*keys(*settings))
    batch = feed(data, 0, setup.train.batch, 0, augment=setup.task.augment, by_index=False)
    state, part = layout.given(jax.eval_shape(setup.init_state), batch)
    fixed = Constants(None, {}), jax.eval_shape(setup.train_key)
    return setup.compiled_steps(layout).lower(state, (part,), *fixed).as_text()


@pytest.mark.parametrize("layout", ["none", "one", "parts"])
def test_layouts_know_the_shapes_of_what_they_are_given(all_divided, layout):
    """A state and a batch as they are placed, of which nothing is made."""
    layouts = {"none": one_device(), "one": two_devices(), "parts": Sharded(two_devices().devices)}
    layout = layouts[layout]
    setup, data = assembled(*TINY)
    batch = feed(data, 0, setup.train.batch, 0, augment=setup.task.augment, by_index=False)
    placed = layout.make(setup.init_state), layout.shard(batch)
    given = layout.given(jax.eval_shape(setup.init_state), batch)
    shapes = [jax.tree.map(lambda a: (a.shape, a.dtype), tree) for tree in (placed, given)]
    assert shapes[0] == shapes[1]
    if isinstance(layout, Sharded):
        equal = jax.tree.map(
            lambda a, b: a.sharding.is_equivalent_to(b.sharding, a.ndim), placed, given
        )
        assert all(jax.tree.leaves(equal))


@pytest.mark.parametrize("group", [1, 2])
def test_groups_that_share_a_state_are_one_device_too(all_divided, group):
    setup, data = assembled(*CASES["mlp"])
    layout = Sharded(two_devices().devices, group=group)
    given = trained(setup, data, one_device()), trained(setup, data, layout)
    close(*jax.device_get(given))
    parts = [a.addressable_shards[0].data.size / a.size for a in jax.tree.leaves(given[1][0])]
    assert min(parts) == 1 / group


def test_a_group_that_does_not_divide_the_devices_is_refused():
    with pytest.raises(UserError, match="train.fsdp=3: 2 device.s. do not divide .* or 0"):
        Sharded(two_devices().devices, group=3)


def test_data_that_stay_on_the_devices_give_the_same(all_divided):
    settings = (*TINY, *SGD)
    setup, data = assembled(*settings, "--config.data.on_device=True")
    there = trained(setup, data, Sharded(two_devices().devices), steps=1)
    fed_ones = trained(*assembled(*settings), one_device(), steps=1)
    close(*jax.device_get((there, fed_ones)))


def test_each_device_keeps_its_part_alone(all_divided):
    """Of weights, average and the optimiser's memory; the new state takes the old one's place."""
    setup, data = assembled(*TINY)
    layout = Sharded(two_devices().devices)
    before = layout.make(setup.init_state)
    each = [piece.data.nbytes for a in jax.tree.leaves(before) for piece in a.addressable_shards]
    assert layout.kept(before) == sum(each) / 2 < 0.6 * one_device().kept(before)
    parts = [a for a in jax.tree.leaves(before) if not a.sharding.is_fully_replicated]
    sizes = [a.size for a in parts]
    assert sum(sizes) > 0.9 * sum(a.size for a in jax.tree.leaves(before))
    for array in parts:
        assert [piece.data.size for piece in array.addressable_shards] == [array.size // 2] * 2
    fixed = layout.replicate((Constants(None, {}), setup.train_key()))
    after, metrics = setup.compiled_steps(layout)(before, (fed(setup, data, layout, 0),), *fixed)
    assert all(a.is_deleted() for a in parts)
    assert jax.tree.map(lambda a: a.sharding, after) == jax.tree.map(lambda a: a.sharding, before)
    assert all(a.sharding.is_fully_replicated for a in jax.tree.leaves(metrics))


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((64, 32), 0),
        ((3, 3, 32, 64), 3),
        ((64, 64), 1),
        ((1027, 64), 1),
        ((1023,), None),
        ((1025,), None),
        ((1024,), 0),
        ((), None),
    ],
)
def test_the_longest_axis_that_the_devices_divide_is_divided(shape, axis):
    spec = Sharded(two_devices().devices).spec(jax.ShapeDtypeStruct(shape, jnp.float32))
    assert spec == (PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, "devices"))


def test_the_axis_of_a_group_is_what_the_group_divides():
    """Of four processes with two devices, of which two share a state."""
    layout = Sharded(two_devices().devices, 0, 4, group=2)
    shape = jax.ShapeDtypeStruct((1026, 64), jnp.float32)
    assert layout.count == 8 and layout.spec(shape) == PartitionSpec("devices")


@pytest.mark.slow
def test_what_a_device_keeps_is_what_the_page_on_scaling_says():
    text = (ROOT / "docs/scaling.md").read_text()
    command = text.partition("python launch.py")[2].partition("--dry_run")[0]
    given = environment(64, PYTEST_XDIST_WORKER="sixty_four", PYTHONPATH=str(ROOT))
    for more, name in (("", "64"), ("--config.train.fsdp=8", "64, with `--config.train.fsdp=8`")):
        words = [*command.replace("\\", "").split(), *more.split(), "--dry_run"]
        found = subprocess.run(
            [sys.executable, "launch.py", *words],
            env=given,
            cwd=ROOT,
            text=True,
            capture_output=True,
        )
        kept = found.stdout.partition("state: ")[2].partition(" MiB")[0]
        assert f"| {name} | {kept} |" in text, found.stdout + found.stderr


def memory(setup, data, layout, options):
    """Bytes of a device: the state, and what the train step needs beside it."""
    state = layout.make(setup.init_state)
    fixed = layout.replicate((Constants(None, {}), setup.train_key()))
    lowered = setup.compiled_steps(layout).lower(state, (fed(setup, data, layout, 0),), *fixed)
    found = lowered.compile(compiler_options=options).memory_analysis()
    return found.argument_size_in_bytes + found.temp_size_in_bytes


def eight():
    """In a process of eight devices: a network is that of one, and how much memory each needs."""
    devices = tuple(jax.local_devices())
    assert len(devices) == 8
    setup, data = assembled(*CASES["mlp"], "--config.train.batch=16")
    one, all_of_them = trained(setup, data, one_device()), Sharded(devices)
    groups = [Sharded(devices, group=group) for group in (4, 2)]
    for layout in (all_of_them, *groups):
        close(*jax.device_get((one, trained(setup, data, layout))))
    wide = ("--config.model.name=residual_mlp", "--config.model.residual_mlp.channels=512")
    setup, data = assembled(*wide, "--config.train.batch=16")
    # What compilers for accelerators do of themselves: keep apart what is gathered twice, and
    # order operations for memory.
    options = {
        "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
        "xla_disable_hlo_passes": "cse_barrier_expander",
    }
    whole = memory(setup, data, Layout(devices), options)
    for layout in (all_of_them, *groups):
        print(memory(setup, data, layout, options) / whole)


@pytest.mark.telling
@pytest.mark.slow
def test_on_eight_devices_each_needs_a_fifth_of_the_memory_and_more_in_groups():
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/training")))
    given = environment(8, PYTHONPATH=paths, PYTEST_XDIST_WORKER="eight", **FAST)
    script = "import test_sharded as t; t.sharded.SMALL = 256; t.eight()"
    found = subprocess.run(
        [sys.executable, "-c", script], env=given, cwd=ROOT, text=True, capture_output=True
    )
    assert found.returncode == 0, found.stderr
    all_of_them, by_four, by_two = map(float, found.stdout.split())
    assert all_of_them < 0.2 and all_of_them < by_four < 0.35 and by_four < by_two < 0.6


def test_a_run_goes_on_with_its_state_whole_and_in_parts(
    all_divided, at_root, tmp_path, capsys, monkeypatch
):
    """On other devices too; samples are drawn and the run is measured in between."""
    settings = (*TINY, *SGD, "--config.optim.decay=constant", "--config.train.save_every=2")
    watched = ("train.evaluate_every=2", "evaluate.metrics=frechet", "evaluate.samples=16")
    settings += tuple(f"--config.{text}" for text in (*watched, "evaluate.reference_count=60"))

    def run(folder, devices, steps, layout):
        monkeypatch.setattr("ddm_jax.verbs.entry.all_devices", devices)
        lengths = (f"train.steps={steps}", f"train.layout={layout}", "train.sample_every=2")
        arguments = (*settings, *(f"--config.{text}" for text in lengths))
        code, out, err = answer(capsys, *QUICK, *arguments, "--workdir", str(tmp_path / folder))
        assert code == 0, err
        return out

    said = run("run", two_devices, 2, "sharded")
    assert "2 x cpu on 1 process(es), the state divided among them" in said
    assert "resuming at step 2" in run("run", one_device, 4, "replicated")
    assert "resuming at step 4" in run("run", two_devices, 6, "sharded")
    run("whole", one_device, 6, "replicated")
    (step, ours), (_, whole) = state_of(tmp_path / "run"), state_of(tmp_path / "whole")
    assert step == 6
    close(dict(ours.items()), dict(whole.items()), atol=2e-5)
    for k in (2, 4, 6):
        assert (tmp_path / f"run/samples/step_{k}.png").exists()


def test_layouts_that_cannot_be_are_one_line(tmp_path, at_root, capsys):
    folder = ("--workdir", str(tmp_path / "run"))
    for setting, remedy in (
        (("layout=shared",), "choose one of replicated, sharded"),
        (("layout=sharded", "deterministic_shards=2"), "take one of the two"),
        (("fsdp=2",), "set train.layout=sharded too"),
        (("layout=sharded", "fsdp=-1"), "a number of devices, or 0"),
        (("layout=sharded", "fsdp=3"), "take what divides them"),
    ):
        arguments = [f"--config.train.{text}" for text in setting]
        code, _, err = answer(capsys, *QUICK, *TINY, *arguments, "--dry_run", *folder)
        assert code == 2 and remedy in err and err.count("\n") == 1
