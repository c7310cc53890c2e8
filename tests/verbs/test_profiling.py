"""A profile of training: which steps it holds, what it tells, and that it changes no weight."""

import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, TINY, answer, assert_same_state, keys

from ddm_jax.verbs.profiling import SKIPPED, Operation, Profile, operations, shared, told

pytestmark = pytest.mark.usefixtures("quick_compilation")

RUN = ("--config", ROOT / "configs/quickstart.py", *TINY)


def test_it_lists_what_steps_take_and_leaves_the_weights(capsys, tmp_path):
    steps = keys("train.steps=8", "train.save_every=8")
    plain, traced = tmp_path / "plain", tmp_path / "traced"
    assert answer(capsys, *RUN, *steps, "--workdir", plain)[0] == 0
    code, out, err = answer(capsys, *RUN, *steps, "--workdir", traced, "--profile=4")
    assert (code, err) == (0, "")
    summary = (traced / "profile/summary.txt").read_text()
    assert summary in out and summary.startswith("4 steps; operations of a device take ")
    shares = [float(share) for share in re.findall(r"^ *([\d.]+)%", summary, re.M)]
    assert 1 <= len(shares) <= 10 and shares == sorted(shares, reverse=True)
    assert 10 < sum(shares) <= 100.5 and re.search(r"\d ms  \w*(dot|fusion)", summary)
    assert_same_state(plain, traced)


@pytest.mark.slow
def test_a_run_that_ends_before_its_profile_ends_that_too(capsys, tmp_path):
    """With the steps that there were, if any."""
    how = (*keys("optim.warmup=1"), "--workdir", tmp_path / "run", "--profile=50")
    code, out, _ = answer(capsys, *RUN, *keys("train.steps=2"), *how)
    assert code == 0 and "the first 3 steps of a process are left out" in out
    assert not (tmp_path / "run/profile").exists()
    for steps, left in (
        (5, "the trace of 0 steps holds no operation"),
        (12, "4 steps; operations"),
    ):
        code, out, _ = answer(capsys, *RUN, *keys(f"train.steps={steps}"), *how)
        assert code == 0 and left in out


def test_it_begins_after_the_first_steps_and_ends_after_as_many_as_asked(tmp_path):
    profile = Profile(tmp_path, 4, print)
    assert [n for n in range(20) if profile.due(n)] == [SKIPPED, SKIPPED + 4]
    assert not any(Profile(tmp_path, 0, print).due(n) for n in range(20))
    profile.close()
    assert not (tmp_path / "profile").exists()


def test_the_dearest_operation_comes_first_and_times_are_of_a_step(tmp_path):
    @jax.jit
    def work(x):
        return jnp.tanh(x @ x).sum()

    x = jnp.ones((600, 600))
    work(x).block_until_ready()
    profile, said = Profile(tmp_path, 5, lambda line: said.append(line)), []
    assert profile.due(SKIPPED)
    profile.turn()
    for _ in range(5):
        work(x).block_until_ready()
    assert profile.due(SKIPPED + 5)
    profile.turn()
    (file,) = tmp_path.rglob("*.xplane.pb")
    one, five = (list(operations(file, n)) for n in (1, 5))
    assert [op.name for op in one] == [op.name for op in five]
    assert one[0].seconds == pytest.approx(5 * five[0].seconds) and five[0].seconds > 1e-5
    assert [op.seconds for op in one] == sorted((op.seconds for op in one), reverse=True)
    assert five[0].name in said[1]


@pytest.mark.parametrize("seed", range(3))
def test_operations_at_once_share_the_time_that_they_cover(seed):
    """Millisecond by millisecond, each has one over the number of those under way."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 300, 40)
    stop = start + rng.integers(0, 30, 40)
    under_way = (start[:, None] <= np.arange(400)) & (np.arange(400) < stop[:, None])
    count = under_way.sum(0)
    np.testing.assert_allclose(shared(start, stop), (under_way / np.maximum(count, 1)).sum(1))
    assert shared(start, stop).sum() == pytest.approx((count > 0).sum())
    np.testing.assert_allclose(shared(np.array([2.0]), np.array([5.0])), 3)


def test_what_other_threads_carry_out_lasts_until_its_end(tmp_path):
    """On a CPU a convolution is divided over threads, after a thread has begun it in no time."""

    @jax.jit
    def work(x, kernel):
        for _ in range(4):
            x = jax.lax.conv(x, kernel, (1, 1), "SAME")
        return x

    given = jnp.ones((4, 32, 64, 64)), jnp.ones((32, 32, 3, 3))
    work(*given).block_until_ready()
    profile = Profile(tmp_path, 1, lambda line: None)
    profile.due(SKIPPED)
    profile.turn()
    began = time.perf_counter()
    work(*given).block_until_ready()
    took = time.perf_counter() - began
    profile.due(SKIPPED + 1)
    profile.turn()
    (file,) = tmp_path.rglob("*.xplane.pb")
    found = sum(op.seconds for op in operations(file, 1))
    assert 0.2 * took < found <= took


def test_what_is_told():
    found = [Operation(f"op.{k}", 0.02 / 2**k) for k in range(12)]
    first, *rest = told(found, 7)
    assert first == "7 steps; operations of a device take 40.0 ms a step, of which"
    assert len(rest) == 10 and rest[0] == "  50.0%      20.00 ms  op.0"
    assert told([], 7) == ["the trace of 7 steps holds no operation of a device"]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--profile=-1",), "a number of steps, 1 or more"),
        (("--profile=x",), "invalid int value"),
        (("--profile=3", "--mode", "sample"), "of training one run"),
        (("--profile=3", "--sweep", "seed=1,2"), "of training one run"),
    ],
)
def test_what_cannot_be_is_one_line(flags, reason, capsys, tmp_path):
    code, _, err = answer(capsys, *RUN, "--workdir", tmp_path / "run", *flags)
    assert code == 2 and reason in err and err.count("\n") == 1
