"""Runs that are killed at random moments end in the bits of one that nobody killed."""

import collections
import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_MLP, assert_same_state, state_of
from kills import Nursery, Run, dice

from ddm_jax.training import logs
from ddm_jax.training.watchdog import STALLED

LARGE = [pytest.mark.slow, pytest.mark.chaos]
OF_CI = [pytest.mark.slow, pytest.mark.telling]


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


def killed(process: Run, moment: str, folder, delay: float) -> bool:
    """Whether a process was killed at its moment, not only near it."""
    checkpoints = folder / "checkpoints"

    def saving():
        return [path for path in checkpoints.glob("*orbax-checkpoint-tmp*") if path.is_dir()]

    if moment == "starting":
        time.sleep(delay)
        exact = "step" not in process.said()
    elif moment == "restoring":
        process.until(lambda: process.reads(checkpoints) or "resuming" in process.said())
        exact = "resuming" not in process.said()
    else:
        process.until(lambda: "\nstep" in process.said() and [*checkpoints.glob("[0-9]*")])
        if moment == "saving":
            process.until(saving, every=0.0)
        else:
            time.sleep(delay)
        exact = True
    assert process.kill() == -signal.SIGKILL, process.said()
    return bool(saving()) if moment == "saving" else exact


@pytest.mark.parametrize("kills", [pytest.param(10, marks=OF_CI), pytest.param(200, marks=LARGE)])
def test_random_kills_leave_no_trace(kills, nursery, tmp_path):
    """SIGKILL while it starts, restores, trains and saves; most after the first checkpoint."""
    run, whole, log = tmp_path / "run", tmp_path / "whole", tmp_path / "log"
    steps = 40 * kills
    arguments = (*TINY_MLP, f"--config.train.steps={steps}", "--config.optim.decay=cosine")
    chance, hits = dice(0), collections.Counter()
    moments = ["training", "saving", "training", "restoring", "starting"]
    for k in range(kills):
        moment = moments[k % len(moments)] if k else "training"
        process = nursery.start((*arguments, "--workdir", run), log)
        hits[moment] += killed(process, moment, run, chance.uniform(0, 0.3))
    print(f"of {kills} kills: {dict(hits)}")
    assert hits["saving"] and hits["training"] >= kills // 3
    nursery.run((*arguments, "--workdir", run), log)
    nursery.run((*arguments, "--workdir", whole), log)
    assert_same_state(run, whole)
    rows = [row["step"] for row in logs.read(run / "metrics.jsonl")]
    assert rows == [*range(10, steps + 1, 10)]
    assert not [*run.glob("checkpoints/*tmp*")] and not (run / "damaged").exists()


