"""Bits per dimension of data under a trained run, by two independent estimators.

They give the same data to two models of the 256 values: the bound's decoder leaves its outer bins
open, so values at the ends gain the tails; the ODE has a density that sigma(0) widens, read evenly
over each bin. Where many pixels are black or white the bound can be the lower of the two.

With a fixed variance the bound is not that of the code of Ho et al. 2020 (arXiv:2006.11239) and
Nichol & Dhariwal 2021 (arXiv:2102.09672) unless evaluate.decoder is "published": theirs decodes
with the posterior variance of the two lowest levels, the default "x0" with the variance of x_0
given x_t at the lowest, about twice as much. With a learned variance the two are the same but for
alpha^2 of the lowest level, 0.9999 on the linear schedule. See `vlb.decoder_log_variance`.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax import files
from ddm_jax.data import sources
from ddm_jax.data.dataset import Dataset, NoSplit, check_same_data
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.guidance import CLIPS
from ddm_jax.diffusion.likelihood.flow import ode_bits
from ddm_jax.diffusion.likelihood.vlb import vlb
from ddm_jax.diffusion.samplers.timesteps import UniformGrid
from ddm_jax.errors import RunError, UserError
from ddm_jax.recipe import Recipe
from ddm_jax.training.parallel import Layout, alone, together
from ddm_jax.verbs.names import digest
from ddm_jax.verbs.sampling import in_batches, restored

Say = Callable[[str], None]


def times(recipe: Recipe) -> np.ndarray:
    """The grid of the variational bound: all levels, or `evaluate.steps` times evenly spaced."""
    return UniformGrid().times(
        recipe.schedule, recipe.evaluate.steps or recipe.schedule.num_timesteps
    )


def variance(recipe: Recipe) -> str:
    """The bound's: "learned" where the network predicts a variance, else `evaluate.variance`."""
    x, labels = jnp.zeros((1, *recipe.spec.shape)), jnp.zeros(1, jnp.int32)

    def one(params):
        denoise = recipe.denoiser(params, labels if recipe.model.conditional else None)
        return denoise(x, jnp.array(0.5))

    estimate = jax.eval_shape(lambda: one(recipe.init_params()))
    return recipe.evaluate.variance if estimate.variance_mix is None else "learned"


def make_measure(recipe: Recipe, layout: Layout) -> Callable[..., dict[str, np.ndarray]]:
    """measure(params, data, index, say) -> per-example arrays in bits/dim, one row an index.

    `total` (n,), the bound, and its parts `prior`, `decoder` (n,) and `kl` (n, times - 1), `x0_mse`
    (n, times), and `ode` (n,). The bound is that of the chain that sampling runs, so its estimates
    are clipped as `sample.clip` says, as in the code of Nichol & Dhariwal 2021, arXiv:2102.09672;
    those of the ODE are not. A row is a function of (params, evaluate.seed, example) alone.
    One compiled program an estimator for every batch, the last one filled up and cut. All processes
    must measure, and have all rows.
    """
    options, own, kind = recipe.evaluate, alone(layout), variance(recipe)
    grid, limits = times(recipe), recipe.scaling.limits()

    def inputs(params, pixels, labels, index):
        denoise = recipe.denoiser(params, labels if recipe.model.conditional else None)
        keys = fold_in(jax.random.key(options.seed), index)
        return denoise, recipe.schedule_of(params), recipe.scaling.encode(pixels), keys

    def by_bound(*batch):
        denoise, schedule, x0, keys = inputs(*batch)
        denoise = CLIPS[recipe.sample.clip](denoise, *limits)
        bound = vlb(
            denoise, schedule, grid, x0, fold_in(keys, 0), kind, *limits, decoder=options.decoder
        )
        return bound._replace(kl=bound.kl.T, x0_mse=bound.x0_mse.T)

    def by_ode(*batch):
        denoise, schedule, x0, keys = inputs(*batch)
        how = {"steps": options.ode_steps, "trace": options.trace, "probes": options.probes}
        return ode_bits(denoise, schedule, x0, fold_in(keys, 1), *limits, **how)

    split = (False, True, True, True)
    programs = [own.compile(f, split, stacked=True) for f in (by_bound, by_ode)]

    def measure(params: Any, data: Dataset, index: np.ndarray, say: Say) -> dict[str, np.ndarray]:
        def call(part: np.ndarray):
            labels = np.zeros(len(part), np.int32) if data.labels is None else data.labels[part]
            batch = own.put((data.images[part], labels, part.astype(np.int32)))
            return [own.join(program(params, *batch)) for program in programs]

        bound, ode = in_batches(layout, call, index, options.batch, say, "evaluated")
        return {**bound._asdict(), "ode": ode}

    return measure


