"""What a run is for: how parameters start, how a batch becomes a loss, which sections it has."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from jax import Array

from ddm_jax.data.augments import Augment
from ddm_jax.data.dataset import Dataset, Report, Spec
from ddm_jax.diffusion.losses.base import Params
from ddm_jax.errors import UserError
from ddm_jax.models.codecs import Codec
from ddm_jax.training import base


class Weights(NamedTuple):
    """What a trained run computes with: its own parameters, and those it borrows by role."""

    params: Params
    borrowed: Mapping[str, Params] = {}


class Loan(NamedTuple):
    """A run that a task may borrow: the key of the config that names it, and what it must be.

    training: whether the loss reads it, so that its weights touch those that are trained. using:
    whether what is done with the trained run reads it.
    """

    key: str
    task: str
    training: bool = False
    using: bool = True


class Build(Protocol):
    """The object of a section of the config."""

    def __call__(self, section: str, **context: Any) -> Any:
        """context: the fields of the row that are no settings."""
        ...


@dataclass(frozen=True)
class RunName:
    """A section that names another run: its folder, or folder@step for one of its checkpoints."""

    run: str = ""


AUTOENCODER = Loan("codec.latent.run", "autoencoder", training=True)  # of all that take codecs


def completed(task: "Task", data: Dataset) -> Dataset:
    """The data with the columns that the task makes of them; UserError where it cannot."""
    try:
        made = task.columns(data.columns)
    except ValueError as error:
        raise UserError(f"{data.spec.name}: {error}") from error
    return dataclasses.replace(data, columns={**data.columns, **made})


class Task(base.Task, Protocol):
    """A row of TASKS; a frozen dataclass whose methods are pure functions of arrays."""

    tables: ClassVar[Mapping[str, Mapping[str, type]]]  # sections with rows to choose from
    parts: ClassVar[Mapping[str, type]]  # plain sections
    free: ClassVar[tuple[str, ...]]  # beginnings of keys that touch no weight
    borrows: ClassVar[Mapping[str, Loan]]  # by role

    @property
    def spec(self) -> Spec:
        """The data."""
        ...

    @property
    def codec(self) -> Codec:
        """Between the data's values and x."""
        ...

    @property
    def augment(self) -> Augment:
        """What is done to the examples of training."""
        ...

    @property
    def unit(self) -> str:
        """Of the loss."""
        ...

    @classmethod
    def make(cls, build: Build, spec: Spec, batch: int, lent: Mapping[str, "Task"]) -> "Task":
        """The task that a config describes, for data of `spec` in batches of `batch`.

        lent: the tasks of the runs that it borrows.
        """
        ...

    def init(self, key: Array) -> Params:
        """Fresh parameters."""
        ...

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        """What it learns of the data once, before it can be built; "" for nothing."""
        ...

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What it makes of the columns (N, ...) of data, once, beside them."""
        ...

    def frozen(self, cache: Path, report: Report) -> dict[str, Any]:
        """Published weights that the loss sees with, by the role in which it finds them borrowed.

        cache: the folder that converted weights are kept in.
        """
        ...

    def memory(self) -> Any:
        """What the loss remembers before the first step, () for nothing."""
        ...
