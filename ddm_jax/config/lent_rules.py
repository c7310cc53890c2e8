"""What is known to be wrong of the runs that a diffusion model borrows, or should."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ddm_jax.config.findings import Finding, dangerous, wrong
from ddm_jax.models.codecs import Codec
from ddm_jax.tasks.diffusion import Diffusion


def features(task: Diffusion) -> Iterator[Finding]:
    asks = task.features.asks
    if asks and asks not in task.lent:
        key = task.borrows[asks].key
        yield wrong(f"these features are of another run; name it, as in --config.{key}=runs/x")


def teacher(task: Diffusion) -> Iterator[Finding]:
    if task.objective.asks_teacher and not task.teacher.run:
        yield wrong(
            "this objective learns from another run; name it with --config.teacher.run=runs/<its "
            "name>"
        )
    if task.teacher.run and not task.objective.asks_teacher:
        yield wrong(
            "teacher.run is given, and this objective learns from none; take one that does, as "
            "objective.name=teacher or continuous_distillation, or leave teacher.run empty"
        )
    if task.objective.asks_teacher and task.augment.label_size:
        yield dangerous(
            "the teacher is not told how examples were changed, and takes them for data; take "
            "augment.name=none"
        )


def alike(one: Codec, other: Codec) -> bool:
    """Whether two codecs make the same of the data, as far as their shapes and ranges tell, and
    what they measured of an autoencoder."""
    if one.shape != other.shape or bool(one.latents) != bool(other.latents):
        return False
    if one.latents and other.latents and not one.latents.alike(other.latents):
        return False
    ends = (codec.limits() or () for codec in (one, other))
    return all(np.allclose(a, b, atol=1e-6) for a, b in zip(*ends, strict=True))


def told(task: Diffusion) -> Any:
    """The shapes of what a model is told of one example, beside the noise."""
    return jax.eval_shape(lambda: task.model.condition.null(1))


def lent(task: Diffusion) -> Iterator[Finding]:
    """Whether borrowed runs are of the same data values, and of the same classes."""
    for role, other in task.lent.items():
        key = task.borrows[role].key
        if role in ("features", "autoencoder"):
            if other.spec.values != task.spec.values:
                yield wrong(f"{key}: that run sees other data; take one on the same data")
            elif role == "features" and other.codec.latents:
                yield wrong(f"{key}: that run sees latents; take one that sees the data")
        elif not alike(other.codec, task.codec):
            yield wrong(
                f"{key}: that run sees other data, or sees them otherwise; take one on the same "
                "data with the same codec"
            )
        elif role == "judge":
            if task.model.condition.parts and other.spec.classes != task.spec.classes:
                yield wrong(f"{key}: that classifier tells other classes than the model has")
        elif (
            type(other.model.condition) is not type(task.model.condition)
            or told(other) != told(task)
            or (task.model.condition.parts and other.spec.classes != task.spec.classes)
        ):
            yield wrong(
                f"{key}: that run has another condition; take one with the same condition and "
                "classes"
            )


RULES = (features, teacher, lent)
