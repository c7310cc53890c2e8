"""The same network as diffusers has it, trained as its examples do, in torch."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

os.environ["HF_HUB_OFFLINE"] = "1"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
WAYS = {  # (channels last, compiled)
    "eager": (False, False),
    "eager, channels last": (True, False),
    "compiled": (False, True),
    "compiled, channels last": (True, True),
}


class Theirs:
    """A train step, the network and DDIM's pipeline, in one of WAYS."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        tensors: Mapping[str, np.ndarray],
        way: str,
        *,
        dtype: str,
        batch: int,
        evaluations: int,
    ):
        channels_last, compiled = WAYS[way]
        net = UNet2DModel.from_config({k: v for k, v in settings.items() if k != "_class_name"})
        net.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in tensors.items()})
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(DEVICE, memory_format=layout).train()
        self.call = torch.compile(self.net) if compiled else self.net
        self.dtype, self.layout = getattr(torch, dtype), layout
        self.parameters = list(self.net.parameters())
        self.adam = torch.optim.Adam(self.parameters, 2e-4, fused=True)
        self.average = [p.detach().clone() for p in self.parameters]
        self.x0 = torch.rand(batch, 3, 32, 32, device=DEVICE).to(memory_format=layout) * 2 - 1
        self.signal = torch.linspace(0.999, 0.01, 1000, device=DEVICE).sqrt()
        self.pipeline = DDIMPipeline(self.net, DDIMScheduler())
        self.pipeline.set_progress_bar_config(disable=True)
        self.batch, self.evaluations = batch, evaluations

    def predict(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        half = self.dtype == torch.bfloat16
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=half):
            return self.call(x, t).sample.float()

    def step(self) -> None:
        noise = torch.randn_like(self.x0)
        t = torch.randint(0, 1000, (self.batch,), device=DEVICE)
        a = self.signal[t][:, None, None, None]
        x = a * self.x0 + (1 - a**2).sqrt() * noise
        ((self.predict(x, t) - noise) ** 2).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1e-4)
        self.finish()

    def forward(self) -> None:
        self.net.eval()
        with torch.no_grad():
            self.predict(torch.zeros_like(self.x0), torch.ones(self.batch, device=DEVICE))
        self.net.train()
        self.finish()

    def sample(self) -> None:
        self.net.eval()
        half = self.dtype == torch.bfloat16
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=half):
            self.pipeline(
                batch_size=self.batch, num_inference_steps=self.evaluations, output_type="np"
            )
        self.net.train()
        self.finish()

    def gradients(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Of the mean squared error of network(x, t) from noise, without dropout."""
        x, t, noise = (torch.from_numpy(a).to(DEVICE) for a in arrays)
        x, noise = (a.permute(0, 3, 1, 2).contiguous(memory_format=self.layout) for a in (x, noise))
        self.net.eval()
        ((self.predict(x, t) - noise) ** 2).mean().backward()
        found = {
            name: p.grad.float().cpu().numpy()
            for name, p in self.net.named_parameters()
            if p.grad is not None
        }
        self.adam.zero_grad()
        self.net.train()
        return found

    def finish(self) -> None:
        if CUDA:
            torch.cuda.synchronize()
