"""The training loss: one Monte-Carlo term per example, with keys that belong to the example."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.core import Schedule, diffuse, fold_in, normal_like
from ddm_jax.diffusion.predictions import Net, Prediction, apply, target


class Batch(NamedTuple):
    """Examples x0 (B, ...), conditions (B,) int or None, and places (B,) in the whole batch."""

    x0: Array
    cond: Array | None
    place: Array


class Terms(NamedTuple):
    """Per-example loss (B,) and the time (B,) at which it was taken."""

    loss: Array
    t: Array


LossFn = Callable[..., Terms]  # (params, batch, key) -> Terms


def diffusion_loss(
    net: Net,
    schedule: Schedule,
    prediction: Prediction,
    label,
    times,
    weighting,
    null: int = 0,
    label_dropout: float = 0.0,
) -> LossFn:
    """w |x0_hat - x_0|^2 averaged over an example's elements, taken as w c_out^2 |F - target|^2.

    The network's own space is where the error keeps its digits at every noise level. With
    probability `label_dropout` an example's condition is replaced by `null` (Ho & Salimans 2022,
    arXiv:2207.12598, algorithm 1). Every draw (time, noise, label, network dropout) comes from
    fold_in(key, place), so it does not depend on how a batch is split. `net` takes a fifth
    argument here: the examples' dropout keys (B,).
    """

    def loss(params, batch: Batch, key: Array) -> Terms:
        keys = jax.vmap(lambda k: jax.random.split(k, 4))(fold_in(key, batch.place))
        of_time, of_noise, of_label, of_net = (keys[:, i] for i in range(4))
        t = times.draw(schedule, of_time)
        eps = normal_like(of_noise, batch.x0)
        cond = batch.cond
        if cond is not None and label_dropout > 0:
            drop = jax.vmap(jax.random.bernoulli, (0, None))(of_label, label_dropout)
            cond = jnp.where(drop, null, cond)
        x_t = diffuse(schedule, batch.x0, eps, t)

        def trained(*arguments):
            return net(*arguments, of_net)

        f = apply(trained, params, schedule, prediction, label, x_t, t, cond)
        goal = target(prediction, schedule.alpha(t), schedule.sigma(t), batch.x0, eps)
        square = (f.astype(jnp.float32) - goal) ** 2
        _, out, _ = prediction.coefficients(schedule.alpha(t), schedule.sigma(t))
        weight = weighting.on_x0(schedule, prediction, t) * out**2
        return Terms(weight * square.mean(axis=tuple(range(1, square.ndim))), t)

    return loss