def two(nursery, run, log, arguments, devices=1):
    """Two processes on one run, with so many devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        where = ("--coordinator", f"localhost:{free.getsockname()[1]}", "--processes", 2)
    arguments = (*arguments, "--workdir", run, *where)
    return [
        nursery.start((*arguments, "--process", i), log.with_suffix(f".{i}"), devices)
        for i in range(2)
    ]


@pytest.mark.parametrize(
    ("kills", "layout"),
    [
        pytest.param(2, "sharded", marks=OF_CI),
        pytest.param(40, "replicated", marks=LARGE),
        pytest.param(40, "sharded", marks=LARGE),
    ],
)
def test_where_one_of_two_processes_is_killed_both_end_and_go_on(kills, layout, nursery, tmp_path):
    run, whole, log = tmp_path / "run", tmp_path / "whole", tmp_path / "log"
    arguments = (*TINY_MLP, f"--config.train.steps={40 * kills}")
    arguments += ("--config.model.residual_mlp.channels=64", f"--config.train.layout={layout}")
    chance, ends = dice(1), collections.Counter()
    for k in range(kills):
        both = two(nursery, run, log, arguments)
        both[0].until(lambda both=both: "\nstep" in both[0].said())
        time.sleep(chance.uniform(0, 0.2))
        victim = k % 2
        assert both[victim].kill() == -signal.SIGKILL
        end, said = both[1 - victim].wait(), both[1 - victim].said()
        ends[end] += 1
        if end == STALLED:
            last = said.splitlines()[-1]
            assert last.startswith("stopped: another process of this run has gone"), said
        else:  # without its coordinator the runtime may end a process before we can
            assert end == -signal.SIGABRT and victim == 0, said
    print(f"of {kills} that were left alone: {dict(ends)}")
    for folder in (run, whole):
        both = two(nursery, folder, log, arguments)
        assert [process.wait() for process in both] == [0, 0], both[0].said() + both[1].said()
    assert_same_state(run, whole)


@pytest.mark.slow
@pytest.mark.telling
@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_two_processes_train_save_and_resume_like_one(layout, nursery, tmp_path):
    """Their weights are those of one device; only the first process speaks and writes."""
    arguments = (*TINY_MLP, "--config.optim.name=sgd", "--config.optim.decay=constant")
    arguments += ("--config.train.save_every=3", "--config.train.log_every=3")
    arguments += ("--config.model.residual_mlp.channels=64", f"--config.train.layout={layout}")
    steps = ("--config.train.steps=3", "--config.train.sample_every=6")
    for more in (steps, steps[1:]):
        both = two(nursery, tmp_path / "two", tmp_path / "log", (*arguments, *more), devices=2)
        assert [process.wait() for process in both] == [0, 0], both[0].said() + both[1].said()
        first, second = (process.said() for process in both)
        assert "on 4 x cpu on 2 process" in first and "step" not in second
    assert "resuming at step 3" in first and (tmp_path / "two/samples/step_6.png").exists()
    assert (tmp_path / "two/parts/1/6.safetensors").exists() == (layout == "sharded")
    nursery.run((*arguments, "--workdir", tmp_path / "one"), tmp_path / "log")
    same_weights(tmp_path / "two", tmp_path / "one", 6)
    more = ("--config.train.steps=9", "--config.train.layout=replicated")  # by one, as it is whole
    said = nursery.run((*arguments, *more, "--workdir", tmp_path / "two"), tmp_path / "log")
    assert "resuming at step 6 on 1 x cpu" in said and not [*tmp_path.glob("two/parts/*/9*")]
    nursery.run((*arguments, *more, "--workdir", tmp_path / "one"), tmp_path / "log")
    same_weights(tmp_path / "two", tmp_path / "one", 9)


def same_weights(a, b, step):
    """Two runs are at a step with the same weights, but for the order of sums."""
    (step_a, ours), (step_b, one) = state_of(a), state_of(b)
    assert step_a == step_b == step
    for name in ("params", "ema_params"):
        for key, leaf in one[name].items():
            np.testing.assert_allclose(ours[name][key], leaf, atol=1e-6)


@pytest.mark.slow
def test_two_processes_go_back_together_and_give_up_in_a_line(nursery, tmp_path):
    """Weights that grow without end are taken back three times, in both, and end the run."""
    arguments = (*TINY_MLP, "--config.train.on_bad_step=rollback", "--config.train.save_every=1")
    arguments += ("--config.optim.name=sgd", "--config.optim.lr=1e4", "--config.optim.clip=0")
    arguments += ("--config.train.steps=500", "--config.optim.warmup=100")
    run = tmp_path / "run"
    both = two(nursery, run, tmp_path / "log", arguments, devices=2)
    assert [process.wait() for process in both] == [1, 1], both[0].said() + both[1].said()
    first, second = (process.said() for process in both)
    assert first.count("the weights are those of step") == 3 and "the weights" not in second
    assert "Traceback" not in first + second
    rows = [row["then"] for row in logs.read(run / "bad_steps.jsonl")]
    assert rows == ["rollback", "rollback", "rollback", "stop"]
    (step, fields) = state_of(run)
    assert step > 0 and all(np.isfinite(leaf).all() for leaf in fields["params"].values())


@pytest.mark.slow
@pytest.mark.chaos
def test_two_processes_in_shards_give_the_bits_of_one(nursery, tmp_path):
    arguments = (*TINY_MLP, "--config.train.deterministic_shards=4", "--config.train.steps=40")
    both = two(nursery, tmp_path / "two", tmp_path / "log", arguments)
    assert [process.wait() for process in both] == [0, 0], both[0].said() + both[1].said()
    nursery.run((*arguments, "--workdir", tmp_path / "one"), tmp_path / "log")
    assert_same_state(tmp_path / "two", tmp_path / "one")


SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


@pytest.mark.parametrize("signals", [pytest.param(8, marks=OF_CI), pytest.param(60, marks=LARGE)])
def test_signals_save_and_lose_no_step(signals, nursery, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    arguments = (*TINY_MLP, "--config.train.steps=1000000", "--config.train.save_every=1000000")
    arguments += ("--config.train.log_every=1", "--workdir", run)
    chance, before = dice(2), 0
    for k in range(signals):
        number = [*SIGNALS][k % 3]
        process = nursery.start(arguments, log)
        process.until(lambda process=process: "\nstep" in process.said())
        time.sleep(chance.uniform(0, 0.3))
        if k % 2 and number == signal.SIGTERM:  # a scheduler may send it twice
            os.kill(process.number, number)
            time.sleep(0.02)
        assert process.kill(number) == SIGNALS[number], process.said()
        assert "is saved, the same command goes on" in process.said()
        step, _ = state_of(run)
        rows = [row["step"] for row in logs.read(run / "metrics.jsonl")]
        assert step > before and rows == [*range(1, step + 1)]
        before = step


@pytest.mark.slow
@pytest.mark.chaos
def test_in_a_month_nothing_grows(nursery, tmp_path):
    """30,000 steps: memory, open files, and the program, which is compiled once."""
    run, log = tmp_path / "run", tmp_path / "log"
    arguments = (*TINY_MLP, "--config.train.steps=30000", "--config.train.save_every=1000")
    process = nursery.start((*arguments, "--config.train.log_every=100", "--workdir", run), log)
    seen = {}
    for step in (5_000, 29_000):
        process.until(lambda step=step: f"\nstep {step:,}/" in process.said(), every=0.05)
        lines = Path(f"/proc/{process.number}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        files = len([*Path(f"/proc/{process.number}/fd").iterdir()])
        seen[step] = int(status["VmRSS"].split()[0]), files, int(status["Threads"])
    assert process.wait() == 0 and process.said().count("compiling") == 1
    print(seen)
    (memory, files, threads), (later, more, also) = seen.values()
    assert later <= 1.05 * memory and more <= files + 2 and also <= threads + 2


@pytest.mark.slow
@pytest.mark.chaos
def test_eight_devices_do_not_wait_for_each_other_for_ever(nursery, tmp_path):
    """5,000 steps without a row in between, which virtual devices once hung in."""
    arguments = (*TINY_MLP, "--config.train.steps=5000", "--config.train.save_every=5000")
    arguments += ("--config.train.log_every=5000", "--workdir", tmp_path / "run")
    assert "finished step 5,000" in nursery.run(arguments, tmp_path / "log", devices=8)


@pytest.mark.slow
@pytest.mark.chaos
def test_a_run_that_moves_between_numbers_of_devices_ends_as_one_that_does_not(nursery, tmp_path):
    """4, 2, 1 and 4 devices: to 2e-5 of each array's largest number, and to the bit with shards."""
    sgd = ("--config.optim.name=sgd", "--config.optim.decay=constant")
    for shards in (0, 4):
        arguments = (*TINY_MLP, *sgd, f"--config.train.deterministic_shards={shards}", "--workdir")
        moved, still, log = (tmp_path / f"{name}{shards}" for name in ("moved", "still", "log"))
        for part, devices in enumerate((4, 2, 1, 4), 1):
            length = f"--config.train.steps={20 * part}"
            nursery.run((*arguments, moved, length), log, devices)
        nursery.run((*arguments, still, "--config.train.steps=80"), log)
        if shards:
            assert_same_state(moved, still)
            continue
        (_, ours), (_, others) = state_of(moved), state_of(still)
        for name in ("params", "ema_params"):
            for key, leaf in ours[name].items():
                bound = 2e-5 * abs(others[name][key]).max()
                np.testing.assert_allclose(leaf, others[name][key], rtol=0, atol=bound)
