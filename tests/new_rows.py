"""Rows that a user might add; importing this adds them to the tables."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax import evaluation, tasks
from ddm_jax.data import augments, sources
from ddm_jax.data.columns import spec_of
from ddm_jax.data.counter import uniform
from ddm_jax.data.dataset import Dataset, Spec
from ddm_jax.data.pipeline import prepare
from ddm_jax.diffusion import combining, guidance, noise_conds, predictions, samplers, schedules
from ddm_jax.diffusion.losses import distances, objectives, time_samplers, weightings
from ddm_jax.diffusion.losses.base import Batch, Terms
from ddm_jax.diffusion.samplers import one_step, timesteps
from ddm_jax.diffusion.schedules.base import Fixed
from ddm_jax.figures import artists
from ddm_jax.figures.artists import Room
from ddm_jax.models import codecs, conditions, features
from ddm_jax.models.features.base import OwnFeatures, Seen
from ddm_jax.tasks import edits
from ddm_jax.tasks.edits.base import Plan, decoding
from ddm_jax.tasks.edits.pictures import OfPictures
from ddm_jax.training import averages


@dataclass(frozen=True)
class Square(Fixed):
    """alpha^2 = 1 - u^2, u from low to high."""

    low: float = 0.02
    high: float = 0.999

    def u(self, t):
        return self.low + jnp.asarray(t, jnp.float32) * (self.high - self.low)

    def alpha(self, t):
        return jnp.sqrt(1 - self.u(t) ** 2)

    def sigma(self, t):
        return self.u(t)

    def logsnr(self, t):
        return jnp.log1p(-(self.u(t) ** 2)) - 2 * jnp.log(self.u(t))

    def time(self, logsnr):
        return (jnp.sqrt(1 / (1 + jnp.exp(logsnr))) - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Residual:
    """F = x_t - x_0."""

    def coefficients(self, alpha, sigma):
        return jnp.ones_like(alpha), -jnp.ones_like(alpha), jnp.ones_like(alpha)


@dataclass(frozen=True)
class RootSNR:
    """w = sqrt(SNR)."""

    def on_x0(self, schedule, prediction, t):
        return jnp.exp(0.5 * schedule.logsnr(t))


@dataclass(frozen=True)
class CubicGrid:
    """t_k = (1 - k / n)^3."""

    def times(self, schedule, steps):
        if steps < 1:
            raise ValueError(f"{steps} sampling steps; at least 1 is needed")
        return ((1 - np.arange(steps) / steps) ** 3).astype(np.float32)


@dataclass(frozen=True)
class Plain(one_step.DDIM):
    """DDIM under another name."""


@dataclass(frozen=True)
class Quartic:
    """e^4."""

    def __call__(self, e):
        return e**4


@dataclass(frozen=True)
class Root(time_samplers.TimeSampler):
    """t = sqrt(u): more noise more often."""

    def quantile(self, schedule, u, memory):
        return jnp.sqrt(u)


@dataclass(frozen=True)
class NoiseRate:
    """scale sigma(t)."""

    scale: float = 1.0

    def __call__(self, schedule, t):
        return self.scale * schedule.sigma(t)


@dataclass(frozen=True)
class Doubled(objectives.Weighted):
    """Twice the weighting's loss."""

    def loss(self, problem, params, schedule, batch):
        loss, parts = super().loss(problem, params, schedule, batch)
        return 2 * loss, parts


@dataclass(frozen=True)
class RunningMean(averages.Average):
    """The mean of all weights so far: m_n = m_{n-1} + (w_n - m_{n-1}) / (n + 1)."""

    def init(self, params):
        return jax.tree.map(jnp.copy, params)

    def update(self, memory, params, step, batch):
        return jax.tree.map(lambda m, w: m + (w - m) / (step + 1), memory, params)

    def read(self, memory):
        return memory


@dataclass(frozen=True)
class Halved(codecs.Pixels):
    """Half of what pixels are: x in [-0.5, 0.5]."""

    def encode(self, values, borrowed, keys=None):
        return super().encode(values, borrowed, keys) / 2

    def decode(self, x, borrowed):
        return super().decode(2 * x, borrowed)


@dataclass(frozen=True)
class Averaged(OwnFeatures):
    """The mean of each channel."""

    title = "averages"

    spec: Spec

    def check(self, spec):
        pass

    def load(self, cache, report):
        return (), ""

    def see(self, params, x, lent):
        return Seen(x.reshape(len(x), -1, x.shape[-1]).mean(1))


def sines(argument, options, report):
    """Sixty-four sines of 16 samples, floats in [-1, 1], 8,000 a second."""
    phase = 2 * np.pi * np.arange(64)[:, None, None] / 64
    x = np.sin(phase + np.arange(16)[:, None]).astype(np.float32)
    about = {"kind": "track", "low": -1.0, "high": 1.0, "levels": 0, "rate": 8000.0}
    return Dataset(spec_of("sines", {"x": x}, **about), {"x": x})


