"""Checkpoints through orbax: atomic, asynchronous, and verified leaf by leaf when read back."""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from ddm_jax.errors import MEND, RunError
from ddm_jax.training import portions
from ddm_jax.training.leaves import fitted, owned, sha256, size_of, today
from ddm_jax.training.step import TrainState

_policies = ocp.checkpoint_managers
# What earlier versions called fields of the state.
_FORMER = {"memory": "times"}


# A field that says it would take more than so many times the bytes that are expected, and SPARE
# bytes, is not read.
LARGER, SPARE = 4, 2**26


class Checkpoints:
    """The checkpoints of a run, one folder a step below `directory`.

    `keep` is how many of the newest stay; those at multiples of `keep_every` (0: none) stay too,
    and the one of step `spared`, which may change. An array that lies in parts is written in parts.
    Beside each field of the state stands the sha256 of every leaf or part, since orbax does not
    check array data. Only one process may hold an object of this class for a directory; what others
    wrote of a step, see `portions`, is read with it.
    """

    def __init__(
        self, directory: Path, keep: int = 2, keep_every: int = 0, read_only: bool = False
    ):
        policies: list[_policies.PreservationPolicy] = [_policies.LatestN(max(keep, 1))]
        if keep_every:
            policies.append(_policies.EveryNSteps(keep_every))
        policies.append(_Spared(self))
        self.spared: int | None = None
        self.directory = Path(directory).absolute()
        self.damaged = self.directory.parent / "damaged"
        self._mark = self.directory.parent / ".saved"  # there once a checkpoint is complete
        self.read_only = read_only
        if not read_only:
            self.directory.mkdir(parents=True, exist_ok=True)
        process = jax.process_index()
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=_policies.AnyPreservationPolicy(policies),
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                primary_host=process, active_processes={process}
            ),
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
            create=False,
        )
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(self.directory, options=self._options)

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def save(self, step: int, state: TrainState) -> int:
        """Copy what the first process has of the state to the host and start writing it.

        A step already saved is left alone.

        Returns how many of its arrays are not finite: where any is, nothing is written. RunError
        where this checkpoint or the one before, which was still being written, cannot be.
        """
        if step in self._manager.all_steps():
            return 0
        fields = {name: owned(tree, first=True) for name, tree in state._asdict().items()}
        fields = {name: leaves for name, leaves in fields.items() if leaves}
        bad = sum(not np.isfinite(v).all() for leaves in fields.values() for v in leaves.values())
        if bad:
            return bad
        sums = {name: {k: sha256(v) for k, v in leaves.items()} for name, leaves in fields.items()}
        items = {name: ocp.args.StandardSave(leaves) for name, leaves in fields.items()}
        args = ocp.args.Composite(sha256=ocp.args.JsonSave(sums), **items)
        with self._writing():
            if not self._manager.save(step, args=args, force=True):
                raise RuntimeError(f"orbax did not save step {step}; newest is {self.steps()[:1]}")
            if not self._mark.exists():
                self._manager.wait_until_finished()
                self._mark.touch()
        return 0

    def restore(
        self,
        like: Any,
        fields: tuple[str, ...],
        say: Callable[[str], None],
        only: int | None = None,
    ) -> tuple[int, dict[str, Any]] | None:
        """(step, {field: tree}) of the newest checkpoint whose digests hold, None if none does.

        only: the one step that will do, None for any.

        `like` has the fields as attributes, with leaves of the shapes and dtypes expected; another
        shape is the config's fault (UserError), a wrong digest the file's: it is put aside, `say`
        tells, and the one before is tried. So is one that says it is far larger than `like`, which
        is not read. RunError where there were checkpoints once and none is
        usable, but for readers.
        """
        self.wait()
        self._manager.reload()
        for step in self.steps() if only is None else [s for s in self.steps() if s == only]:
            found = self._verified(step, {name: getattr(like, name) for name in fields})
            if isinstance(found, str):
                say(f"checkpoint {step} is damaged ({found}); falling back to the one before")
                self._put_aside(step)
                continue
            return step, {name: fitted(getattr(like, name), found[name], step) for name in fields}
        if self._existed() and not self.read_only:
            raise RunError(
                f"{self.directory.parent} had checkpoints and none is usable now; damaged ones are "
                f"kept in {self.damaged}. Put a good copy back as {self.directory / '<step>'}, or "
                "start afresh: give another --workdir, or remove this one"
            )
        return None

    def _verified(self, step: int, like: dict[str, Any]) -> dict[str, dict] | str:
        """The leaves of each field, of all processes, or what is wrong with them."""
        fields = (*like,)
        try:
            digests = ocp.args.Composite(sha256=ocp.args.JsonRestore())
            sums = self._manager.restore(step, args=digests)["sha256"]
            if unproven := self._unproven(step, sums, fields):
                return f"there are no sha256 sums of {unproven}"
            names = {name: name if name in sums else _FORMER.get(name, name) for name in fields}
            present = {name: saved for name, saved in names.items() if saved in sums}
            for name, saved in present.items():
                size, expected = self._size(step, saved), size_of(like[name])
                if size > LARGER * expected + SPARE:
                    return f"{name} would take {size:,} bytes of memory, not {expected:,}"
            read = {saved: ocp.args.StandardRestore() for saved in present.values()}
            items = self._manager.restore(step, args=ocp.args.Composite(**read))
            found = {name: items[present[name]] if name in present else {} for name in fields}
        except Exception as error:  # orbax and tensorstore raise many kinds for a broken file
            return type(error).__name__ + ": " + str(error).strip().split("\n")[0][:120]
        for name, saved in present.items():
            if sums[saved].keys() != found[name].keys():
                return f"{name} has other leaves than were saved"
            for key, leaf in found[name].items():
                if sha256(leaf) != sums[saved][key]:
                    return f"sha256 of {name}{key} differs"
                if not np.isfinite(leaf).all():
                    return f"{name}{key} is not finite"
        try:
            own = {name: today(leaves) for name, leaves in found.items()}
            return portions.whole(self.directory, step, own, like)
        except ValueError as error:
            return str(error)

    def _size(self, step: int, saved: str) -> int:
        """The bytes that a field would take in memory, by what is written of its shapes."""
        place = epath.Path(self.directory / str(step) / saved)
        return size_of(ocp.StandardCheckpointHandler().metadata(place))

    def _unproven(self, step: int, sums: Any, fields: tuple[str, ...]) -> str:
        """The fields that are saved and of which `sums` has no sums by leaf, as text."""
        known = sums if isinstance(sums, dict) else {}
        saved = {name for name in fields if (self.directory / str(step) / name).exists()}
        proven = {name for name, leaves in known.items() if isinstance(leaves, dict)}
        return ", ".join(sorted(saved - proven))

    def _existed(self) -> bool:
        """Whether there was a checkpoint, damaged or removed as it may be now."""
        return self._mark.exists() or any(any(p.iterdir()) for p in self.damaged.glob("*-*"))

    def _put_aside(self, step: int) -> None:
        if self.read_only:
            return
        self.damaged.mkdir(exist_ok=True)
        places = (self.damaged / f"{step}-{number}" for number in itertools.count())
        place = next(p for p in places if not p.exists())
        (self.directory / str(step)).rename(place)
        for path in portions.portions(self.directory, step):
            path.rename(place / f"{path.parent.name}.safetensors")
        self._manager.close()
        self._manager = self._open()

    def wait(self) -> None:
        """Until what is being written is on the disk; RunError where it cannot be."""
        with self._writing():
            self._manager.wait_until_finished()

    def check(self) -> None:
        """RunError where a checkpoint that was being written has failed by now."""
        with self._writing():
            if not self._manager.is_saving_in_progress():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for writes under way; RunError where one of them fails."""
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A disk that fails meanwhile is RunError: one line, with the step that is whole."""
        try:
            yield
        except Exception as error:  # orbax and tensorstore raise many kinds
            if not (reason := _reason(error)):
                raise
            whole = [int(p.name) for p in self.directory.glob("[0-9]*") if p.name.isdigit()]
            left = f"that of step {max(whole)} is whole" if whole else "there is none before it"
            raise RunError(
                f"a checkpoint could not be written to {self.directory}: {reason}; {left}. "
                f"{MEND.capitalize()}"
            ) from error


class _Spared(_policies.PreservationPolicy):
    """Keeps the checkpoint that is spared at the time."""

    def __init__(self, of: Checkpoints):
        self.of = of

    def should_preserve(
        self, checkpoints: Sequence[_policies.PolicyCheckpointInfo], *, context: Any
    ) -> Sequence[bool]:
        return [checkpoint.step == self.of.spared for checkpoint in checkpoints]


def _reason(error: Exception) -> str | None:
    """What the system said, None where it said nothing; tensorstore has it in its text alone."""
    if isinstance(error, OSError):
        return error.strerror
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(number[1])) if number else None
