"""What an edit is: from pictures and settings to a plan that any sampler and model can follow."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.process import Denoise, marginal_scale
from ddm_jax.diffusion.samplers.base import Sampler
from ddm_jax.diffusion.samplers.loop import sample, trajectory
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.generator import Asked, Generator

FRAMES = 40  # times that are kept of a way


class Plan(NamedTuple):
    """Where to start, along which times, with which sampler and denoiser, what to do at the end.

    x: (B, ...) at the first of the times (n,), whatever times the sampler can walk. finish: the
    sample x_0 (B, ...) to values in the range `Spec.shown`.
    """

    x: Array
    times: Array | np.ndarray
    sampler: Sampler
    denoise: Denoise
    finish: Callable[[Array], Array]


class Inputs(NamedTuple):
    """What a plan is made of. All but the times are arguments of the compiled program.

    times: the run's own grid (n,), in numbers, so that a plan can cut it. numbers: (B,), whose
    noise each result has. asked: (B,), what each is to be; None for what the pictures are, without
    guidance. values: (B, ...), pictures as the data store them, and own, (B,), what these are.
    known: (B, ..., 1), True where a picture is to stay as `shown`, (B, ...), has it. share: (B,),
    of the way to go. None for what an edit does not ask for.
    """

    times: np.ndarray
    numbers: Any
    asked: Any = None
    values: Any = None
    own: Any = None
    known: Any = None
    shown: Any = None
    share: Any = None


class Originals(NamedTuple):
    """The n pictures that are edited: examples of the data, or the user's own.

    numbers: (n,), whose noise their results have. values: (n, ...) as the data store them. own:
    (n,), what they are. names: what to write beside them. sizes: (height, width) of the user's own
    before they were fitted. source: what tells them from others, for the names of files.
    """

    numbers: np.ndarray
    values: np.ndarray
    own: Asked
    names: list[str]
    sizes: tuple[tuple[int, int], ...] = ()
    source: Mapping[str, Any] = {}


class Wanted(NamedTuple):
    """The pictures that an edit asks for: the user's own in `files`, else `examples` of the
    run's data, of which there may be none."""

    files: str = ""
    examples: Sequence[int] = ()


class Done(NamedTuple):
    """What B results are, and how they began; for the eye in the range `Spec.shown`.

    values: (B, ...), the results. x: (B, ...), where the plan started, as diffusion has it. path:
    (B, m, ...), the way from there for the eye, or its first time alone.
    """

    values: Any
    x: Any
    path: Any


class Film(NamedTuple):
    """Frames (n, B, ...), each `ms` milliseconds long and the last `hold`."""

    frames: np.ndarray
    ms: int
    hold: int = 1500


class Shown(NamedTuple):
    """What the user is shown: a table (R, K, ...) with names of its rows and titles of its columns,
    the arrays to keep, lines of text, and films by what their files' names end with."""

    title: str
    rows: np.ndarray
    names: list[str]
    columns: list[str]
    arrays: Mapping[str, Any]
    lines: tuple[str, ...] = ()
    films: Mapping[str, Film] = {}


class Edit(Protocol):
    """A row of EDITS: a frozen dataclass, whose fields are its settings.

    shared: the fields of Inputs that are the same for all results, however these are dealt to
    batches. moves: whether the way to the results is asked for.
    """

    shared: ClassVar[tuple[str, ...]]
    moves: ClassVar[bool]

    def check(self, generator: Generator) -> None:
        """Raises ValueError where it cannot work with a run."""
        ...

    def using(self, generator: Generator) -> Generator:
        """The generator that it plans with: the run's own, or one with another sampler."""
        ...

    def wanted(self) -> Wanted:
        """The pictures that it asks for."""
        ...

    def parts(
        self, generator: Generator, times: np.ndarray, originals: Originals
    ) -> Mapping[str, tuple["Edit", Inputs]]:
        """What is to be carried out, by name; most edits are one part, themselves."""
        ...

    def plan(self, generator: Generator, weights: Weights, inputs: Inputs) -> Plan:
        """The plan of one part: a pure function of arrays."""
        ...

    def show(self, generator: Generator, originals: Originals, done: Mapping[str, Done]) -> Shown:
        """What the user is shown of the results, which come by part."""
        ...


def decoding(generator: Generator, weights: Weights) -> Callable[[Array], Array]:
    """The end of most plans: x_0 to values."""
    return lambda x0: generator.codec.decode(x0, weights.borrowed)


def _told(generator: Generator, inputs: Inputs) -> Inputs:
    """The inputs with conditions as the model is told them; those that are shared go in turn with
    the numbers."""

    def told(asked: Asked | None) -> Asked | None:
        if asked is None:
            return None
        return generator.told(asked, jnp.resize(jnp.asarray(inputs.numbers), (len(asked.label),)))

    return inputs._replace(asked=told(inputs.asked), own=told(inputs.own))


def carry_out(edit: Edit, generator: Generator, weights: Weights, inputs: Inputs) -> Done:
    """Follow the plan of one part of an edit: a pure function of weights and inputs."""
    plan = edit.plan(generator, weights, _told(generator, inputs))
    schedule, key = generator.schedule(weights), generator.sampler_key(jnp.asarray(inputs.numbers))
    how = plan.denoise, schedule, plan.sampler, plan.times
    times = jnp.asarray(plan.times)
    if edit.moves:
        path = trajectory(*how, x=plan.x, key=key)
        x0 = plan.denoise(path[-1], times[-1], jnp.zeros_like(times[-1])).x0
    else:
        path, x0 = plan.x[None], sample(*how, x=plan.x, key=key)
    kept = np.unique(np.rint(np.linspace(0, len(path) - 1, min(FRAMES, len(path)))).astype(int))
    scale = marginal_scale(schedule, times[kept]).reshape(-1, *(1,) * plan.x.ndim)
    seen = generator.codec.decode(path[kept] / scale, weights.borrowed)
    return Done(plan.finish(x0), plan.x, jnp.moveaxis(seen, 0, 1))