@dataclass(frozen=True)
class Scribe:
    """Writes what it is asked to draw, and the range of its values, as text."""

    room = Room()

    low: float
    high: float

    def _write(self, what, values, path):
        inside = self.low <= values.min() and values.max() <= self.high
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{what} {values.shape} {self.low:g} {self.high:g} {inside}")

    def grid(self, examples, path, columns=10, captions=None):
        self._write("grid", examples, path)

    def strip(self, rows, path, names, columns, title=""):
        self._write("strip", rows, path)

    def forward(self, x_t, path, times, logsnr):
        self._write("forward", x_t, path)

    def reverse(self, x_t, x0, path, times, title, names):
        self._write("reverse", x_t, path)

    def animation(self, frames, path, ms=60, hold=1500):
        self._write("animation", frames, path)


@dataclass(frozen=True)
class Negated(guidance.ClassifierFree):
    """The unconditional model led away from the conditional one."""

    def guide(self, denoise, given):
        away = combining.combine(given.null, denoise, self.scale)
        return combining.within(self.low, self.high, away, denoise)


@dataclass(frozen=True)
class Oddness(conditions.Classes):
    """Whether the class is odd."""

    def embed(self, params, raw):
        known = jnp.where(raw == len(self.choices), raw, raw % 2)
        return super().embed(params, known)


@dataclass(frozen=True)
class Negative(augments.NoAugment):
    """Half of the examples with black and white exchanged."""

    columns = ("negative",)

    def draw(self, seed, position):
        return {"negative": uniform(seed, 7, position) < 0.5}

    def apply(self, x, drawn):
        turned = drawn["negative"].reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(turned, 255 - x, x)


class Brightness:
    """The mean of an example's values: a metric that needs no weights."""

    task, of_example = "diffusion", "mean"

    def check(self, task):
        pass

    def measure(self, task, weights, columns, key):
        x = columns["x"]
        return {"mean": task.spec.show(x).mean(axis=tuple(range(1, x.ndim)))}

    def settings(self, task):
        return {}

    def summary(self, task, rows):
        return {"mean": float(rows["mean"].mean())}

    def headline(self, summary):
        return "brightness", summary["mean"]

    def lines(self, summary, settings):
        return [f"brightness {summary['mean']:.3f}"]


@dataclass(frozen=True)
class Opposite(OfPictures):
    """Samples from the noise of the run's own with the other sign, as the pictures are."""

    def plan(self, generator, weights, inputs):
        x = -generator.start(weights, inputs.numbers)
        denoise, finish = generator.guided(weights, inputs.own), decoding(generator, weights)
        return Plan(x, inputs.times, generator.sampler, denoise, finish)


@dataclass(frozen=True)
class Mean:
    """A task: learn the mean of the data, with |x - m|^2 for a loss."""

    augment = augments.NO_AUGMENT

    spec: Spec
    codec: codecs.Codec

    tables = {"codec": codecs.CODECS}
    parts = {}
    free = ()
    borrows = {}
    unit = "square"

    @classmethod
    def make(cls, build, spec, batch, lent):
        return cls(spec, build("codec", spec=spec))

    def init(self, key):
        return {"mean": jnp.zeros(self.codec.shape)}

    def memory(self):
        return ()

    def remember(self, memory, t, loss):
        return memory

    def learn(self, columns):
        return ""

    def columns(self, columns):
        return {}

    def prepare(self, feed, constants, key):
        columns = prepare(feed, constants.pool)
        return Batch(self.codec.encode(columns["x"], {}), None, columns["place"])

    def loss(self, params, batch, key, borrowed, view):
        loss = ((batch.x0 - params["mean"]) ** 2).mean((1, 2, 3))
        return Terms(loss, None, jnp.ones_like(loss))


tasks.TASKS["mean"] = Mean
augments.AUGMENTS["negative"] = Negative
evaluation.METRICS["brightness"] = Brightness()
edits.EDITS["opposite"] = Opposite
guidance.GUIDANCES["negated"] = Negated
conditions.CONDITIONS["oddness"] = Oddness
schedules.SCHEDULES["square"] = Square
predictions.PREDICTIONS["residual"] = Residual
weightings.WEIGHTINGS["root_snr"] = RootSNR
timesteps.TIMESTEPS["cubic"] = CubicGrid
samplers.SAMPLERS["plain"] = Plain
distances.DISTANCES["quartic"] = Quartic
time_samplers.TIME_SAMPLERS["root"] = Root
noise_conds.NOISE_CONDS["noise_rate"] = NoiseRate
objectives.OBJECTIVES["doubled"] = Doubled
averages.AVERAGES["running_mean"] = RunningMean
codecs.CODECS["halved"] = Halved
features.FEATURES["averaged"] = Averaged
sources.SOURCES["sines"] = sines
artists.ARTISTS["track"] = lambda spec: Scribe(*spec.shown)
