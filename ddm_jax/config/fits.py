"""Whether the parts of a setup fit the data and each other at all."""

from typing import Any

from ddm_jax.config.setup import Setup
from ddm_jax.errors import UserError, unknown
from ddm_jax.evaluation import METRICS
from ddm_jax.evaluation.sets import SET_METRICS, SETS_OF
from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.tasks.generator import Generator

DEEPEST = 1000  # blocks of a network


def check_fit(setup: Setup) -> None:
    """Raises UserError where parts do not fit the data or each other."""
    FITS.get(setup.name, lambda task: None)(setup.task)
    _metrics(setup)


def _diffusion(task: Diffusion) -> None:
    model, generator = task.model, task.generator
    _codec(task)
    _network(model.net, task.codec.shape)
    _depth("condition", model.condition)
    try:
        model.condition.check()
    except ValueError as error:
        raise UserError(f"condition: {error}") from error
    if set(model.condition.parts) - {"maps", *model.net.reads}:
        raise UserError(
            "this network does not read that condition; take condition.name=nothing, or "
            "model.name=ddpm_unet"
        )
    if task.objective.two_times and "gap" not in model.net.reads:
        raise UserError(
            "this objective trains jumps between two times, and this network is told of one; take "
            "model.name=ddpm_unet or mlp"
        )
    if task.augment.label_size and "vector" not in model.net.reads:
        raise UserError(
            "this augmentation is told to the network in a vector, which this one does not read; "
            "take augment.name=none, or model.name=ddpm_unet"
        )
    _pairs(task)
    try:
        generator.timesteps.times(model.schedule, generator.grid_steps)
    except ValueError as error:
        raise UserError(f"timesteps: {error}; see sample.steps") from error
    _budget(generator)
    _requests(generator)
    _range(task)
    if not task.spec.levels and (task.objective.chain or task.objective.continuous):
        raise UserError(
            f"the objective bounds the probability of values with levels, and those of "
            f"{task.spec.name} are continuous; take objective.name=weighted"
        )
    try:
        task.features.check(task.spec)
    except ValueError as error:
        raise UserError(f"features: {error}") from error
    try:
        task.edit.check(generator)
    except ValueError as error:
        raise UserError(f"edit: {error}") from error


def _range(task: Diffusion) -> None:
    """Raises UserError where something asks for the range of x, and latents have none."""
    if task.codec.limits() is not None:
        return
    if task.generator.options.clip != "none":
        raise UserError("latents have no range to be clipped to; take sample.clip=none")
    if task.objective.chain or task.objective.continuous:
        raise UserError(
            "the objective bounds the probability of the values of the data, and latents are none; "
            "take objective.name=weighted"
        )


def _pairs(task: Diffusion) -> None:
    """Raises UserError where examples that come with their noise would part from it."""
    if not task.spec.paired:
        return
    if task.augment.columns:
        raise UserError(
            "each example has its own noise, which a changed one does not fit; take "
            "augment.name=none"
        )
    if task.codec.asks:
        raise UserError("the noise of pairs is of values, not of latents; take codec.name=pixels")


def _codec(task: Any) -> None:
    """Raises UserError where the codec needs another run, and none is named."""
    if task.codec.asks and task.codec.asks not in task.codec.lent:
        key = task.borrows[task.codec.asks].key
        raise UserError(f"the codec needs another run; name it with --config.{key}=runs/<its name>")


def _classifier(task: Any) -> None:
    _codec(task)
    _network(task.net, task.codec.shape)


def _autoencoder(task: Any) -> None:
    _network(task.net, task.spec.shape)
    try:
        task.adversary.check(task.spec.shape[:-1])
        task.perception.check(task.spec)
    except ValueError as error:
        raise UserError(str(error)) from error


def _depth(section: str, net: Any) -> None:
    """Raises UserError for a network with so many blocks that to build it takes for ever."""
    for name in ("blocks", "depth"):
        if vars(net).get(name, 0) > DEEPEST:
            raise UserError(f"{section}: {name} must be at most {DEEPEST:,}")


def _network(net: Any, shape: tuple[int, ...]) -> None:
    _depth("model", net)
    try:
        net.check(shape[:-1])
    except ValueError as error:
        raise UserError(f"model: {error}") from error


def _metrics(setup: Setup) -> None:
    good = [row for row, metric in METRICS.items() if metric.task == setup.name]
    good += SET_METRICS if setup.name == SETS_OF else ()
    if good and not setup.task.evaluate.metrics:
        raise UserError(f"evaluate.metrics is empty; name some of {', '.join(good)}")
    for name in setup.task.evaluate.metrics if good else ():
        if name not in good:
            raise unknown("evaluate.metrics", name, good)


def _requests(generator: Generator) -> None:
    """Raises UserError where `sample` asks for what there is not."""
    options, condition = generator.options, generator.model.condition
    texts = [*options.ask, *([options.avoid] if options.avoid else [])]
    if options.avoid and generator.guidance.asks != "null":
        raise UserError(
            "sample.avoid is what guidance leads away from, and this one knows nothing of it; take "
            "guidance.name=classifier_free"
        )
    if texts and not (condition.parts or generator.judged):
        raise UserError(
            f"{texts[0]!r} is asked for, and nothing here is told: the model has no condition and "
            "no classifier guides it; leave sample.ask empty"
        )
    unheard = [text for text in options.ask if generator.judged and text not in generator.judged]
    if unheard:
        raise unknown("class of the classifier", unheard[0], generator.judged)
    count = len(generator.choices)
    bad = [c for c in generator.options.classes if not 0 <= c < count]
    if bad and not count:
        raise UserError(
            f"sample.classes={generator.options.classes} asks for classes, and nothing here knows "
            "any: the model has no condition and no classifier guides it; leave it empty"
        )
    if bad:
        raise UserError(
            f"sample.classes holds {bad[0]}, but {generator.spec.name} has classes 0 to {count - 1}"
        )
    try:
        condition.ask([*generator.requests, *filter(None, [options.avoid])])
    except ValueError as error:
        raise UserError(f"sample.ask: {error}") from error


def _budget(generator: Generator) -> None:
    """Raises UserError where the steps of the sampler cannot spend `sample.evaluations`."""
    budget, each = generator.options.evaluations, generator.sampler.evaluations
    if budget and each is None:
        raise UserError(
            "this sampler makes as many evaluations as it needs; leave sample.evaluations at 0"
        )
    if budget and each and (budget - 1) % each:
        below = budget - (budget - 1) % each
        raise UserError(
            f"{each} evaluations a step and one at the end cannot make {budget}; take "
            f"sample.evaluations={below} or {below + each}"
        )


FITS = {"diffusion": _diffusion, "classifier": _classifier, "autoencoder": _autoencoder}
