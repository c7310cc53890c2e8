"""Laws of the plans: what is kept, what is sampled, and that no batch or device shows in them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, TINY, constant_bytes

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.data.columns import spec_of
from ddm_jax.diffusion.losses.base import Params
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.models.conditions.classes import Classes
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits import EDITS
from ddm_jax.tasks.edits.base import Originals, carry_out
from ddm_jax.tasks.edits.inpaint import Inpaint
from ddm_jax.tasks.edits.interpolate import Interpolate
from ddm_jax.tasks.edits.sdedit import SDEdit
from ddm_jax.tasks.generator import Asked

pytestmark = pytest.mark.usefixtures("quick_compilation")

CLASSES = ("low", "middle", "high")
COLUMNS = {
    "x": np.random.default_rng(0).integers(60, 190, (9, 4, 4, 3), np.uint8),
    "label": np.arange(9, dtype=np.int32) % 3,
}
SPEC = spec_of("toy", COLUMNS, CLASSES)
WEIGHTS = Weights(Params({}, {"embedding": jnp.array([[-0.3], [0.0], [0.3], [0.1]])}))
FEW = ("ddpm", "ddim", "heun", "dpmpp_2m")
OTHERS = [name for name in SAMPLERS if name not in (*FEW, "adaptive")]


class Leaning:
    """A network whose output is tanh of x, and of what it is told, nothing of it learned."""

    dropout = 0.0

    def apply(self, variables, x, noise_cond, context, train):
        return jnp.tanh(0.5 * x + context.vector[:, None, None])


def generator_of(*settings):
    few = ("sample.steps=4", "data.name=shapes", "guidance.classifier_free.scale=2", *settings)
    config = load_config(str(ROOT / "configs/quickstart.py"))
    config = override(config, (*TINY, *(f"--config.{setting}" for setting in few)))
    generator = assemble(config, SPEC).task.generator
    parts = {"net": Leaning(), "condition": Classes(1, SPEC)}
    return dataclasses.replace(generator, model=dataclasses.replace(generator.model, **parts))


def originals(index=(1, 4, 5)):
    index = np.array(index, np.int32)
    label = jnp.asarray(COLUMNS["label"][index])
    names = [f"example {k}" for k in index]
    return Originals(index, COLUMNS["x"][index], Asked(label, jnp.zeros_like(label)), names)


def followed(edit, generator, pictures):
    """What the parts of an edit give, by name."""
    generator = edit.using(generator)
    times = np.asarray(generator.times(WEIGHTS))
    return {
        name: jax.device_get(
            jax.jit(lambda w, i, part=part: carry_out(part, generator, w, whole(times, i)))(
                WEIGHTS, inputs._replace(times=None)
            )
        )
        for name, (part, inputs) in edit.parts(generator, times, pictures).items()
    }


def whole(times, inputs):
    return inputs._replace(times=times)


def pictures_of(edit, index=(1, 4)):
    return originals(index) if edit.wanted().examples else originals(())


@pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_an_edit_of_full_strength_is_a_sample_of_the_run_to_the_last_bit(name):
    generator = generator_of(f"sampler.name={name}", "sample.classes=2,0")
    sampled = jax.jit(generator.generate)(WEIGHTS, originals().numbers)
    edited = followed(SDEdit(strength=(1.0,)), generator, originals())["1"].values
    np.testing.assert_array_equal(edited, sampled)
    assert np.std(sampled) > 0.01


def test_an_edit_keeps_what_its_noise_leaves_and_more_of_it_the_weaker_it_is():
    generator = generator_of()
    edited = followed(SDEdit(strength=(0.01, 0.3, 1.0)), generator, originals())
    before = SPEC.show(originals().values)
    away = [float(np.abs(done.values - before).mean()) for done in edited.values()]
    assert away[0] < 0.7 * away[1] < 0.7 * away[2]
    x = edited["0.3"].x
    t = np.float32(0.3)
    schedule, rates = generator.schedule(WEIGHTS), generator.noise_key(originals().numbers)
    eps = jax.vmap(lambda key: jax.random.normal(key, (4, 4, 3)))(rates)
    expected = schedule.alpha(t) * (2 * before - 1) + schedule.sigma(t) * eps
    np.testing.assert_allclose(x, expected, atol=1e-5)


@pytest.mark.parametrize("settings", [(), ("sample.classes=1",)], ids=["its own", "asked"])
def test_the_condition_is_what_is_asked_for_and_else_the_examples_own(settings):
    generator = generator_of(*settings)
    edited = followed(SDEdit(strength=(0.5,)), generator, originals())["0.5"].values
    label = jnp.array([1, 1, 1]) if settings else originals().own.raw
    own = originals()._replace(own=Asked(label, label))
    plain = followed(SDEdit(strength=(0.5,)), generator_of(), own)["0.5"].values
    np.testing.assert_array_equal(edited, plain)
    assert settings or np.abs(edited[0] - edited[1]).max() > 0.05


def test_a_walk_begins_with_the_runs_own_sample_and_ends_with_another_under_its_class():
    generator = generator_of()
    walk = followed(Interpolate((4, 7), frames=3), generator, originals(()))[""]
    ends = jax.jit(generator.generate)(WEIGHTS, jnp.array([4, 7]))  # both of the class "middle"
    np.testing.assert_allclose(walk.values[[0, 2]], ends, atol=1e-6)
    np.testing.assert_array_equal(walk.x[0], generator.start(WEIGHTS, jnp.array([4]))[0])


def test_a_walk_between_pictures_comes_from_the_one_and_nears_the_other():
    """Without a request there is no guidance, and both can be led back."""
    generator = generator_of("sample.steps=60")
    edit = Interpolate((1, 4), frames=3, between="examples")
    walk, before = followed(edit, generator, originals((1, 4)))[""], SPEC.show(COLUMNS["x"][[1, 4]])
    away = np.abs(walk.values[:, None] - before).mean((2, 3, 4))
    assert away[0, 0] < 0.2 * away[0, 1] and away[2, 1] < 0.2 * away[2, 0]


@pytest.mark.parametrize("sampler", FEW)
@pytest.mark.parametrize("method", ["repaint", "null_space"])
def test_what_is_known_of_a_picture_stays_to_the_last_bit_and_what_is_not_is_not_looked_at(
    method, sampler
):
    generator = generator_of(f"sampler.name={sampler}")
    edit = Inpaint(method=method, mask="0,1,3,2", rounds=2, jump=2)
    missing = np.zeros((4, 4), bool)
    missing[:3, 1:3] = True
    before = SPEC.show(originals().values)
    after = followed(edit, generator, originals())[""].values
    np.testing.assert_array_equal(after[:, ~missing], before[:, ~missing])
    assert (np.abs(after - before)[:, missing] > 1e-3).any((1, 2)).all()
    other = originals().values.copy()
    other[:, missing] = 255 - other[:, missing]
    again = followed(edit, generator, originals()._replace(values=other))[""].values
    np.testing.assert_array_equal(again, after)


@pytest.mark.parametrize("given", ["grey", "low"])
def test_what_is_measured_of_a_result_is_what_was_measured_of_the_picture(given):
    edit = Inpaint(method="null_space", given=given)
    after = followed(edit, generator_of(), originals())[""].values
    before = SPEC.show(originals().values)
    inside = (after > 0).all((1, 2, 3)) & (after < 1).all((1, 2, 3))
    measure = edit.operator(generator_of(), None).measure
    assert inside.any() and np.abs(after - before).max() > 0.05
    np.testing.assert_allclose(
        measure(jnp.asarray(after))[inside], measure(jnp.asarray(before))[inside], atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", EDITS)
def test_a_result_is_the_same_whatever_the_batch(name):
    edit, generator = EDITS[name](), generator_of()
    together = followed(edit, generator, pictures_of(edit))
    times = np.asarray(generator.times(WEIGHTS))
    using = edit.using(generator)
    for part, (row, inputs) in edit.parts(using, times, pictures_of(edit)).items():
        last = {
            name: jax.tree.map(lambda a: a[-1:], value)
            for name, value in inputs._asdict().items()
            if name not in ("times", *row.shared)
        }
        alone = jax.jit(lambda w, i, row=row: carry_out(row, using, w, whole(times, i)))(
            WEIGHTS, inputs._replace(times=None, **last)
        )
        np.testing.assert_allclose(alone.values[0], together[part].values[-1], atol=1e-5)


@pytest.mark.parametrize("name", EDITS)
def test_pictures_and_weights_are_arguments_of_the_program(name):
    edit, generator = EDITS[name](), generator_of()
    using, times = edit.using(generator), np.asarray(generator.times(WEIGHTS))
    pictures = pictures_of(edit, (1, 4))
    for row, inputs in edit.parts(using, times, pictures).values():
        program = jax.jit(lambda w, i, row=row: carry_out(row, using, w, whole(times, i)))
        arguments = WEIGHTS, inputs._replace(times=None)
        few = constant_bytes(program, *arguments)
        many = jax.tree.map(lambda a: jnp.repeat(jnp.asarray(a), 64, 0), arguments[1])
        assert constant_bytes(program, WEIGHTS, many) < few + 4000


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("schedule.name=flow", "prediction.name=velocity", "noise_cond.name=time"),
        ("schedule.name=edm", "prediction.name=edm", "timesteps.name=karras"),
        ("schedule.name=learned", "prediction.name=v", "objective.name=vdm"),
    ],
    ids=lambda s: s[0].split("=")[1],
)
def test_plans_hold_for_every_schedule_and_prediction(settings):
    generator = generator_of(*settings, "condition.name=nothing", "guidance.name=none")
    weights = WEIGHTS._replace(
        params=WEIGHTS.params._replace(
            schedule=generator.model.schedule.init_params(jax.random.key(0))
        )
    )
    times = np.asarray(generator.times(weights))
    edit = Inpaint(method="repaint", rounds=2)
    ((row, inputs),) = edit.parts(generator, times, originals()).values()
    done = jax.jit(lambda w, i: carry_out(row, generator, w, whole(times, i)))(
        weights, inputs._replace(times=None)
    )
    before = SPEC.show(originals().values)
    np.testing.assert_array_equal(done.values[:, 0], before[:, 0])
    assert np.isfinite(done.values).all()
