"""Several steps in one call: what each call takes, and that the weights do not know of it."""

import json
import random

import jax
import numpy as np
import pytest
from conftest import (
    DRAWS,
    ROOT,
    TINY,
    TINY_MLP,
    TINY_UNET,
    answer,
    one_device,
    state_of,
    two_devices,
)

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.data.pipeline import feed
from ddm_jax.options.training import TrainOptions
from ddm_jax.training import logs, sharded
from ddm_jax.training.base import Constants
from ddm_jax.training.calls import calls, in_turn
from ddm_jax.training.sharded import Sharded

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = 8
# What rounds and what draws: dropout, flips, Adam with clipping, times drawn by the losses seen.
ALL_ON = (*DRAWS, "--config.optim.clip=0.3", "--config.optim.lr=2e-2")
NETWORKS = {
    "residual_mlp": (*TINY, *ALL_ON, "--config.model.residual_mlp.dropout=0.2"),
    "unet": (*TINY_UNET, *ALL_ON),
    "unet accumulated": (*TINY_UNET, *ALL_ON, "--config.train.accumulate=2"),
    "muon": (*TINY, "--config.optim.name=muon", "--config.optim.lr=1e-3"),
    "accumulated": (*TINY, *ALL_ON, "--config.train.accumulate=2"),
    "guarded": (*TINY, *ALL_ON, "--config.train.on_bad_step=skip"),
    "shards": (*TINY, *ALL_ON, "--config.train.deterministic_shards=4"),
}
LAYOUTS = {
    "one device": one_device,
    "two devices": two_devices,
    "parts": lambda: Sharded(two_devices().devices),
}


def trained(settings, layout, lengths):
    """(state, metrics of every step) after calls of so many steps each."""
    config = override(load_config(f"{ROOT}/configs/quickstart.py"), settings)
    data = sources.load(data_options(config))
    setup = assemble(config, data.spec)
    state, step = layout.make(setup.init_state), setup.compiled_steps(layout)
    fixed = layout.replicate((Constants(None, {}), setup.train_key()))
    seen, how = [], {"augment": setup.task.augment, "by_index": False}
    for length in lengths:
        first = len(seen)
        feeds = [
            layout.shard(feed(data, k, setup.train.batch, 0, **how))
            for k in range(first, first + length)
        ]
        state, metrics = step(state, tuple(feeds), *fixed)
        seen += metrics
    return jax.device_get((state, seen))