def examples(recipe: Recipe, report: Say) -> tuple[Dataset, str, bool]:
    """(data, their split, whether they were held out): what `evaluate.split` says, or the best.

    Only TFDS sets have splits; of those that have no test split, and of all other data, these are
    the examples that were trained on.
    """
    data, wanted = recipe.data, recipe.evaluate.split
    splits = data.name.startswith("tfds:")
    if wanted and not splits:
        raise UserError(f"{data.name} has no splits; leave evaluate.split empty")
    if splits and not wanted:
        try:
            return sources.load(replace(data, split="test"), report), "test", data.split != "test"
        except NoSplit:
            pass
    split = wanted or data.split
    return sources.load(replace(data, split=split), report), split, split != data.split


def settings(recipe: Recipe, split: str) -> dict[str, Any]:
    """What shapes the result beside the weights and the data."""
    options = {k: v for k, v in asdict(recipe.evaluate).items() if k != "batch"}
    found = {"split": split, "steps": len(times(recipe)), "variance": variance(recipe)}
    return {**options, **found, "clip": recipe.sample.clip}


def summary(values: np.ndarray) -> dict[str, float]:
    """Mean and standard error over examples (n,)."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "standard_error": float(error)}


def evaluate(recipe: Recipe, workdir: Path, layout: Layout) -> None:
    """Print bits/dim and write `evaluation/step_<step>_<split>_seed_<seed>_<digest>.json`.

    The digest is that of the file's `settings`. The weights are the averaged ones of the newest
    checkpoint; conditional models are told each example's own class.
    """
    step, params = restored(recipe, workdir, layout)
    options = recipe.evaluate
    with together(layout):
        data, split, held_out = examples(recipe, layout.say)
        if not held_out:
            check_same_data(data.spec, recipe.spec)
        elif data.spec.shape != recipe.spec.shape or data.spec.classes != recipe.spec.classes:
            raise UserError(f"the data are no longer those of {workdir}: see data.json there")
    order = np.random.default_rng(options.seed).permutation(len(data.images))
    index = np.sort(order[: options.count])
    seen = "held out" if held_out else "TRAINED ON"
    layout.say(
        f"evaluating {len(index):,} examples of {data.spec.name}, split {split!r} ({seen}), at "
        f"step {step:,} on {layout.describe()}"
    )
    rows = make_measure(recipe, layout)(params, data, index, layout.say)
    bad = [name for name, row in rows.items() if not np.isfinite(row).all()]
    if bad:
        raise RunError(f"{', '.join(bad)} is not finite for some example; nothing is written")
    if not layout.first:
        return
    parts = {name: summary(rows[name]) for name in ("prior", "decoder")}
    parts["kl"] = summary(rows["kl"].sum(1))
    result = {
        "step": step,
        "unit": "bits per dimension",
        "data": {"name": data.spec.name, "split": split, "held_out": held_out},
        "examples": len(index),
        "settings": settings(recipe, split),
        "bound": {
            **summary(rows["total"]),
            "parts": parts,
            "times": times(recipe).tolist(),
            "kl": rows["kl"].mean(0).tolist(),
            "x0_mse": rows["x0_mse"].mean(0).tolist(),
        },
        "ode": summary(rows["ode"]),
        "per_example": {
            "index": index.tolist(),
            "bound": rows["total"].tolist(),
            "ode": rows["ode"].tolist(),
        },
    }
    stem = f"step_{step}_{split}_seed_{options.seed}_{digest(result['settings'])}"
    path = workdir / "evaluation" / f"{stem}.json"
    files.write_json(path, result)
    for line in lines(result):
        print(line)
    print(f"wrote {path}")


def lines(result: dict[str, Any]) -> list[str]:
    """The result for the eye, in bits/dim with standard errors over examples."""

    def shown(of: dict[str, Any]) -> str:
        return f"{of['mean']:.4f} +- {of['standard_error']:.4f}"

    bound, settings = result["bound"], result["settings"]
    named = (("prior", "prior"), ("kl", "pairs of times"), ("decoder", "decoder"))
    return [
        f"variational bound  {shown(bound)} bits/dim "
        f"({len(bound['times']):,} times, {settings['variance']} variance, "
        f"{settings['decoder']} decoder)",
        *(f"  {name:16} {shown(bound['parts'][part])}" for part, name in named),
        f"ODE likelihood     {shown(result['ode'])} bits/dim "
        f"({settings['ode_steps']} steps, {settings['trace']} trace)",
    ]
