"""Train in a folder: the loop around the one compiled step."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from ddm_jax.config.setup import Setup
from ddm_jax.data.dataset import Dataset
from ddm_jax.data.pipeline import Feed, feed, prefetch
from ddm_jax.errors import RunError
from ddm_jax.training import logs
from ddm_jax.training.base import Constants
from ddm_jax.training.calls import calls
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import answered, together
from ddm_jax.training.saving import Saving
from ddm_jax.training.step import Metrics, TrainState, counted
from ddm_jax.training.stopping import Signals
from ddm_jax.training.watchdog import STALLED, Watchdog
from ddm_jax.verbs.bad_steps import BadSteps
from ddm_jax.verbs.previews import Preview
from ddm_jax.verbs.profiling import Profile
from ddm_jax.verbs.starting import start
from ddm_jax.verbs.watching import Watch
from ddm_jax.verbs.writing import Records, report, write_curves, write_done, write_state

IN_FLIGHT = 2  # calls dispatched and not yet known to be finite; more deadlocks virtual devices


def train(
    setup: Setup,
    data: Dataset,
    workdir: Path,
    layout: Layout,
    *,
    preview: Preview,
    borrowed: Mapping[str, Any] = MappingProxyType({}),
    watch: Watch | None = None,
    profile: int = 0,
) -> int:
    """Train to `train.steps`, from the newest good checkpoint where there is one.

    preview: what is drawn. watch: what is measured, if anything. profile: so many steps are traced
    by the first process. borrowed: the weights of other
    runs by their role, for the loss; a fresh run starts from those with the role "init", as far as
    they fit. Returns the exit code: 0 at the end, 128 + n when signal n stopped the run, 75 where
    no data came for `train.hang_timeout` seconds; the state is then saved. Raises RunError where
    steps that are not finite end it, of which nothing is saved, and where there were checkpoints
    but none is usable. Where one process cannot write, all raise.
    """
    options, layout = setup.train, setup.spread(layout)
    layout.split_batch(*options.split)
    with ExitStack() as stack:
        progress = stack.enter_context(closing(logs.Progress(options.steps, not layout.first)))
        checkpoints, log = Saving(workdir, layout, options), None
        stack.callback(checkpoints.close)
        state = start(setup, layout, checkpoints, progress, borrowed=borrowed)
        step = int(state.step)
        with together(layout):
            if layout.first:
                (workdir / "done.json").unlink(missing_ok=True)
                log = stack.enter_context(closing(logs.MetricLog(workdir, step)))
        preview.begin(layout.whole(state.params))
        if watch:
            watch.begin(layout.whole(setup.average.read(state.ema_params)), step, progress.say)

        progress.begin(step)
        first, traced = step, Profile(workdir, profile if layout.first else 0, progress.say)
        stack.callback(traced.close)
        bad = BadSteps(setup, layout, workdir, step, checkpoints=checkpoints, say=progress.say)
        records = Records(checkpoints, log, logs.Meter(options.batch), progress, bad)
        parts = setup, layout, records
        compiled = setup.compiled_steps(layout)
        constants = constants_of(setup, data, layout, borrowed)
        key = layout.replicate(setup.train_key())
        in_flight: deque[tuple[int, Metrics]] = deque()
        saved, called = step, 0
        signals = Signals(layout)
        watchdog = Watchdog(options.hang_timeout, signals.heeded)
        batches = feeds(setup, data, layout, step, given_up=ending(layout, signals, watchdog))
        with signals, watchdog, closing(batches):
            for fed in batches:
                with answered(layout):
                    state, metrics = compiled(state, fed, constants, key)
                in_flight.extend(enumerate(metrics, step + 1))
                step, called = step + len(fed), called + 1
                watchdog.step()
                most = (IN_FLIGHT - 1) * len(fed)
                state = settled(*parts, state, in_flight=in_flight, most=most)
                if traced.due(step - first):
                    state = settled(*parts, state, in_flight=in_flight, most=0)
                    with records.meter.paused(), watchdog.paused():
                        traced.turn()
                if stop := signals.seen(called, progress.unheard):
                    watchdog.leaving()
                draw = options.sample_every and step % options.sample_every == 0 and not stop
                measure = watch and watch.due(step) and not stop
                save = step % options.save_every == 0 or step == options.steps
                if stop or draw or measure or save:
                    state = settled(*parts, state, in_flight=in_flight, most=0)
                    write_state(checkpoints, step, state, watch.best if watch else None)
                    saved = step
                if draw:
                    with records.meter.paused(), watchdog.paused():
                        preview.draw(
                            layout.whole(setup.average.read(state.ema_params)), step, progress.say
                        )
                if watch and measure:
                    with records.meter.paused(), watchdog.paused():
                        watch.measure(
                            layout.whole(setup.average.read(state.ema_params)), step, progress.say
                        )
                if stop:
                    break
            stopped = signals.seen(called, progress.unheard) or watchdog.stalled
            if saved < step:  # it was to end while it waited for data
                watchdog.leaving()
                state = settled(*parts, state, in_flight=in_flight, most=0)
                write_state(checkpoints, step, state, watch.best if watch else None)

        code = 128 + signals.number if signals.number else STALLED * watchdog.stalled
        if stopped:
            why = f"signal {signals.number}" if signals.number else "the wait for data"
            progress.say(
                f"stopped by {why}; step {step:,} is saved, the same command goes on from there"
            )
        else:
            preview.end(layout.whole(setup.average.read(state.ema_params)), step, progress.say)
            with together(layout):
                if layout.first:
                    write_curves(setup, workdir)
            progress.say(f"finished step {step:,}; results are in {workdir}")
        with together(layout):  # none leaves before the last checkpoint is on the disk
            stack.close()
            if layout.first and not stopped:
                write_done(setup, workdir, step)
    return code


def constants_of(
    setup: Setup, data: Dataset, layout: Layout, borrowed: Mapping[str, Any]
) -> Constants:
    """The data, where they are to stay on the device, and what is borrowed, on every device."""
    pool = None
    if setup.data.on_device:
        layout.check_room(data.columns["x"].nbytes)
        pool = layout.replicate(np.asarray(data.columns["x"]))
    lent = {role: tree for role, tree in borrowed.items() if role != "init"}
    return Constants(pool, layout.replicate(lent))


def ending(layout: Layout, signals: Signals, watchdog: Watchdog) -> Callable[[], bool]:
    """() -> whether a run that waits for data is to end; one of several processes cannot alone."""
    return lambda: layout.processes == 1 and (signals.pending or watchdog.stalled)


def feeds(
    setup: Setup, data: Dataset, layout: Layout, step: int, *, given_up: Callable[[], bool]
) -> Generator[tuple[Feed, ...], None, None]:
    """For each call from `step` on this process's part of its batches, on its devices, made in a
    thread."""
    part, size = (layout.process, layout.processes), setup.train.batch
    how = {"augment": setup.task.augment, "by_index": setup.data.on_device, "part": part}

    def make(call: range) -> tuple[Feed, ...]:
        return tuple(layout.shard(feed(data, k, size, setup.seed, **how)) for k in call)

    return prefetch(make, calls(step, setup.train), given_up=given_up)


def settled(
    setup: Setup,
    layout: Layout,
    records: Records,
    state: TrainState,
    *,
    in_flight: deque[tuple[int, Metrics]],
    most: int,
) -> TrainState:
    """The state to go on with, once all steps but `most` are done and reported.

    Where one of them takes the run back, these are the weights of the newest checkpoint, at the
    step that was reached: the examples in between are not seen again.
    """
    if not report(setup, layout, records, settle(layout, in_flight, most)):
        return state
    in_flight.clear()
    step = int(state.step)
    template = jax.eval_shape(setup.init_state)
    saved = records.checkpoints.newest(template, records.progress.say)
    if saved is None:
        raise RunError(
            f"step {step:,}: there is no checkpoint yet to go back to; lower train.save_every, or "
            "take train.on_bad_step=skip"
        )
    since = step - int(saved.step)
    records.progress.say(f"step {step:,}: the weights are those of step {int(saved.step):,} again")
    later = counted(saved.opt_state, since)
    return layout.place(saved._replace(step=saved.step + since, opt_state=later))


def settle(
    layout: Layout, in_flight: deque[tuple[int, Metrics]], most: int
) -> Iterator[tuple[int, Metrics]]:
    """Wait for the oldest steps until at most `most` are in flight; their metrics, in NumPy."""
    while len(in_flight) > most:
        step, metrics = in_flight.popleft()
        with answered(layout):
            metrics = jax.device_get(metrics)
        yield step, metrics
