"""What a condition is: from columns of the data, or from requests, to what a network is told."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from jax import Array

from ddm_jax.diffusion.conditions import Context, Raw


class Condition(Protocol):
    """A kind of condition. `width` is the length of the vectors that the network adds."""

    file: ClassVar[str]  # an example of a file that can be asked for, "" where none can

    @property
    def parts(self) -> tuple[str, ...]:
        """The fields of Context that it fills, which a network must read."""
        ...

    @property
    def choices(self) -> tuple[str, ...]:
        """All that can be asked for, where that is a list; () where it is not."""
        ...

    def check(self) -> None:
        """Raises ValueError where the data cannot give it."""
        ...

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        """What it learns of the data once, as text that `Spec.learnt` keeps; "" for nothing."""
        ...

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The columns (N, ...) that it makes of those of the data, once, before training."""
        ...

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        """The raw condition of examples, from their columns and those that it made of them."""
        ...

    def each(self, requests: Sequence[str]) -> tuple[str, ...]:
        """The requests one by one: in place of a file of several, its parts. Never raises."""
        ...

    def ask(self, requests: Sequence[str]) -> Raw:
        """The raw condition (n, ...) of what a user asks for; ValueError for what cannot be."""
        ...

    def noised(self, raw: Raw, keys: Array, training: bool) -> Raw:
        """Raw conditions (B, ...) with the noise that they are told with, drawn from keys (B,).

        training: at levels drawn for training; else at that of sampling.
        """
        ...

    @property
    def sampling(self) -> Mapping[str, Any]:
        """The settings that shape samples and no weight, by name."""
        ...

    def null(self, count: int) -> Raw:
        """The condition that says nothing, for so many examples."""
        ...

    def names(self, columns: Mapping[str, np.ndarray]) -> list[str] | None:
        """What to write above the pictures of examples, None for nothing."""
        ...

    def init(self, key: Array) -> Any:
        """Fresh parameters, () for none."""
        ...

    def embed(self, params: Any, raw: Raw) -> Context:
        """Raw arrays as a network reads them."""
        ...


class Plain:
    """What most conditions do: learn nothing, make no columns, ask for no files, add no noise."""

    file: ClassVar[str] = ""

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        return ""

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {}

    def each(self, requests: Sequence[str]) -> tuple[str, ...]:
        return tuple(requests)

    def noised(self, raw: Raw, keys: Array, training: bool) -> Raw:
        return raw

    @property
    def sampling(self) -> Mapping[str, Any]:
        return {}
