"""How often a classifier is right, by the noise of what it sees."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.evaluation.base import Rows, mean_and_error, shown
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.classifier import Classifier


class Accuracy:
    """The share of examples whose likeliest class is theirs, and -log p of theirs in nats.

    At `evaluate.levels` times from 0 to 1, or at 0 alone where the classifier knows no noise; each
    example has one noise for all of them.
    """

    task: ClassVar[str] = "classifier"
    higher: ClassVar[bool] = True
    of_example: ClassVar[str] = ""

    def check(self, task: Classifier) -> None:
        pass

    def measure(
        self, task: Classifier, weights: Weights, columns: Mapping[str, Array], key: Array
    ) -> Mapping[str, Array]:
        x0, label = task.codec.encode(columns["x"], weights.borrowed), columns["label"]
        noise = fold_in(key, 0)

        def at(t: Array) -> tuple[Array, Array]:
            log_probs = task.log_probs(weights.params, task.noised(x0, noise, t), t)
            right = (log_probs.argmax(-1) == label).astype(jnp.float32)
            return right, -jnp.take_along_axis(log_probs, label[:, None], 1)[:, 0]

        right, nats = jax.lax.map(at, jnp.asarray(times(task), jnp.float32))
        return {"accuracy": right.T, "nats": nats.T}

    def settings(self, task: Classifier) -> dict[str, Any]:
        return {"levels": len(times(task)), "noisy": task.noisy}

    def summary(self, task: Classifier, rows: Rows) -> dict[str, Any]:
        t = times(task)
        logsnr = np.asarray(jax.jit(task.schedule.logsnr)(jnp.asarray(t, jnp.float32)))
        return {
            "times": t.tolist(),
            "logsnr": [float(v) if np.isfinite(v) else None for v in logsnr],
            "accuracy": [mean_and_error(column) for column in rows["accuracy"].T],
            "nats": [mean_and_error(column) for column in rows["nats"].T],
        }

    def headline(self, summary: Mapping[str, Any]) -> tuple[str, float]:
        return "accuracy without noise", summary["accuracy"][0]["mean"]

    def lines(self, summary: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        head = "accuracy and -log p(y | x_t) in nats, by noise level"
        columns = zip(summary["times"], summary["accuracy"], summary["nats"], strict=True)
        return [head, *(f"  t = {t:.2f}  {shown(a)}  {shown(n)}" for t, a, n in columns)]


def times(task: Classifier) -> np.ndarray:
    """The times at which it is asked."""
    return np.linspace(0, 1, task.evaluate.levels) if task.noisy else np.zeros(1)