def same(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("network", "layout"),
    [
        pytest.param("residual_mlp", "one device", marks=[pytest.mark.slow, pytest.mark.telling]),
        *(
            pytest.param(network, layout, marks=pytest.mark.slow)
            for network, layout in (
                ("unet", "one device"),
                ("residual_mlp", "two devices"),
                ("unet", "parts"),
                ("unet accumulated", "one device"),
                ("residual_mlp", "parts"),
                ("muon", "one device"),
                ("accumulated", "one device"),
                ("guarded", "two devices"),
                ("shards", "two devices"),
            )
        ),
    ],
)
def test_steps_of_a_call_are_the_steps_of_several(monkeypatch, network, layout):
    """As an optimising compiler makes the programs, and without one step that is lost."""
    monkeypatch.setattr(sharded, "SMALL", 32)
    settings, layout = NETWORKS[network], LAYOUTS[layout]()
    one, two, four = (trained(settings, layout, [n] * (STEPS // n)) for n in (1, 2, 4))
    assert same(one, two) and same(two, four)
    state, metrics = four
    assert state.step == STEPS == len(metrics)
    assert len({float(m.loss) for m in metrics}) == STEPS


def test_steps_of_a_call_are_one_loop_of_one_program():
    def step(state, fed, constants, key):
        return state + (fed["x"] * constants).sum(), fed["x"].max()

    feeds = tuple({"x": np.full(3, k, np.float32)} for k in range(5))
    steps = jax.jit(in_turn(step))
    text = steps.lower(np.float32(1), feeds, np.float32(2), None).as_text()
    assert text.count("stablehlo.while") == 1
    state, metrics = steps(np.float32(1), feeds, np.float32(2), None)
    assert state == 1 + 2 * 3 * (0 + 1 + 2 + 3 + 4)
    assert [float(m) for m in metrics] == [0, 1, 2, 3, 4]
    text = steps.lower(np.float32(1), feeds[:1], np.float32(2), None).as_text()
    assert "while" not in text


def test_calls_take_every_step_once_and_none_runs_past_what_is_due():
    rng = random.Random(0)
    for _ in range(300):
        save, sample, measure = rng.randint(1, 30), *(rng.choice((0, rng.randint(1, 30))),) * 2
        options = TrainOptions(
            steps=rng.randint(1, 90),
            save_every=save,
            sample_every=sample,
            evaluate_every=measure,
            steps_per_call=rng.randint(1, 12),
        )
        first = rng.randint(0, options.steps)
        found = list(calls(first, options))
        assert [k for call in found for k in call] == list(range(first, options.steps))
        for call in found:
            due = [k for k in range(call.start + 1, options.steps + 1) if is_due(options, k)]
            assert call.stop <= due[0]
            most = options.steps_per_call
            assert len(call) == (most if call.start + most <= due[0] else 1)


def is_due(options, step):
    periods = options.save_every, options.sample_every, options.evaluate_every
    return step == options.steps or any(step % period == 0 for period in periods if period)


def test_one_step_a_call_is_what_is_taken_where_nothing_is_said():
    assert list(calls(2, TrainOptions(steps=5))) == [range(2, 3), range(3, 4), range(4, 5)]
    assert list(calls(5, TrainOptions(steps=5))) == []
    wide = TrainOptions(steps=10, steps_per_call=4)
    assert list(calls(1, wide)) == [range(1, 5), range(5, 9), range(9, 10)]


def test_a_run_is_the_same_with_several_steps_a_call_and_goes_on_with_one(tmp_path, capsys):
    """Rows of the log and checkpoints; profiled by whole calls."""
    more = [f"--config.train.{text}" for text in ("steps=10", "log_every=3", "save_every=5")]
    for name, per_call, traced in (("one", 1, 2), ("four", 4, 5)):
        own = f"--config.train.steps_per_call={per_call}"
        code, out, err = answer(
            capsys, *TINY_MLP, *more, own, "--workdir", tmp_path / name, "--profile=2"
        )
        assert code == 0 and f"{traced} steps; op" in out, out + err
    for step in (5, 10):
        assert same(state_of(tmp_path / "one", step), state_of(tmp_path / "four", step))
    rows = [logs.metrics(tmp_path / name) for name in ("one", "four")]
    for row in rows[0] + rows[1]:
        del row["images_per_s"]
    assert [row["step"] for row in rows[1]] == [3, 6, 9, 10]
    assert same(*rows)
    longer = (*TINY_MLP, "--config.train.save_every=5", "--config.train.steps=12")
    code, out, err = answer(capsys, *longer, "--workdir", tmp_path / "four")
    assert code == 0 and "step 10" in out, out + err


def test_a_step_within_a_call_that_is_not_finite_is_left_out_and_told(tmp_path, capsys):
    """By its own number, as where each step is a call."""
    settings = ("steps=8", "save_every=8", "on_bad_step=skip", "log_every=4")
    blown = ("--config.optim.name=sgd", "--config.optim.lr=1e20")
    found = []
    for per_call in (1, 4):
        run = tmp_path / str(per_call)
        own = [f"--config.train.{text}" for text in (*settings, f"steps_per_call={per_call}")]
        code, out, err = answer(capsys, *TINY_MLP, *own, *blown, "--workdir", run)
        assert code == 0, out + err
        rows = [json.loads(line) for line in (run / "bad_steps.jsonl").read_text().splitlines()]
        assert rows and all(f"step {row['step']}:" in out for row in rows)
        found.append([(row["step"], row["examples"], row["key"]) for row in rows])
    assert found[0] == found[1]


@pytest.mark.parametrize("given", ["0", "-2"])
def test_no_steps_a_call_are_refused(tmp_path, capsys, given):
    setting = f"--config.train.steps_per_call={given}"
    code, _, err = answer(capsys, *TINY_MLP, setting, "--workdir", tmp_path / "run")
    assert code == 2 and f"steps_per_call={given} must be at least 1" in err
