"""A diffusion model: what training, sampling and whoever borrows it share."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, X
from ddm_jax.diffusion.combining import Both
from ddm_jax.diffusion.conditions import Context, Raw
from ddm_jax.diffusion.losses.base import Params
from ddm_jax.diffusion.noise_conds import NoiseCond
from ddm_jax.diffusion.predictions import Parameterisation, Prediction, denoiser
from ddm_jax.diffusion.process import Denoise, Estimate
from ddm_jax.diffusion.schedules.base import Schedule
from ddm_jax.models.conditions import Condition
from ddm_jax.models.dropout import own_masks


class Network(Protocol):
    """What is asked of a Flax module that serves as F(x, noise_cond, context, train)."""

    @property
    def dropout(self) -> float: ...

    @property
    def dtype(self) -> str: ...

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields of Context that it reads beside the maps, which all see as channels of x."""
        ...

    @property
    def width(self) -> int:
        """Elements of the context's vector, 0 for a network that does not read it."""
        ...

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on images of size `space`."""
        ...

    def rank(self, shape: tuple[int, ...]) -> int:
        """Of how many numbers an output for x, (*space, C), is a function, at one noise_cond.

        Fewer than x has where layers on the way out are narrower than what they put out.
        """
        ...

    def init(self, rngs: Array, *args: Any) -> dict: ...

    def apply(self, variables: dict, *args: Any, **kwargs: Any) -> Array: ...


@dataclass(frozen=True)
class DiffusionModel:
    """Network, schedule, prediction, noise_cond and condition; shape is that of one x.

    two_times: whether the network is told the second time of a jump, as its objective trains it.
    """

    net: Network
    schedule: Schedule
    prediction: Prediction
    noise_cond: NoiseCond
    condition: Condition
    shape: tuple[int, ...]
    two_times: bool = False

    def init(self, key: Array) -> Params:
        """Fresh parameters of network, condition and schedule."""
        of_schedule, _ = jax.random.split(key)
        cond = self.condition.init(jax.random.fold_in(key, 1))
        seen = jax.eval_shape(lambda: self.condition.embed(cond, self.condition.null(1)))
        context = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), seen)
        if self.two_times:
            context = context._replace(gap=jnp.zeros(1))
        x = _joined(jnp.zeros((1, *self.shape)), context)
        net = jax.jit(self.net.init)(key, x, jnp.zeros(1), context)["params"]
        return Params(net, cond, self.schedule.init_params(of_schedule))

    def trained(self, params: Params) -> Schedule:
        """The schedule with its trained parameters, where it has any."""
        return self.schedule.with_params(params.schedule)

    def apply(
        self,
        params: Any,
        x: Array,
        noise_cond: Array,
        context: Context,
        *,
        keys: Array | None = None,
    ) -> Array:
        """F, of the network's parameters. With dropout keys (B,) it trains, each example with a
        mask of its own."""
        given = {"params": params}, _joined(x, context), noise_cond, context
        if keys is None or not self.net.dropout:
            return self.net.apply(*given, keys is not None)
        return self.net.apply(*given, True, rngs=own_masks(keys))

    def denoiser(self, params: Params, raw: Raw) -> Denoise:
        """The denoiser under raw conditions (B, ...), which are embedded once, here."""
        context = self.condition.embed(params.cond, raw)
        form = Parameterisation(self.trained(params), self.prediction, self.noise_cond)
        return denoiser(self.apply, params.net, form, context, two_times=self.two_times)

    def both(self, params: Params, raw: Raw, other: Raw) -> Both:
        """The estimates under `raw` and under `other`, in one call of the network on 2 B examples.

        They are equal to those of two denoisers but for rounding.
        """
        joined = jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a), b]), raw, other)
        denoise = self.denoiser(params, joined)

        def twice(a: Array) -> Array:
            return jnp.concatenate([a, a]) if jnp.ndim(a) else a

        def called(x_t: X, t: T, s: T | None = None) -> tuple[Estimate, Estimate]:
            found = denoise(twice(x_t), twice(t), None if s is None else twice(s))
            one = jax.tree.map(lambda a: a[: len(x_t)], found)
            return one, jax.tree.map(lambda a: a[len(x_t) :], found)

        return called


def _joined(x: Array, context: Context) -> Array:
    """x with the maps as more channels."""
    if context.maps is None:
        return x
    return jnp.concatenate([x, context.maps.astype(x.dtype)], -1)
