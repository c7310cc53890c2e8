"""Every config that is shipped: built, trained for two steps, sampled from, and resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, shared
from PIL import Image

import launch
from ddm_jax.config.assemble import assemble, loans
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete, data_options
from ddm_jax.data import sources
from ddm_jax.data.augments import NO_AUGMENT
from ddm_jax.data.pipeline import feed
from ddm_jax.data.points import POINT_SETS
from ddm_jax.models import MODELS
from ddm_jax.models.autoencoder import AUTOENCODERS
from ddm_jax.models.classifier import CLASSIFIERS
from ddm_jax.tasks.base import Weights
from ddm_jax.training.base import Constants, View
from ddm_jax.training.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("quick_compilation")

SETS = {"tfds:cifar10": "tfds/cifar10", "tfds:fashion_mnist": "tfds/fashion_mnist"}
TINY = {
    "ddpm_unet": ("channels=8", "multipliers=(1,)", "blocks=1", "attention=()", "heads=1"),
    "edm2_unet": ("channels=8", "multipliers=(1,)", "blocks=1", "attention=()"),
    "ddm_unet": ("channels=(8,)", "depth=1"),
    "vanilla_unet": ("channels=(4,8)",),
    "mlp": ("hidden=(8,)",),
    "conv": ("channels=4", "attention=False"),
    "residual_mlp": ("channels=8", "depth=1"),
    "dit": ("channels=12", "depth=1", "heads=2"),
    "unet_encoder": ("channels=8", "multipliers=(1,)", "attention=()", "heads=2"),
}
SHORT = (
    "train.batch=4",
    "train.log_every=1",
    "train.save_every=2",
    "train.sample_every=0",
    "sample.count=2",
    "sample.batch=2",
    "sample.steps=3",
)
VARIANTS = {
    "fashion_mlp": ("published", "x0"),
    "single_image": ("published", "cpu"),
    "cifar_improved": ("hybrid", "vlb"),
    "digits_consistency": ("whole", "mean", "tuned", "continuous"),
    "digits_edm": ("edm", "edm2"),
    "digits_latent": ("", "autoencoder"),
    "fashion_latent": ("", "autoencoder"),
    "toy": ("moons", "swiss_roll"),  # with classes, and without; test_points.py draws all
}
# By the folder that a config names, the config of the run that its first weights are of.
LENDERS = {"runs/digits_mean": "digits_consistency.py:mean", "runs/quickstart": "quickstart.py"}
CONFIGS = [
    f"{path.stem}.py:{variant}".rstrip(":")
    for path in sorted((ROOT / "configs").glob("*.py"))
    if path.stem != "folder"  # it needs a folder, and test_folder_config.py has it
    for variant in VARIANTS.get(path.stem, ("",))
]
# Of what another variant, config or test shows too, CI takes one.
OTHER_VARIANTS = (
    *("fashion_mlp.py:x0", "single_image.py:published", "cifar_improved.py:vlb"),
    *("digits_consistency.py:mean", "digits_consistency.py:tuned"),
    *("digits_consistency.py:continuous", "digits_edm.py:edm"),
    *("fashion_latent.py", "fashion_latent.py:autoencoder", "digits_latent.py:autoencoder"),
    *("fashion_classifier.py", "cifar_linear.py", "cifar_edm.py", "shapes.py", "quickstart.py"),
    *("toy.py:moons", "base.py", "fashion_mnist.py", "moving_shapes.py", "tones.py"),
    *("digits_meanflow.py", "digits_guided.py", "digits_latent.py", "digits_classifier.py"),
    *("shapes_text.py", "shapes_upscale.py", "cifar_cosine.py"),
)


def test_every_model_has_a_tiny_size():
    assert TINY.keys() == MODELS.keys() | CLASSIFIERS.keys() | AUTOENCODERS.keys()


class Killed(BaseException):
    """Passes every handler of errors."""


def train_and_kill(arguments, step, monkeypatch):
    """As launch.py where nothing more is done once a step is given to be saved."""
    whole = Checkpoints.save

    def save(self, at, state):
        bad = whole(self, at, state)
        if at == step:
            raise Killed
        return bad

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Checkpoints, "save", save)
        launch.main(arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[
                pytest.mark.xdist_group(f"config {name}"),
                *[pytest.mark.telling] * (name not in OTHER_VARIANTS),
            ],
        )
        for name in CONFIGS
    ],
)
def test_a_config_trains_is_killed_resumes_and_samples(
    name, tmp_path, monkeypatch, request, capsys
):
    monkeypatch.chdir(ROOT)
    config = load_config(f"configs/{name}")
    of_task = SHORT if config.task == "diffusion" else [s for s in SHORT if "sample." not in s]
    small = [f"--config.{s}" for s in of_task]
    if "judge" in loans(config):
        judge = request.getfixturevalue("tiny_classifier")
        small.append(f"--config.guidance.classifier.run={judge}")
    small += [f"--config.model.{config.model.name}.{s}" for s in TINY[config.model.name]]
    if config.data.name in SETS:
        shared(SETS[config.data.name])
        small += [f"--config.data.dir={shared('tfds')}", "--config.data.split=test"]
    if config.data.name in ("shapes", "moving_shapes", "solids", "tones", *POINT_SETS):
        small += ["--config.data.count=50", "--config.sample.film=2"]
    if "autoencoder" in loans(config):
        lender, own = tmp_path / "autoencoder", [s for s in small if ".model." not in s]
        own = [s for s in own if ".sample." not in s] + [
            f"--config.model.conv.{s}" for s in TINY["conv"]
        ]
        first = ["--config", f"configs/{name}:autoencoder", "--workdir", str(lender), *own]
        assert launch.main([*first, "--config.train.steps=2"]) == 0
        small.append(f"--config.codec.latent.run={lender}")
    if config.init.run:
        lender = tmp_path / "lender"
        first = [
            "--config",
            f"configs/{LENDERS[config.init.run]}",
            "--workdir",
            str(lender),
            *small,
        ]
        assert launch.main([*first, "--config.train.steps=2"]) == 0
        taught = [f"--config.teacher.run={lender}"] if config.teacher.run else []
        small += [f"--config.init.run={lender}", *taught]
    arguments = ["--config", f"configs/{name}", "--workdir", str(tmp_path), *small]
    arguments.append("--config.train.steps=3")
    train_and_kill(arguments, 2, monkeypatch)
    assert launch.main(arguments) == 0 and "resuming at step 2" in capsys.readouterr().out
    assert (tmp_path / "checkpoints/3").exists()
    if config.task == "autoencoder":
        assert (tmp_path / "reconstructions/step_3.png").exists()
        few = ("--config.evaluate.count=4",)
        assert launch.main(["--mode", "evaluate", "--workdir", str(tmp_path), *few]) == 0
    elif config.task == "classifier":
        assert (tmp_path / "guesses/step_3.png").exists()
        few = ("--config.evaluate.count=4", "--config.evaluate.levels=2")
        assert launch.main(["--mode", "evaluate", "--workdir", str(tmp_path), *few]) == 0
    else:
        assert (tmp_path / "samples/step_3.png").exists()
        prompt = []
        if config.condition.name == "image":
            Image.new("RGB", (9, 9), "red").save(tmp_path / "small.png")
            prompt = ["--prompt", str(tmp_path / "small.png")]
        assert launch.main(["--mode", "sample", "--workdir", str(tmp_path), *prompt]) == 0
        (drawn,) = (np.load(f)["images"] for f in (tmp_path / "samples").glob("step_3_*.npz"))
        kind = np.float32 if config.data.name in ("tones", *POINT_SETS) else np.uint8
        assert len(drawn) == 2 and drawn.dtype == kind


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "schedule", "prediction", "noise_cond", "sampler", "objective"),
    [
        ("ddpm_unet", "vp", "edm", "ln_sigma", "heun", "weighted"),
        ("ddm_unet", "flow", "velocity", "noise_variance", "unipc", "weighted"),
        ("vanilla_unet", "cosine", "v", "logsnr", "pndm", "weighted"),
        ("mlp", "sigmoid", "x0", "noise_variance", "dpmpp_3m", "weighted"),
        ("mlp", "flow", "velocity", "time", "ddim", "mean_flow"),
        ("mlp", "flow", "velocity", "time", "ddim", "improved_mean_flow"),
        ("residual_mlp", "flow", "eps", "time", "ddim", "weighted"),
        ("dit", "flow", "velocity", "time", "heun", "weighted"),
    ],
)
def test_networks_take_other_parts(model, schedule, prediction, noise_cond, sampler, objective):
    """Its loss has gradients, its samples are finite, and image k depends on k alone."""
    names = dict(schedule=schedule, prediction=prediction, noise_cond=noise_cond, sampler=sampler)
    names["objective"] = objective
    choices = [f"--config.{part}.name={name}" for part, name in names.items()]
    choices += ["--config.model.name=" + model, "--config.sample.steps=3"]
    choices += [f"--config.model.{model}.{s}" for s in TINY[model]]
    config = override(complete(load_config(f"{ROOT}/configs/base.py")), choices)
    data = sources.load(data_options(config))
    setup = assemble(config, data.spec)
    task, params = setup.task, setup.init_params()
    batch = task.prepare(
        feed(data, 0, 8, 0, augment=NO_AUGMENT, by_index=False),
        Constants(None, {}),
        setup.train_key(),
    )
    view = View(jnp.zeros((), int), params, task.memory())

    @jax.jit
    def loss_and_gradient(p):
        return jax.value_and_grad(
            lambda p: task.loss(p, batch, setup.train_key(), borrowed={}, view=view).loss.mean()
        )(p)

    loss, gradient = loss_and_gradient(params)
    assert np.isfinite(loss) and loss > 0
    assert max(abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 0
    generate, weights = jax.jit(task.generator.generate), Weights(params)
    images, other = generate(weights, np.arange(3)), generate(weights, np.array([7, 1, 9]))
    assert np.isfinite(images).all() and images.shape == (3, 8, 8, 1)
    np.testing.assert_allclose(images[1], other[1], atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_an_unknown_variant_is_answered_with_the_known_ones(name, capsys):
    assert launch.main(["--config", f"{ROOT}/configs/{name}.py:other"]) == 2
    error = capsys.readouterr().err
    assert all(variant in error for variant in VARIANTS[name]) and error.count("\n") == 1
