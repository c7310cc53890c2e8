"""Write what a trained run makes of data or of noise, for other runs to be trained on."""

import jax
import numpy as np

from ddm_jax.data.pairs import write_about
from ddm_jax.errors import UserError
from ddm_jax.figures.plots import to_uint8
from ddm_jax.tasks.generator import Generator
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import together
from ddm_jax.verbs import names
from ddm_jax.verbs.opened import Opened
from ddm_jax.verbs.resumable import in_parts, part_size
from ddm_jax.verbs.sampling import make_draw


def encode_pairs(opened: Opened, layout: Layout) -> None:
    """Write `sample.count` pairs of noise and its sample below `pairs/`, as data for another run.

    Example k is that which `sample` draws k-th, with what it is told. What was interrupted goes on.
    """
    generator: Generator = opened.setup.task.generator
    _check(generator)
    step, weights, origins = opened.load(layout)
    count, spec = generator.options.count, generator.spec
    settings = {"weights": origins.get("", {}), **names.samples(generator, origins)}
    folder = opened.folder / "pairs" / f"step_{step}_{names.drawn_as(generator)}"
    folder = folder.with_name(f"{folder.name}_{names.digest(settings)}")
    told = _told(generator, count)
    draw, noise = make_draw(generator, layout), jax.jit(generator.noise)

    def make(first: int, n: int) -> dict[str, np.ndarray]:
        values = draw(weights, n, layout.say, first)
        layout.say(f"encoded {first + n:,} of {count:,}")
        index = np.arange(first, first + n, dtype=np.int32)
        found = {"x": to_uint8(values) if spec.levels else values.astype(np.float32)}
        found["noise"] = np.asarray(noise(index))
        return found | {name: column[index] for name, column in told.items()}

    kind = np.dtype(np.uint8 if spec.levels else np.float32)
    like = {"x": jax.ShapeDtypeStruct(spec.shape, kind)}
    like["noise"] = jax.ShapeDtypeStruct(generator.model.shape, np.dtype(np.float32))
    like |= {name: jax.ShapeDtypeStruct((), column.dtype) for name, column in told.items()}
    size = part_size(generator.options.batch)
    layout.say(f"encoding {count:,} pairs at step {step:,} on {layout.describe()}")
    folder.parent.mkdir(exist_ok=True)
    in_parts(layout, folder, like, count, size=size, make=make, say=layout.say)
    with together(layout):
        if layout.first:
            write_about(folder, spec, settings, count=count, size=size)
            print(f"wrote {folder}; train on it with --config.data.name=pairs:{folder}")


def _check(generator: Generator) -> None:
    """UserError for what gives no pairs."""
    if generator.sampler.convergence is None:
        raise UserError(
            "a pair is a noise and the one sample that it leads to, and this sampler draws more "
            "noise on the way; take --config.sampler.name=heun or ddim"
        )
    if generator.codec.asks:
        raise UserError(
            "pairs are of noise and values of the same shape, and this run makes latents; encode "
            "a run of pixels"
        )
    if generator.needs_request:
        raise UserError(generator.how_to_ask)


def _told(generator: Generator, count: int) -> dict[str, np.ndarray]:
    """What each example is told, as columns of data: its class, or its text."""
    asked = generator.names(np.arange(count))
    if asked is None:
        return {}
    classes = generator.spec.classes
    if set(asked) <= set(classes):
        return {"label": np.array([classes.index(name) for name in asked], np.int32)}
    return {"text": np.array(asked)}
