"""Ways to guide, on Gaussian mixtures, whose conditional and guided fields are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.analytic import component, mixture
from ddm_jax.diffusion.clipping import CLIPS
from ddm_jax.diffusion.guidance import (
    GUIDANCES,
    AutoGuidance,
    ClassifierFree,
    ClassifierGuidance,
    Given,
    Judge,
    at_the_same_noise,
    meet,
)
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers.loop import prior, sample
from ddm_jax.diffusion.samplers.one_step import DDIM
from ddm_jax.diffusion.samplers.timesteps import LogSNRGrid
from ddm_jax.diffusion.schedules import SCHEDULES

pytestmark = pytest.mark.usefixtures("quick_compilation")

MEANS = np.array([[1.0, 0.5, -0.3], [-0.8, 0.2, 0.6], [0.1, -1.0, 0.2]])
WEIGHTS, STD = np.array([0.5, 0.3, 0.2]), 0.3
LABEL = jnp.array([0, 1, 2, 1])
T = jnp.array([0.15, 0.4, 0.6, 0.85])
QUICK = ("linear", "flow", "edm")  # the others are slow tests
PAIRS = [("cosine", "flow"), ("flow", "vp"), ("vp", "edm"), ("edm", "cosine"), ("vp", "vp")]


def whole(schedule):
    """The denoiser of the mixture."""
    return mixture(schedule, MEANS, STD, WEIGHTS)


def of_component(schedule, label=LABEL):
    """The denoiser of component label_i for example i: one Gaussian each."""

    def denoise(x_t, t, s=None):
        alpha, sigma = (jnp.broadcast_to(f(t), x_t.shape[:1])[:, None] for f in rates(schedule))
        mean = jnp.asarray(MEANS)[label]
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        return Estimate(mean + gain * (x_t - alpha * mean))

    return denoise


def rates(schedule):
    return schedule.alpha, schedule.sigma


def noised(schedule, t=T):
    x0, eps = np.random.default_rng(0).normal(size=(2, len(t), 3))
    return schedule.alpha(t)[:, None] * x0 + schedule.sigma(t)[:, None] * eps


def judge(schedule, label=LABEL):
    return Judge(schedule, component(schedule, MEANS, STD, WEIGHTS, label=label))


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_a_classifier_turns_the_mixture_into_the_component_asked_for(ours, theirs):
    """Bayes: grad log p(x|y) = grad log p(x) + grad log p(y|x), at scale 1, across schedules."""
    ours, theirs = SCHEDULES[ours](), SCHEDULES[theirs]()
    x_t = noised(ours)
    guided = ClassifierGuidance(scale=1.0).guide(whole(ours), Given(ours, judge=judge(theirs)))
    got = jax.jit(lambda x: guided(x, T).x0)(x_t)
    np.testing.assert_allclose(got, of_component(ours)(x_t, T).x0, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize("conditional", [False, True])
def test_the_push_grows_with_the_scale(scale, conditional):
    """x0 = base + scale (component - mixture), whatever model it is added to."""
    schedule = SCHEDULES["cosine"]()
    x_t = noised(schedule)
    base = of_component(schedule) if conditional else whole(schedule)
    guided = ClassifierGuidance(scale=scale).guide(base, Given(schedule, judge=judge(schedule)))
    step = of_component(schedule)(x_t, T).x0 - whole(schedule)(x_t, T).x0
    expected = base(x_t, T).x0 + scale * step
    np.testing.assert_allclose(guided(x_t, T).x0, expected, rtol=1e-3, atol=2e-4 * (1 + scale))


def test_a_classifier_is_asked_nothing_beyond_the_noise_that_it_saw():
    """The flow ends in pure noise, which the linear schedule never reaches."""
    ours, theirs = SCHEDULES["flow"](), SCHEDULES["linear"]()
    t = jnp.array([0.5, 0.99999])
    seen = ours.logsnr(t) >= theirs.logsnr(jnp.ones(()))
    assert seen.tolist() == [True, False]
    x_t, plain = noised(ours, t), whole(ours)
    guide = ClassifierGuidance(scale=1.0).guide
    got = guide(plain, Given(ours, judge=judge(theirs, LABEL[:2])))(x_t, t).x0 - plain(x_t, t).x0
    assert abs(got[0]).max() > 1e-3 and abs(got[1]).max() == 0


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in SCHEDULES],
)
def test_denoisers_of_two_schedules_are_one_at_the_same_noise(name):
    """E[x_0 | x_t] depends on x_t / alpha and on log-SNR alone."""
    theirs, ours = SCHEDULES[name](), SCHEDULES["vp"]()
    inside = [
        t
        for t in np.linspace(0.05, 0.95, 10, dtype=np.float32)
        if theirs.logsnr(jnp.float32(1)) < ours.logsnr(t) < theirs.logsnr(jnp.float32(0))
    ]
    t = jnp.array([inside[0], inside[len(inside) // 2], inside[-1]])
    x_t = noised(ours, t)
    moved = at_the_same_noise(whole(theirs), theirs, ours)
    np.testing.assert_allclose(moved(x_t, t).x0, whole(ours)(x_t, t).x0, rtol=4e-3, atol=4e-3)
    u, ratio = meet(ours, theirs, t)
    np.testing.assert_allclose(ratio * ours.alpha(t), theirs.alpha(u), rtol=2e-3)


def test_autoguidance_leads_away_from_the_worse_model():
    """u + scale (c - u) with u another run's, of another schedule."""
    ours, theirs = SCHEDULES["cosine"](), SCHEDULES["flow"]()
    worse = mixture(theirs, MEANS + 0.2, 0.5, WEIGHTS)
    given = Given(ours, reference=at_the_same_noise(worse, theirs, ours))
    x_t = noised(ours)
    got = AutoGuidance(scale=2.5).guide(whole(ours), given)(x_t, T).x0
    u, c = mixture(ours, MEANS + 0.2, 0.5, WEIGHTS)(x_t, T).x0, whole(ours)(x_t, T).x0
    np.testing.assert_allclose(got, u + 2.5 * (c - u), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", [n for n in GUIDANCES if n != "none"])
def test_outside_its_interval_nothing_is_guided(name):
    schedule = SCHEDULES["cosine"]()
    given = Given(schedule, whole(schedule), whole(schedule), judge(schedule))
    guided = GUIDANCES[name](scale=3.0, low=0.3, high=0.7)
    main = of_component(schedule)
    if name == "classifier":
        main = whole(schedule)
    x_t = noised(schedule)
    got, plain = guided.guide(main, given)(x_t, T).x0, main(x_t, T).x0
    np.testing.assert_array_equal(np.asarray(got)[[0, 3]], np.asarray(plain)[[0, 3]])
    assert (abs(got - plain).max(1)[1:3] > 1e-3).all()


def test_scales_0_and_1_are_the_unconditional_and_the_conditional_model():
    schedule = SCHEDULES["cosine"]()
    main, null, x_t = of_component(schedule), whole(schedule), noised(schedule)
    for scale, expected in ((0.0, null), (1.0, main)):
        guided = ClassifierFree(scale=scale).guide(main, Given(schedule, null))
        np.testing.assert_array_equal(guided(x_t, T).x0, expected(x_t, T).x0)


def test_leading_away_from_the_null_is_climbing_what_tells_them_apart():
    """u + w (c - u) is the whole model led by w grad log p(y | x_t): two routes, one field."""
    schedule = SCHEDULES["cosine"]()
    x_t, null = noised(schedule), whole(schedule)
    for scale in (0.4, 2.5):
        free = ClassifierFree(scale=scale).guide(of_component(schedule), Given(schedule, null))
        climbing = ClassifierGuidance(scale=scale)
        led = climbing.guide(null, Given(schedule, judge=judge(schedule)))
        np.testing.assert_allclose(free(x_t, T).x0, led(x_t, T).x0, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.5])
