"""A state in parts: each device keeps one of every large array, and has it whole only in use.

Rajbhandari et al. 2019 (ZeRO, stage 3), arXiv:1910.02054; Zhao et al. 2023 (FSDP),
arXiv:2304.11277. Where groups of devices have a state each (hybrid sharding there), what is
gathered travels within a group alone. The gradient of a device's examples is a per-device function,
as where the state is whole; the update is one program over all devices, which the compiler divides
as the state is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from ddm_jax.errors import UserError
from ddm_jax.models.primitive import convolution_p
from ddm_jax.training.calls import Compiled, in_turn
from ddm_jax.training.layout import AXIS, Layout, alone
from ddm_jax.training.parts import in_parts
from ddm_jax.training.step import Loss, Means, TrainState, TrainStep

COPIES = "copies"  # the axis of the mesh along which states are the same, AXIS is that of its parts
EVERY = (COPIES, AXIS)  # all devices
PRODUCTS = (jax.lax.dot_general_p, convolution_p)
SMALL = 1024  # elements of an array that every device keeps whole


@dataclass(frozen=True)
class Sharded(Layout):
    """The devices of all processes, of which each `group` in a row, 0 for all, share a state.

    Groups have the same state, and only sums of gradients travel between them.
    """

    group: int = 0

    def __post_init__(self):
        if self.count % self.sharing:
            raise UserError(
                f"train.fsdp={self.group}: {self.count} device(s) do not divide into groups of "
                "that many; take what divides them, or 0 for one group"
            )

    @property
    def sharing(self) -> int:
        """How many devices share a state."""
        return self.group or self.count

    @property
    def apart(self) -> bool:
        return self.processes > 1

    @cached_property
    def mesh(self) -> Mesh:
        devices = self.devices if self.processes == 1 else jax.devices()
        return Mesh(np.array(devices).reshape(-1, self.sharing), EVERY)

    def spec(self, array: Any) -> PartitionSpec:
        """How an array is divided: along the longest axis that a group divides, the last of equals;
        not at all where there is none, or where it has fewer than SMALL elements.
        """
        axes = [k for k, size in enumerate(array.shape) if size % self.sharing == 0]
        if array.size < SMALL or not axes:
            return PartitionSpec()
        longest = max(axes, key=lambda k: (array.shape[k], k))
        return PartitionSpec(*(None,) * longest, AXIS)

    def specs(self, state: TrainState) -> TrainState:
        """That of every array of a state; what a task remembers stays whole."""
        divided = jax.tree.map(self.spec, state)
        whole = jax.tree.map(lambda _: PartitionSpec(), state.memory)
        return divided._replace(memory=whole)

    def place(self, state: TrainState) -> TrainState:
        return jax.tree.map(put, state, self._placed(self.specs(state)))

    def replicate(self, tree: Any) -> Any:
        return jax.tree.map(lambda a: put(a, self._sharding()), tree)

    def make(self, init: Callable[[], TrainState]) -> TrainState:
        placed = self._placed(self.specs(jax.eval_shape(init)))
        return jax.jit(init, out_shardings=placed)()

    def kept(self, state: TrainState) -> int:
        whole = jax.tree.map(lambda spec: not spec, self.specs(state))
        stays = jax.tree.map(lambda a, all_of_it: a if all_of_it else (), state, whole)
        return (super().kept(state) - super().kept(stays)) // self.sharing + super().kept(stays)

    def _readable(self, tree: Any) -> Any:
        if self.processes == 1:
            return tree
        everywhere = jax.jit(lambda a: a, out_shardings=self._sharding())
        return jax.tree.map(lambda a: np.asarray(everywhere(a)), tree)

    def whole(self, tree: Any) -> Any:
        return alone(self).replicate(self._readable(tree))

    def given(self, state: TrainState, feed: Any) -> tuple[Any, Any]:
        def placed(array: Any, sharding: Sharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

        dealt = jax.tree.map(lambda a: placed(a, self._sharding(EVERY)), feed)
        return jax.tree.map(placed, state, self._placed(self.specs(state))), dealt

    def shard(self, tree: Any) -> Any:
        return jax.tree.map(
            lambda a: jax.make_array_from_process_local_data(self._sharding(EVERY), np.asarray(a)),
            tree,
        )

    def compiled_steps(
        self,
        make: Callable[..., TrainStep],
        init: Callable[[], TrainState],
        accumulate: int = 1,
    ) -> Compiled:
        shapes = jax.eval_shape(init)
        specs = self.specs(shapes)
        placed = self._placed(specs)
        policy = but_what_is_gathered(shapes.params, specs.params)

        def through(loss: Loss) -> Loss:
            def of_parts(params: Any) -> Any:
                return loss(gathered(params, specs.params))

            return jax.checkpoint(of_parts, policy=policy)

        step = make(through=through)

        def of_device(state: TrainState, feed: Any, constants: Any, key: Any) -> Any:
            state = state._replace(ema_params=gathered(state.ema_params, specs.ema_params))
            means, seen = in_parts(
                lambda part: step.gradients(state, part, constants, key), feed, accumulate
            )
            grads = jax.tree.map(self._mean, means.grads, specs.params)
            loss, parts = jax.lax.pmean((means.loss, means.parts), EVERY)
            return Means(grads, loss, parts), seen

        everywhere = PartitionSpec()
        gradients = jax.shard_map(
            of_device,
            mesh=self.mesh,
            in_specs=(specs, PartitionSpec(EVERY), everywhere, everywhere),
            out_specs=(Means._make((specs.params, everywhere, everywhere)), PartitionSpec(EVERY)),
            check_vma=False,
        )

        def whole_step(state: TrainState, feed: Any, constants: Any, key: Any) -> Any:
            new, metrics = step.update(state, *gradients(state, feed, constants, key))
            return jax.lax.with_sharding_constraint(new, placed), metrics

        steps = in_turn(whole_step)
        return jax.jit(steps, donate_argnums=0, out_shardings=(placed, self._sharding()))

    def describe(self) -> str:
        among = f"among each {self.group}" if self.group else "among them"
        return f"{super().describe()}, the state divided {among}"

    def _mean(self, grad: Any, spec: PartitionSpec) -> Any:
        """Over devices; of an array in parts each has the sum over its group for its part."""
        return jax.lax.psum(grad, COPIES) / self.count if spec else jax.lax.pmean(grad, EVERY)

    def _sharding(self, *parts: str | tuple[str, ...]) -> Sharding:
        return NamedSharding(self.mesh, PartitionSpec(*parts))

    def _placed(self, specs: Any) -> Any:
        return jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), specs)


def put(array: Any, sharding: Sharding) -> jax.Array:
    """What every process has whole, as one array over the devices of all of them."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(put(jax.random.key_data(array), sharding))
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda place: array[place])


def but_what_is_gathered(params: Any, specs: Any) -> Callable[..., bool]:
    """What the forward pass leaves for the backward pass: all but whole weights, which are gathered
    once more, and what is made of them alone, as the same in another type.

    A primitive tells the shapes that it takes, and not where they come from: an array counts as
    weights where its shape is that of some.
    """
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(specs), strict=True)
    shapes = {array.shape for array, spec in pairs if spec}

    def kept(primitive: Any, *arrays: Any, **_: Any) -> bool:
        largest = max((a.shape for a in arrays), key=math.prod, default=())
        return primitive is not jax.lax.all_gather_p and (
            primitive in PRODUCTS or largest not in shapes
        )

    return kept


def gathered(tree: Any, specs: Any) -> Any:
    """The whole arrays of a device's parts; each part gets its own of their gradient's sum."""

    def whole(part: Any, spec: PartitionSpec) -> Any:
        if not spec:
            return part
        return jax.lax.all_gather(part, AXIS, axis=len(spec) - 1, tiled=True)

    return jax.tree.map(whole, tree, specs)
