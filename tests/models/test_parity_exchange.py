"""Folders that diffusers saves and loads: what both networks and both schedulers make of them."""

import inspect
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from torch_side import diffusers, torch

import launch
from ddm_jax.exchange import network, scheduler
from ddm_jax.verbs import open as open_run

sys.path.insert(0, str(ROOT / "tests/diffusion"))
sys.path.insert(0, str(ROOT / "tests/exchange"))
from parity import TENTHS, close, eps_of, fix_noise, ours, theirs  # noqa: E402
from test_schedulers import made  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
FILE = Path("scheduler_config.json")
SMALL = (
    "--config.guidance.name=none",
    "--config.data.name=photo",
    "--config.sample.steps=10",
    "--config.train.batch=2",
)
TINY = {
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "downsample_padding": 0,
    "norm_eps": 1e-6,
    "norm_num_groups": 2,
    "layers_per_block": 1,
    "attention_head_dim": None,
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}


def run_launch(*arguments):
    assert launch.main([*map(str, arguments)]) == 0


def imports(folder, workdir, size):
    config = ROOT / "configs/quickstart.py"
    arguments = ("--mode", "import", "--config", config, "--folder", folder, "--workdir", workdir)
    run_launch(*arguments, *SMALL, f"--config.data.size={size}")


def random_network(seed, **settings):
    """All parameters random: those of norms around 1, biases too."""
    net = diffusers.UNet2DModel(**{**TINY, **settings}).eval()
    rng = np.random.default_rng(seed)
    for name, tensor in net.named_parameters():
        fan_in = np.prod(tensor.shape[1:]) if tensor.ndim > 1 else 10
        values = rng.normal(size=tuple(tensor.shape)) / np.sqrt(fan_in)
        values = values + (tensor.ndim == 1 and "norm" in name)
        tensor.data = torch.tensor(values, dtype=torch.float32)
    return net


def test_defaults_are_those_of_diffusers():
    """What a file lacks is read as diffusers would."""

    def signature(cls):
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    assert signature(diffusers.UNet2DModel) == network.DEFAULTS
    for name, defaults in scheduler.DEFAULTS.items():
        assert signature(getattr(diffusers, name)) == defaults


@pytest.mark.parametrize(
    "size, settings",
    [
        (16, {}),
        pytest.param(
            8,
            {"flip_sin_to_cos": True, "attention_head_dim": 4, "layers_per_block": 2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["16", "8"],
)
def test_networks_come_and_go(size, settings, tmp_path):
    """Outputs agree to 8e-6 of their norm when a pipeline comes, and when what came goes again."""
    net = random_network(size, sample_size=size, **settings)
    steering = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", num_train_timesteps=200)
    diffusers.DDPMPipeline(net, steering).save_pretrained(tmp_path / "theirs")
    imports(tmp_path / "theirs", tmp_path / "run", size)
    run_launch("--mode", "export", "--workdir", tmp_path / "run", "--folder", tmp_path / "back")
    back = diffusers.DDPMPipeline.from_pretrained(tmp_path / "back")
    loaded = diffusers.UNet2DModel.from_pretrained(tmp_path / "back", subfolder="unet")
    assert type(back.scheduler) is diffusers.DDPMScheduler
    assert torch.equal(back.scheduler.alphas_cumprod, steering.alphas_cumprod)
    said = {key: back.unet.config[key] for key in network.DEFAULTS}
    changed = {"flip_sin_to_cos": False, "attn_norm_num_groups": 2}
    assert said == {**{key: net.config[key] for key in said}, **changed}
    opened = open_run(tmp_path / "run")
    model, params = opened.setup.task.model, opened.run.saved().params
    t = np.array([0, 37, 199])
    x = np.random.default_rng(1).normal(size=(3, size, size, 3)).astype(np.float32)
    call = jax.jit(model.net.apply)
    out = np.asarray(call({"params": params.net}, x, jnp.asarray(t, jnp.float32)))
    given = torch.tensor(np.moveaxis(x, -1, 1)), torch.tensor(t)
    for other in (net, back.unet, loaded.eval()):
        with torch.no_grad():
            expected = np.moveaxis(other(*given).sample.numpy(), 1, -1)
        for a, b in zip(out, expected, strict=True):
            assert np.linalg.norm(a - b) < 8e-6 * np.linalg.norm(b)
    assert (
        back(batch_size=1, num_inference_steps=2, output_type="np").images.shape[1:] == x.shape[1:]
    )


@pytest.mark.parametrize(
    "kind, settings",
    [
        ("DDPMScheduler", {"variance_type": "fixed_small"}),
        ("DDPMScheduler", {"variance_type": "fixed_small_log"}),
        ("DDPMScheduler", {"variance_type": "fixed_large"}),
        ("DDIMScheduler", {}),
    ],
    ids=str,
)
def test_steps_of_schedulers_agree(kind, settings, monkeypatch):
    """Of the scheduler that was saved, of ours that was read, and of that which was written."""
    saved = getattr(diffusers, kind)(clip_sample=False, **settings)
    read = made(scheduler.read(FILE, json.loads(saved.to_json_string())))
    written = getattr(diffusers, kind).from_config(scheduler.write(read, False))
    got = ours(read.sampler, TENTHS, schedule=read.model.schedule)
    for other in (saved, written):
        fix_noise(monkeypatch, "ddpm")
        other.register_to_config(timestep_spacing="leading")  # levels that are multiples of 100
        other.set_timesteps(len(TENTHS))
        states, levels = theirs(other, model=eps_of)
        assert levels == [*TENTHS]
        close(got, states[:-1])


@pytest.mark.parametrize(
    "settings",
    [
        {"beta_start": 3e-4, "beta_end": 0.01},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    ],
    ids=str,
)
def test_levels_of_schedulers_agree(settings):
    """What is written is what was read, to the last bit. Theirs are float32 products, and end at 0
    where ours, with zero terminal signal, end at 2^-12 in alpha.
    """
    saved = diffusers.DDIMScheduler(**settings)
    read = made(scheduler.read(FILE, json.loads(saved.to_json_string())))
    alpha = read.model.schedule.alpha(jnp.arange(1000) / 999)
    atol = 3e-4 if "rescale_betas_zero_snr" in settings else 1e-6
    np.testing.assert_allclose(saved.alphas_cumprod.sqrt(), alpha, rtol=1e-3, atol=atol)
    written = diffusers.DDIMScheduler.from_config(scheduler.write(read, False))
    assert torch.equal(written.alphas_cumprod, saved.alphas_cumprod)