def test_mass_moves_as_the_tilted_density_says_at_small_scales(scale):
    """p(k) p(y | k)^w up to a factor, for components apart and a y that says little of k."""
    schedule, said = SCHEDULES["cosine"](), np.array([0.4, 0.8, 0.5])
    means, std = MEANS[:, :2], 0.1
    told = WEIGHTS * said / (WEIGHTS * said).sum()
    main, null = (mixture(schedule, means, std, share) for share in (told, WEIGHTS))
    denoise = ClassifierFree(scale=scale).guide(main, Given(schedule, null))
    times, key = LogSNRGrid().times(schedule, 60), jax.random.key(0)

    @jax.jit
    def drawn():
        x = prior(schedule, key, jnp.zeros((10_000, 2)), times[0])
        return sample(denoise, schedule, DDIM(), times, x=x, key=key)

    nearest = np.linalg.norm(np.asarray(drawn())[:, None] - means, axis=-1).argmin(1)
    tilted = WEIGHTS * said**scale
    np.testing.assert_allclose(np.bincount(nearest) / 10_000, tilted / tilted.sum(), atol=0.015)


def test_guidance_may_keep_off_the_direction_of_the_estimate_and_to_a_length():
    schedule = SCHEDULES["cosine"]()
    main, x_t = of_component(schedule), noised(schedule)
    given, c = Given(schedule, whole(schedule)), main(x_t, T).x0

    def added(**settings):
        guided = ClassifierFree(scale=3.0, **settings).guide(main, given)
        return np.asarray(guided(x_t, T).x0 - c, np.float64)

    plain, across, half = added(), added(parallel=0.0), added(parallel=0.5)
    np.testing.assert_allclose((across * c).sum(1), 0.0, atol=1e-5)
    assert (abs((plain * c).sum(1)) > 1e-3).all()
    np.testing.assert_allclose(half, (plain + across) / 2, atol=1e-5)
    size = np.linalg.norm(plain, axis=1) / 2
    most = float(np.median(size))
    short = added(norm=most)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 2 * np.minimum(size, most), rtol=1e-4)
    np.testing.assert_allclose(
        short / np.linalg.norm(short, axis=1, keepdims=True) * size[:, None],
        plain / 2,
        rtol=1e-3,
        atol=1e-5,
    )


