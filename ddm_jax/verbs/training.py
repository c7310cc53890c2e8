"""Train a recipe in a folder: the loop around the one compiled step, and all that it writes."""

import signal
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddm_jax import files
from ddm_jax.data.dataset import Dataset
from ddm_jax.data.pipeline import feed, prefetch
from ddm_jax.errors import RunError, UserError
from ddm_jax.figures import plots
from ddm_jax.recipe import Recipe
from ddm_jax.training import logs, parallel
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.parallel import Layout
from ddm_jax.training.step import Metrics, TrainState
from ddm_jax.verbs import pictures
from ddm_jax.verbs.sampling import draw_film, make_draw, write_film

IN_FLIGHT = 2  # steps dispatched and not yet known to be finite; more deadlocks virtual devices


def train(recipe: Recipe, data: Dataset, workdir: Path, layout: Layout) -> int:
    """Train to `train.steps`, from the newest good checkpoint where there is one.

    Returns the exit code: 0 at the end, 128 + n when signal n stopped the run, whose state is
    then saved. Raises RunError for a loss or a state that is not finite, of which nothing is
    saved, and where there were checkpoints but none is usable.
    """
    layout.split_batch(recipe.train.batch, recipe.train.accumulate)
    return _Run(recipe, data, workdir, layout).run()


