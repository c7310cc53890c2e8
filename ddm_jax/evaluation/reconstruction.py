"""How near an autoencoder's reconstructions come to the examples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jax import Array

from ddm_jax.evaluation.base import Rows, mean_and_error, shown
from ddm_jax.tasks.autoencoder import Autoencoder
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.similarity import fits_window, psnr, ssim


@dataclass(frozen=True)
class Likeness:
    """The mean over examples of how like each is to its reconstruction, decoded and clipped.

    like: (a, b, width of the range) -> (B,). title: of the number. fits: ValueError for examples of
    a size that cannot be measured so.
    """

    like: Callable[[Array, Array, float], Array]
    title: str
    fits: Callable[[tuple[int, ...]], None] = lambda space: None

    task: ClassVar[str] = "autoencoder"
    higher: ClassVar[bool] = True
    of_example: ClassVar[str] = "like"

    def check(self, task: Autoencoder) -> None:
        self.fits(task.spec.shape[:-1])

    def measure(
        self, task: Autoencoder, weights: Weights, columns: Mapping[str, Array], key: Array
    ) -> Mapping[str, Array]:
        low, high = task.spec.shown
        back = task.reconstructed(weights.params, columns["x"])
        return {"like": self.like(task.spec.show(columns["x"]), back, high - low)}

    def settings(self, task: Autoencoder) -> dict[str, Any]:
        return {}

    def summary(self, task: Autoencoder, rows: Rows) -> dict[str, Any]:
        return mean_and_error(np.asarray(rows["like"]))

    def headline(self, summary: Mapping[str, Any]) -> tuple[str, float]:
        return self.title, summary["mean"]

    def lines(self, summary: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        return [f"{self.title:10} {shown(summary)}"]


PSNR = Likeness(psnr, "PSNR, dB")
SSIM = Likeness(ssim, "SSIM", fits_window)