def test_one_of_the_two_models_is_called_where_all_examples_have_one_time():
    """Which a time of each example's own could not do; the results are the same."""
    schedule = SCHEDULES["cosine"]()
    main, called = of_component(schedule), []

    def null(x_t, t, s=None):
        jax.debug.callback(lambda: called.append(1), ordered=True)
        return whole(schedule)(x_t, t, s)

    guided = ClassifierFree(scale=3.0, low=0.3, high=0.7).guide(main, Given(schedule, null))
    one = jax.jit(lambda x, t: guided(x, t).x0)
    x_t = noised(schedule)
    for t, times in ((0.2, 0), (0.5, 1), (0.8, 0)):
        called.clear()
        got = np.asarray(one(x_t, jnp.float32(t)))
        jax.effects_barrier()
        assert len(called) == times
        every = guided(x_t, jnp.full(len(x_t), t)).x0
        np.testing.assert_allclose(got, every, rtol=1e-6, atol=1e-6)
        if not times:
            np.testing.assert_array_equal(got, main(x_t, jnp.float32(t)).x0)


def test_rescaling_gives_the_deviation_of_the_conditional_model_back():
    schedule = SCHEDULES["cosine"]()
    main, null, x_t = of_component(schedule), whole(schedule), noised(schedule)

    def x0(rescale):
        guided = ClassifierFree(scale=4.0, rescale=rescale)
        return np.asarray(guided.guide(main, Given(schedule, null))(x_t, T).x0, np.float64)

    none, half, full = x0(0.0), x0(0.5), x0(1.0)
    np.testing.assert_allclose(full.std(1), np.asarray(main(x_t, T).x0).std(1), rtol=1e-4)
    assert (none.std(1) > 1.2 * full.std(1)).any()
    np.testing.assert_allclose(half, (none + full) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(full.mean(1), none.mean(1), rtol=1e-3, atol=1e-5)


def test_clipping_comes_after_guidance():
    schedule = SCHEDULES["cosine"]()
    x_t = noised(schedule)
    guided = ClassifierFree(scale=9.0).guide(
        of_component(schedule), Given(schedule, whole(schedule))
    )
    assert abs(guided(x_t, T).x0).max() > 1.5
    clipped = CLIPS["static"](guided, jnp.float32(-1), jnp.float32(1))(x_t, T).x0
    np.testing.assert_array_equal(clipped, jnp.clip(guided(x_t, T).x0, -1, 1))


@pytest.mark.parametrize("name", [n for n in GUIDANCES if n != "none"])
def test_intervals_that_cannot_be_are_refused(name):
    for low, high in ((0.5, 0.5), (-0.1, 1.0), (0.2, 1.1)):
        with pytest.raises(ValueError, match="within"):
            GUIDANCES[name](low=low, high=high)
