"""Deliberate errors, one a sampler and one a schedule, and the laws that must notice each.

python tests/mutations.py

For every mutation one fragment of one function is replaced, its tests are run, and the function is
put back. All in one process: a mutation costs the time of its tests. Prints `caught` or `missed`
with its row, a line each.
"""

import contextlib
import importlib
import inspect
import io
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
ORDERS, RANDOM, SCHEDULES = "test_sampler_orders", "test_sampler_distributions", "test_schedules"


class Mutation(NamedTuple):
    """`right` in the source of `function` (module.qualified.name) becomes `wrong`.

    tests: a file of tests/diffusion and what `pytest -k` selects from it.
    """

    row: str
    function: str
    right: str
    wrong: str
    tests: tuple[str, str]


def order(name: str, schedule: str = "VP") -> tuple[str, str]:
    """The order of convergence of a class of samplers on one schedule."""
    return ORDERS, f"converge and {name} and {schedule}"


SAMPLERS = (
    Mutation("ddpm", "samplers.DDPM.step", "0.5 * log", "log", (RANDOM, "published_algorithm")),
    Mutation("ddim", "samplers.DDIM.step", "schedule.alpha(s)", "schedule.alpha(t)", order("DDIM")),
    Mutation("ddim", "samplers.DDIM.step", "self.eta**2", "self.eta", (RANDOM, "reach and DDIM")),
    Mutation(
        "consistency", "samplers.Consistency.step", "x), s)", "x), t)", (RANDOM, "consistency")
    ),
    Mutation("euler", "solvers.Euler.step", ".x0, t, s)", ".x0, s, t)", order("Euler")),
    Mutation(
        "euler_ancestral",
        "solvers.EulerAncestral.step",
        "jnp.sqrt(gap)",
        "gap",
        (RANDOM, "reach and EulerAncestral and VP"),
    ),
    Mutation("heun", "solvers.Heun.step", "0.5 * schedule", "schedule", order("Heun")),
    Mutation("heun", "solvers.Heun._lift", "lifted**2 - r**2", "lifted - r", (ORDERS, "karras")),
    Mutation("midpoint", "solvers.Midpoint.step", "r = -jnp", "r = jnp", order("Midpoint")),
    Mutation(
        "euler_maruyama",
        "solvers.EulerMaruyama.step",
        "jnp.sqrt(g2 * (t - s))",
        "g2 * jnp.sqrt(t - s)",
        (RANDOM, "reach and EulerMaruyama and VP"),
    ),
    Mutation(
        "adams_bashforth",
        "multistep.AdamsBashforth.init",
        "self.order - 1",
        "self.order - 2",
        order("AdamsBashforth"),
    ),
    Mutation("pndm", "multistep.PNDM.step", "weights[1:]", "weights[:-1]", order("PNDM")),
    Mutation("deis", "multistep.DEIS.init", "self.order - 1", "self.order - 2", order("DEIS")),
    Mutation("dpmpp_2m", "exponential.DPMpp2M.step", "2 * h_before", "h_before", order("DPMpp2M")),
    Mutation("dpmpp_3m", "exponential.DPMpp3M.init", "(x, 2)", "(x, 1)", (ORDERS, "polynomials")),
    Mutation("unipc", "exponential.UniPC._move", "0.5 * over", "over", order("UniPC")),
    Mutation(
        "predictor_corrector",
        "langevin.PredictorCorrector.step",
        "jnp.sqrt(2 * e)",
        "jnp.sqrt(e)",
        (RANDOM, "corrector_settles"),
    ),
    Mutation(
        "adaptive",
        "adaptive.Adaptive.step",
        "x / _scale(schedule, t)",
        "x / _scale(schedule, s)",
        (ORDERS, "adaptive_samplers and VE"),
    ),
)
CURVES = (SCHEDULES, "curves")
FORMS = (SCHEDULES, "published_form")
EQUATIONS = (SCHEDULES, "published_equations")
FIGURES = (SCHEDULES, "signal_left")
SCHEDULE_ROWS = (
    Mutation("linear", "discrete.Linear.betas", "1000 / self.steps", "1.0", (SCHEDULES, "scaled")),
    Mutation("linear", "discrete.Linear.betas", "self.steps)", "self.steps + 1)[1:]", FORMS),
    Mutation("cosine", "discrete.Cosine.betas", ") ** 2", ")", FIGURES),
    Mutation("scaled_linear", "discrete._root_linear", "end**0.5", "end", FORMS),
    Mutation("quadratic", "discrete.Quadratic.betas", "self.beta_end", "self.beta_start", FORMS),
    Mutation("constant", "discrete.Constant.betas", "self.beta)", "self.beta**2)", FORMS),
    Mutation("inverse", "discrete.Inverse.betas", "self.steps - ", "self.steps + 1 - ", FORMS),
    Mutation("continuous_cosine", "continuous.ContinuousCosine.curve", "-2 * jnp", "-jnp", CURVES),
    Mutation("sigmoid", "continuous.Sigmoid.curve", "(1 - u)", "(2 - u)", CURVES),
    Mutation("laplace", "continuous.Laplace.curve", "(2 * tail)", "(tail)", CURVES),
    Mutation("vp", "continuous.VP.inverse", "(-logsnr)", "(logsnr)", (SCHEDULES, "inverts and vp")),
    Mutation("sub_vp", "continuous.SubVP.sigma", "-jnp.expm1", "jnp.exp", EQUATIONS),
    Mutation("offset_cosine", "schedules.OffsetCosine.alpha", "cos", "sin", FIGURES),
    Mutation("ve", "schedules.VE.logsnr", "-2 * (np", "-(np", EQUATIONS),
    Mutation("edm", "schedules.EDM.sigma", "** self.rho", "** (self.rho - 1)", CURVES),
    Mutation("flow", "schedules.Flow.sigma", "(1 - 2 * self.epsilon)", "1.0", CURVES),
    Mutation("learned", "learned.Monotone.logsnr", "/ (end - start)", "/ end", CURVES),
)
SHARED = (
    Mutation(
        "posterior",
        "core.posterior",
        "schedule.alpha(t) / alpha_s",
        "alpha_s / schedule.alpha(t)",
        (RANDOM, "eta_one and linear"),
    ),
    Mutation(
        "forward_kernel",
        "core.forward_kernel",
        "schedule.alpha(t) / schedule.alpha(s)",
        "schedule.alpha(s) / schedule.alpha(t)",
        (SCHEDULES, "one_step_kernels"),
    ),
    Mutation("sde", "core.sde", "-(schedule.sigma(t) ** 2)", "-schedule.sigma(t)", EQUATIONS),
    Mutation("levels", "discrete.DiscreteSchedule.logsnr", "(self.steps - 1)", "self.steps", FORMS),
    Mutation("loop", "samplers._walk", "], times[1:]", "], times[:-1]", ("test_samplers", "loop")),
    Mutation(
        "uniform",
        "grids.UniformGrid.times",
        "0.0, steps",
        "0.1, steps",
        ("test_grids", "even"),
    ),
    Mutation(
        "trailing",
        "grids.TrailingGrid.times",
        "np.arange(steps)",
        "(np.arange(steps) + 1)",
        ("test_grids", "some and trailing"),
    ),
)
ALL = SAMPLERS + SCHEDULE_ROWS + SHARED