class _Run:
    def __init__(self, recipe: Recipe, data: Dataset, workdir: Path, layout: Layout):
        self.recipe, self.data, self.workdir, self.layout = recipe, data, workdir, layout
        self.options = recipe.train
        self.first = layout.first
        self.draw = make_draw(recipe, layout)
        self.meter = logs.Meter(self.options.batch)
        self.pending: deque[tuple[int, Metrics]] = deque()

    def run(self) -> int:
        options = self.options
        self.progress = logs.Progress(options.steps, quiet=not self.first)
        if self.first:
            directory = self.workdir / "checkpoints"
            self.checkpoints = Checkpoints(directory, options.keep, options.keep_every)
        state = self._start()
        step = int(state.step)
        done = self.workdir / "done.json"
        if self.first:
            done.unlink(missing_ok=True)
        path = self.workdir / "forward.png"
        if self.first and not path.exists():
            few = np.asarray(self.data.images[:6])
            pictures.write_forward(self.recipe, state.params, few, path)
        if self.first:
            self.log = logs.MetricLog(self.workdir, step)
        self.progress.begin(step)
        try:
            with _Signals(self.layout) as signals:
                state, step = self._loop(state, step, signals)
            if signals.seen(step):
                self.progress.say(
                    f"stopped by signal {signals.number}; step {step:,} is saved, "
                    "the same command goes on from there"
                )
                return 128 + signals.number
            self._finish(state, step)
        finally:
            self.progress.close()
            if self.first:
                self.log.close()
                self.checkpoints.close()
            parallel.meet(self.layout, "end of training")
        if self.first:  # all is drawn and the last checkpoint is on the disk
            last = logs.read(self.workdir / "metrics.jsonl")[-1:]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            files.write_json(
                done, {"step": step, "loss": last[0]["loss"] if last else None, "time": now}
            )
        return 0

    def _start(self) -> TrainState:
        """The newest saved state, or a fresh one, on every device of every process."""
        say = self.progress.say
        template = jax.eval_shape(self.recipe.init_state)
        found = None
        with parallel.together(self.layout):
            if self.first:
                try:
                    found = self.checkpoints.restore(template, TrainState._fields, say)
                except (RunError, UserError):
                    self.checkpoints.close()
                    raise
        if not parallel.from_first(self.layout, np.array(found is not None)):
            say(
                f"training on {self.layout.describe()}, {self.recipe.spec.name}, "
                f"{self.recipe.parameter_count():,} parameters"
            )
            return self.layout.place(jax.jit(self.recipe.init_state)())
        if found is None:
            state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), template)
        else:
            state = TrainState(**found[1])
        state = parallel.from_first(self.layout, state)
        say(f"resuming at step {int(state.step):,} on {self.layout.describe()}")
        return self.layout.place(state)

    def _loop(self, state: TrainState, step: int, signals: "_Signals") -> tuple[TrainState, int]:
        recipe, options, layout = self.recipe, self.options, self.layout
        compiled = layout.compile(recipe.train_step(layout.axis), (False, True, False, False), 0)
        key = layout.place(recipe.train_key())
        pool = None
        if recipe.data.on_device:
            layout.check_room(self.data.images.nbytes)
            pool = layout.place(np.asarray(self.data.images))
        part = (layout.process, layout.processes)

        def make(k: int):
            return layout.put(
                feed(
                    self.data,
                    k,
                    options.batch,
                    recipe.seed,
                    recipe.data.flip,
                    recipe.data.on_device,
                    part,
                )
            )

        feeds = prefetch(make, step, options.steps)
        try:
            for batch in feeds:
                state, metrics = compiled(state, batch, pool, key)
                step += 1
                self.pending.append((step, metrics))
                if len(self.pending) >= IN_FLIGHT:
                    self._consume()
                stop = signals.seen(step)
                if stop or step % options.save_every == 0 or step == options.steps:
                    self._save(state, step)
                if options.sample_every and step % options.sample_every == 0 and not stop:
                    self._sample(state, step)
                if stop:
                    break
        finally:
            feeds.close()
        return state, step

    def _consume(self) -> None:
        """Wait for the oldest step in flight, check it, and log where a row is due."""
        step, metrics = self.pending.popleft()
        metrics = jax.device_get(metrics)
        if not (np.isfinite(metrics.loss) and np.isfinite(metrics.grad_norm)):
            raise self._diverged(
                f"step {step}: loss {metrics.loss}, gradient norm {metrics.grad_norm} "
                f"{logs.bad_level(metrics)}"
            )
        self.meter.add(metrics)
        self.progress.advance(step)
        if step % self.options.log_every == 0 or step == self.options.steps:
            rate = self.recipe.optim.rate(step - 1, self.options.steps)
            row = self.meter.row(step, float(rate))
            if self.first:
                self.log.write(row)
            self.progress.row(row)

    def _save(self, state: TrainState, step: int) -> None:
        while self.pending:
            self._consume()
        bad = self.checkpoints.save(step, state) if self.first else 0
        if bad := int(parallel.from_first(self.layout, np.array(bad))):
            raise self._diverged(
                f"step {step}: the loss is finite, but {bad} arrays of the weights and of the "
                "optimiser's memory are not after the update"
            )

    def _diverged(self, what: str) -> RunError:
        saved = self.checkpoints.steps() if self.first else []
        return RunError(
            f"{what}; nothing of it is saved, the newest checkpoint is step "
            f"{saved[0] if saved else 'none'}. Lower optim.lr, or raise optim.warmup or optim.eps"
        )

    def _sample(self, state: TrainState, step: int) -> None:
        while self.pending:
            self._consume()
        began = time.monotonic()
        path = self.workdir / "samples" / f"step_{step}.png"
        if not parallel.from_first(self.layout, np.array(pictures.has_preview(self.recipe, path))):
            images = self.draw(state.ema_params, self.recipe.sample.count, self.progress.say)
            if self.first:
                pictures.write_preview(self.recipe, images, path)
                self.progress.say(f"wrote {path}")
        self.meter.skip_time(time.monotonic() - began)

    def _finish(self, state: TrainState, step: int) -> None:
        self._sample(state, step)
        index, say = np.arange(self.recipe.sample.film, dtype=np.int32), self.progress.say
        if len(index):
            film = draw_film(self.recipe, self.layout, state.ema_params, index, say)
            if self.first:
                path = self.workdir / "samples" / f"step_{step}_film"
                write_film(self.recipe, film, path, say)
        rows = logs.read(self.workdir / "metrics.jsonl") if self.first else []
        if rows:
            unit = self.recipe.objective.unit
            plots.loss_curve(rows, self.workdir / "loss.png", unit)
            plots.loss_by_level(rows, self.workdir / "loss_by_level.png", unit)
        self.progress.say(f"finished step {step:,}; results are in {self.workdir}")


class _Signals:
    """Remembers SIGTERM and Ctrl-C until the step at hand is done; a second Ctrl-C cuts short.

    With several processes the runtime takes SIGTERM and all processes agree on a step.
    """

    def __init__(self, layout: Layout):
        self.layout, self.number = layout, 0
        watched = (signal.SIGINT, signal.SIGTERM) if layout.processes == 1 else ()
        self._old: dict[int, Any] = {number: signal.getsignal(number) for number in watched}

    def __enter__(self) -> "_Signals":
        for number in self._old:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame) -> None:
        self.number = number
        if number == signal.SIGINT:  # a scheduler may send SIGTERM twice
            signal.signal(number, self._old[number])

    def seen(self, step: int) -> bool:
        """Whether to stop after `step`."""
        if parallel.preempted(self.layout, step):
            self.number = signal.SIGTERM
        return self.number != 0
