"""Whether the parts of a recipe fit the data and each other at all."""

from typing import TYPE_CHECKING

from ddm_jax.errors import UserError

if TYPE_CHECKING:
    from ddm_jax.recipe import Recipe


def check_fit(recipe: "Recipe") -> None:
    """Raises UserError where parts do not fit the data or each other."""
    try:
        recipe.model.check(recipe.spec.shape[:-1])
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    try:
        recipe.timesteps.times(recipe.schedule, recipe.grid_steps)
    except ValueError as error:
        raise UserError(f"timesteps: {error}; see sample.steps") from error
    _check_budget(recipe)
    bad = [c for c in recipe.sample.classes if not 0 <= c < recipe.null]
    if bad:
        raise UserError(
            f"sample.classes holds {bad[0]}, but {recipe.spec.name} has classes 0 to "
            f"{recipe.null - 1}"
        )
    if recipe.edit.first >= recipe.spec.count:
        raise UserError(
            f"edit.first={recipe.edit.first} is no example; {recipe.spec.name} has 0 to "
            f"{recipe.spec.count - 1}"
        )
    levels = recipe.schedule.num_timesteps
    bad = [level for level in recipe.edit.levels if not 0 <= level < levels]
    if bad:
        raise UserError(f"edit.levels holds {bad[0]}, but the noise levels are 0 to {levels - 1}")


def _check_budget(recipe: "Recipe") -> None:
    """Raises UserError where the steps of the sampler cannot spend `sample.evaluations`."""
    budget, each = recipe.sample.evaluations, recipe.sampler.evaluations
    if budget and each is None:
        raise UserError(
            "this sampler makes as many evaluations as it needs; leave sample.evaluations at 0"
        )
    if budget and (budget - 1) % each:
        below = budget - (budget - 1) % each
        raise UserError(
            f"{each} evaluations a step and one at the end cannot make {budget}; take "
            f"sample.evaluations={below} or {below + each}"
        )