def found(mutation: Mutation) -> tuple[Callable, str]:
    """The function and its source, in which `right` stands once."""
    module, _, name = mutation.function.partition(".")
    function = reduce(
        getattr, name.split("."), importlib.import_module(f"ddm_jax.diffusion.{module}")
    )
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(mutation.right) != 1:
        raise ValueError(f"{mutation.right!r} is not once in {mutation.function}")
    return function, source


@contextlib.contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The function's code replaced in place, so that everything that refers to it is mutated."""
    function, source = found(mutation)
    names: dict = {}
    text = source.replace(mutation.right, mutation.wrong)
    exec(compile(text, mutation.function, "exec"), function.__globals__, names)
    right = function.__code__
    function.__code__ = names[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = right


def passes(*arguments: str) -> bool:
    """Whether tests with these arguments of pytest ran and passed; what they print is kept away."""
    from ddm_jax.diffusion.discrete import DiscreteSchedule

    DiscreteSchedule.levels.cache_clear()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest {arguments}: {code!r}\n{out.getvalue()}")
    return code == pytest.ExitCode.OK


def main() -> int:
    os.chdir(HERE.parent)
    sys.path.insert(0, str(HERE.parent))
    missed = 0
    for file in sorted({mutation.tests[0] for mutation in ALL}):
        chosen = {f"({mutation.tests[1]})" for mutation in ALL if mutation.tests[0] == file}
        if not passes(f"tests/diffusion/{file}.py", "-k", " or ".join(sorted(chosen))):
            raise RuntimeError(f"tests of {file} fail without any mutation")
    for mutation in ALL:
        file, selected = mutation.tests
        with mutated(mutation):
            caught = not passes(f"tests/diffusion/{file}.py", "-k", selected)
        print("caught" if caught else "missed", mutation.row, mutation.function, flush=True)
        missed += not caught
    return missed


if __name__ == "__main__":
    sys.exit(main())
