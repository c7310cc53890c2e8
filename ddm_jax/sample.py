"""Draw images from a trained run: a PNG grid and the arrays."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddm_jax import plots
from ddm_jax.errors import UserError
from ddm_jax.recipe import Recipe
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.parallel import Layout, alone

GRID_LIMIT = 400  # images in a PNG; the arrays hold all


def make_draw(recipe: Recipe, layout: Layout) -> Callable[..., np.ndarray]:
    """draw(params, count, say) -> images 0 .. count - 1 in [0, 1], float32 (count, H, W, C).

    One compiled loop for every batch, the last one filled up and cut, on all devices of this
    process. It says where it is after each batch that took long.
    """
    layout = alone(layout)
    generate = layout.compile(recipe.generate, split=(False, True), stacked=True)

    def draw(params: Any, count: int, say: Callable[[str], None]) -> np.ndarray:
        devices = len(layout.devices)
        size = -(-min(recipe.sample.batch, count) // devices) * devices
        done, spoke = [], time.monotonic()
        for start in range(0, count, size):
            index = np.arange(start, start + size, dtype=np.int32)
            done.append(layout.join(generate(params, layout.put(index))))
            if time.monotonic() - spoke > 5 and start + size < count:
                say(f"sampled {start + size:,} of {count:,}")
                spoke = time.monotonic()
        return np.concatenate(done)[:count]

    return draw


def write_grid(recipe: Recipe, images: np.ndarray, path: Path) -> None:
    """A PNG of the first images (n, H, W, C) in [0, 1]; few classes have a column each."""
    images = images[:GRID_LIMIT]
    asked = len(recipe.sample.classes) or recipe.null
    columns = asked if recipe.model.conditional and 4 <= asked <= 12 else 10
    path.parent.mkdir(exist_ok=True)
    plots.grid(plots.to_uint8(images), columns, path)


def sample(recipe: Recipe, workdir: Path, layout: Layout) -> None:
    """Write `samples/<step>_<sampler>_<steps>_seed_<seed>.png` and `.npz` (images, labels, index).

    The weights are the averaged ones of the newest checkpoint.
    """
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    template = jax.eval_shape(recipe.init_state)
    found = checkpoints.restore(template, ("ema_params",), print)
    if found is None:
        raise UserError(f"no usable checkpoint in {workdir / 'checkpoints'}; train first")
    step, fields = found
    count = recipe.sample.count
    print(f"sampling {count:,} images from step {step:,} on {alone(layout).describe()}", flush=True)
    params = alone(layout).place(fields["ema_params"])
    images = make_draw(recipe, layout)(params, count, print)
    sampler = type(recipe.sampler).__name__.lower()
    name = f"step_{step}_{sampler}_{recipe.grid_steps}_seed_{recipe.sample.seed}"
    path = workdir / "samples" / name
    write_grid(recipe, images, path.with_suffix(".png"))
    index = np.arange(count)
    arrays = {"images": plots.to_uint8(images), "index": index}
    if recipe.model.conditional:
        arrays["labels"] = np.asarray(recipe.image_classes(index))
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    print(f"wrote {path}.png and {path}.npz")
