"""What a step of training takes on TPUs that are not at hand."""

import time
from collections.abc import Mapping
from typing import Any

import jax

from ddm_jax.config.setup import Setup
from ddm_jax.data.cache import cache_folder
from ddm_jax.data.dataset import Dataset
from ddm_jax.data.pipeline import feed
from ddm_jax.errors import UserError
from ddm_jax.runs import Run
from ddm_jax.tasks.base import completed
from ddm_jax.training.base import Constants
from ddm_jax.training.pods import Cost, Pod, compiled_cost
from ddm_jax.verbs.latents import planned

WAYS = {
    "products": "of products of bfloat16",
    "memory": "of the memory",
    "links": "sent to other chips",
}


def plan(setup: Setup, data: Dataset, pod: Pod, lent: Mapping[str, Run]) -> None:
    """Compile a step for a pod and print its memory, its work and the time that bounds it below.

    lent: the runs that it borrows, by role. Raises UserError where the step does not fit, and for
    what repeats an operation.
    """
    options, layout = setup.train, setup.spread(pod.layout)
    if options.accumulate > 1 or options.deterministic_shards:
        raise UserError(
            "--pod counts every operation once, and this step repeats its own; take "
            "train.accumulate=1 and train.deterministic_shards=0"
        )
    setup, data = planned(setup, completed(setup.task, data))
    how = {"augment": setup.task.augment, "by_index": setup.data.on_device}
    batch = shapes(feed(data, 0, options.batch, setup.seed, **how))
    pool = shapes(data.columns["x"]) if setup.data.on_device else None
    borrowed = shapes(setup.task.frozen(cache_folder(setup.data.cache), layout.say))
    borrowed |= {role: run.shapes() for role, run in lent.items()}
    state = jax.eval_shape(setup.init_state)
    key = jax.eval_shape(setup.train_key)
    chips = f"{layout.count} chips, {pod.shape}"
    layout.say(f"compiling a step for {pod.name}, {chips}, which takes minutes")
    began = time.monotonic()
    state, fed = layout.given(state, batch)
    given = state, (fed,), Constants(pool, borrowed), key
    cost = compiled_cost(setup.compiled_steps(layout), given)
    layout.say(f"compiled in {time.monotonic() - began:,.0f} s")
    for line in told(cost, pod, options.batch):
        layout.say(line)


def told(cost: Cost, pod: Pod, batch: int) -> list[str]:
    """The cost of a step of a batch in words."""
    chip, bounds = pod.chip, cost.bounds(pod.chip)
    amounts = {
        "products": f"{cost.flops / 1e12:,.3g} TFLOP at {chip.flops / 1e12:,.0f} TFLOP/s",
        "memory": f"{cost.moved / 1e9:,.3g} GB at {chip.bandwidth / 1e9:,.0f} GB/s",
        "links": f"{cost.sent / 1e9:,.3g} GB at {chip.links / 1e9:,.0f} GB/s",
    }
    slowest = max(bounds, key=lambda name: bounds[name])
    rows = [
        f"  {1e3 * bounds[name]:8.3f} ms  {amount} {WAYS[name]}" for name, amount in amounts.items()
    ]
    return [
        f"memory: {cost.held / 2**30:,.2f} of {chip.memory / 2**30:,.0f} GiB on each chip",
        "a step takes each chip at least",
        *rows,
        f"at best {1e3 * bounds[slowest]:,.2f} ms a step, {batch / bounds[slowest]:,.0f} images/s, "
        f"bound by {slowest}",
    ]


def shapes(tree: Any) -> Any:
    """Those of all arrays, with their types."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)
