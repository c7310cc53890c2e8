"""The checkpoints of a run as all of its processes write and read them."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ddm_jax.errors import RunError
from ddm_jax.options.training import TrainOptions
from ddm_jax.training import portions
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.layout import Layout
from ddm_jax.training.leaves import owned
from ddm_jax.training.processes import allgather, broadcast, together
from ddm_jax.training.step import TrainState


class Saving:
    """Checkpoints of the run in `workdir`, which all processes save and read together.

    The first process writes `checkpoints`. Of arrays that lie in parts on devices of several
    processes each writes its own: the others their portions, and then the first, whose checkpoint
    makes the step whole.
    """

    def __init__(self, workdir: Path, layout: Layout, options: TrainOptions):
        self.layout, self.directory = layout, workdir / "checkpoints"
        self._own: Checkpoints | None = None
        with together(layout):
            if layout.first:
                self._own = Checkpoints(self.directory, options.keep, options.keep_every)

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, newest first, as the first process knows."""
        return self._own.steps() if self._own else []

    def newest(self, template: TrainState, say: Callable[[str], None]) -> TrainState | None:
        """The newest saved state, in the memory of every process; None where there is none.

        template: its shapes.
        """
        found = None
        with together(self.layout):
            if self._own:
                found = self._own.restore(template, TrainState._fields, say)
        if not broadcast(self.layout, np.array(found is not None)):
            return None
        if found is None:
            state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), template)
        else:
            state = TrainState(**found[1])
        return broadcast(self.layout, state)

    def save(self, step: int, state: TrainState, spared: int | None = None) -> int:
        """Begin to write a checkpoint. Returns how many arrays are not finite, in parts where they
        lie in parts, as the first process knows: where any is, the step does not become whole.

        spared: the step of a checkpoint that stays.
        """
        bad, wrote = self._portion(step, state) if self.layout.apart else (0, ())
        with together(self.layout):
            if self._own and not bad:
                self._see(step, wrote)
                self._own.spared = spared
                bad = self._own.save(step, state)
        return bad

    def _portion(self, step: int, state: TrainState) -> tuple[int, np.ndarray]:
        """Have all processes but the first write their portions; how many arrays are not finite in
        them, and which processes (n,) wrote any."""
        fields, bad = {}, 0
        with together(self.layout):
            if self._own:
                self._own.wait()
                portions.forget(self.directory)
        with together(self.layout):
            if not self._own:
                fields = {name: owned(tree, first=False) for name, tree in state._asdict().items()}
                parts = [part for leaves in fields.values() for part in leaves.values()]
                bad = sum(not np.isfinite(part).all() for part in parts)
                if parts and not bad:
                    portions.write(
                        portions.portion(self.directory, self.layout.process, step), fields
                    )
        told = allgather(self.layout, np.array([bad, any(fields.values())]))
        return int(told[:, 0].sum()), np.flatnonzero(told[:, 1])

    def _see(self, step: int, wrote: np.ndarray | tuple[()]) -> None:
        """RunError where a portion that a process wrote is not to be seen from here."""
        for process in wrote:
            path = portions.portion(self.directory, int(process), step)
            if not path.exists():
                raise RunError(
                    f"process {process} has written {path}, and the first process does not see it; "
                    "give a --workdir that all of them share, or take train.layout=replicated"
                )

    def check(self) -> None:
        """RunError where a checkpoint that was being written has failed by now."""
        if self._own:
            self._own.check()

    def close(self) -> None:
        """Wait for writes under way; RunError where one of them fails."""
        if self._own:
            self._own.close()
