"""What is known to be wrong or dangerous in a setup: refused or warned of, with the reason."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.config import classifier_rules, diffusion_rules
from ddm_jax.config.findings import Finding, dangerous
from ddm_jax.config.fits import check_fit
from ddm_jax.config.setup import Setup
from ddm_jax.errors import UserError
from ddm_jax.training.averages import Average


def share_kept(average: Average, step: int, batch: int) -> Array:
    """How much of an average stays in it at update `step`, on `batch` examples."""
    memory = average.init(jnp.ones(()))
    return average.read(average.update(memory, jnp.zeros(()), step, batch))


def average_longer_than_the_run(setup: Setup) -> Iterator[Finding]:
    steps, batch = setup.train.steps, setup.train.batch
    decay = float(jax.jit(lambda: share_kept(setup.average, steps, batch))())
    half_life = np.inf if decay >= 1 else np.log(0.5) / np.log(max(decay, 1e-300))
    if half_life > steps:
        yield dangerous(
            f"the average of the weights has a half-life of {half_life:,.0f} steps and the run "
            f"{steps:,}, so sampling uses weights close to random ones; {setup.average.shorter}"
        )
    if setup.optim.warmup >= steps:
        yield dangerous(
            f"optim.warmup={setup.optim.warmup:,} is not shorter than the run of {steps:,} steps, "
            "so the learning rate never reaches optim.lr"
        )


def spoilt_data(setup: Setup) -> Iterator[Finding]:
    if reason := setup.task.augment.spoils(setup.spec):
        yield dangerous(f"the augmentation spoils the data: {reason}; take augment.name=none")


# Rules of every setup, and those of a task, by its name.
COMMON: tuple[Callable[[Setup], Iterator[Finding]], ...] = (
    average_longer_than_the_run,
    spoilt_data,
)
OF_TASKS: dict[str, tuple[Callable[[Any], Iterator[Finding]], ...]] = {
    "diffusion": diffusion_rules.RULES,
    "classifier": classifier_rules.RULES,
}


def check(setup: Setup) -> tuple[str, ...]:
    """What to warn of, a line each; raises UserError for what cannot work."""
    check_fit(setup)
    rules = OF_TASKS.get(setup.name, ())
    findings = [finding for rule in rules for finding in rule(setup.task)]
    findings += [finding for rule in COMMON for finding in rule(setup)]
    for finding in findings:
        if finding.fatal:
            raise UserError(finding.text)
    return tuple(finding.text for finding in findings)
