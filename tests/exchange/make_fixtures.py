"""Write the two small folders of diffusers that tests import, and what their networks make of x.

PYTHONPATH=tests python tests/exchange/make_fixtures.py

Needs the extra `parity`. All weights are random, and float16 holds them exactly. `pipeline` is in
half precision; `network` is a network alone with settings that few have, whose file is like an old
one: attention has its former names.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from torch_side import diffusers, torch

HERE = Path(__file__).resolve().parent
FORMER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
COMMON = {
    "freq_shift": 1,
    "downsample_padding": 0,
    "norm_num_groups": 2,
    "norm_eps": 1e-6,
    "layers_per_block": 1,
}
TIMESTEPS = np.array([0, 37, 999])


def filled(seed: int, **settings):
    """A network with random weights that float16 holds exactly."""
    net = diffusers.UNet2DModel(**COMMON, **settings).eval()
    rng = np.random.default_rng(seed)
    for name, tensor in net.named_parameters():
        normal = rng.normal(size=tuple(tensor.shape))
        fan_in = np.prod(tensor.shape[1:]) if tensor.ndim > 1 else 10
        values = normal / np.sqrt(fan_in) + (tensor.ndim == 1 and "norm" in name)
        tensor.data = torch.tensor(values.astype(np.float16).astype(np.float32))
    return net


def told(net, folder: Path, shape: tuple[int, ...], **labels) -> None:
    """Save inputs and the output, channels last."""
    x = np.random.default_rng(9).normal(size=(len(TIMESTEPS), *shape)).astype(np.float32)
    extra = {name: torch.tensor(values) for name, values in labels.items()}
    with torch.no_grad():
        out = net(torch.tensor(np.moveaxis(x, -1, 1)), torch.tensor(TIMESTEPS), **extra).sample
    out = np.moveaxis(out.numpy(), 1, -1)
    folder.mkdir(exist_ok=True)
    np.savez(folder / "told.npz", x=x, timesteps=TIMESTEPS, out=out, **labels)


def pipeline() -> None:
    net = filled(
        1,
        sample_size=8,
        in_channels=1,
        out_channels=1,
        flip_sin_to_cos=False,
        block_out_channels=(4, 8),
        down_block_types=("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D"),
        attention_head_dim=None,
    )
    told(net, HERE / "pipeline", (8, 8, 1))
    scheduler = diffusers.DDPMScheduler(beta_end=0.015, variance_type="fixed_large")
    diffusers.DDPMPipeline(net.half(), scheduler).save_pretrained(HERE / "pipeline")


def network() -> None:
    net = filled(
        2,
        sample_size=(8, 4),
        flip_sin_to_cos=True,
        block_out_channels=(4, 4),
        down_block_types=("AttnDownBlock2D",) * 2,
        up_block_types=("AttnUpBlock2D",) * 2,
        attention_head_dim=2,
        attn_norm_num_groups=2,
        resnet_time_scale_shift="scale_shift",
        downsample_type="resnet",
        upsample_type="resnet",
        num_class_embeds=3,
    )
    folder = HERE / "network"
    net.save_pretrained(folder)
    (file,) = folder.glob("*.safetensors")
    tensors = {}
    for name, tensor in load_file(file).items():
        for now, former in FORMER.items():
            name = name.replace(f".{now}.", f".{former}.")
        tensors[name] = tensor
    save_file(tensors, file, metadata={"format": "pt"})
    told(net, folder, (8, 4, 3), class_labels=np.array([2, 0, 1]))


if __name__ == "__main__":
    pipeline()
    network()
