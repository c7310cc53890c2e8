"""The model card of exported weights: a README.md from the record of their run."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ddm_jax.data.dataset import Spec

_TEXT = """\
---
library_name: diffusers
tags:
- unconditional-image-generation
---

# {name}

A denoising diffusion model of {data}, {count:,} images of {shape}, from a run of ddm_jax. It has
{parameters:,} parameters.

These are the averaged weights of step {step:,}, with which the run samples; those that training
goes on from are not here. Their sha256 is {sha256}.
{origin}
## Sampling

{sampling}

With ddm_jax, from the run itself:

```bash
python launch.py --mode sample --workdir runs/{name}
```

## Training

```bash
python launch.py --config config.json --workdir runs/{name}
```

with these settings as config.json, where settings that are not named have their defaults:

```json
{config}
```
"""
_PIPELINE = """\
```python
from diffusers import {pipeline}

pipeline = {pipeline}.from_pretrained("path/to/this/folder")
images = pipeline(batch_size=4, num_inference_steps={steps}{eta}).images
```"""
_NETWORK = """\
The network is told a class from 0 to {last}, or {classes} for none, of which the pipeline knows
nothing:

```python
from diffusers import UNet2DModel

net = UNet2DModel.from_pretrained("path/to/this/folder", subfolder="unet")
out = net(x_t, timestep, class_labels=labels).sample
```"""


class Card(NamedTuple):
    """What a card tells.

    origin: of which other weights training began, {} for random ones. config: the settings that
    matter, by dotted key. classes: how many the network is told, 0 for none.
    """

    name: str
    spec: Spec
    step: int
    sha256: str
    parameters: int
    origin: Mapping[str, Any]
    config: Mapping[str, Any]
    pipeline: str
    steps: int
    eta: float
    classes: int

    def text(self) -> str:
        """The card, in Markdown."""
        eta = f", eta={self.eta}" if self.pipeline == "DDIMPipeline" else ""
        pipeline = _PIPELINE.format(pipeline=self.pipeline, steps=self.steps, eta=eta)
        network = _NETWORK.format(last=self.classes - 1, classes=self.classes)
        origin = ""
        if self.origin:
            run, sha256 = self.origin.get("run"), self.origin.get("sha256")
            origin = (
                f"\nStep 0 had the weights of {run}, from diffusers, with the sha256 {sha256}.\n"
            )
        return _TEXT.format(
            name=self.name,
            data=self.spec.name,
            count=self.spec.count,
            shape="x".join(map(str, self.spec.shape)),
            parameters=self.parameters,
            step=self.step,
            sha256=self.sha256,
            origin=origin,
            sampling=network if self.classes else pipeline,
            config=json.dumps(_nested(self.config), indent=1),
        )


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Sections within sections, of dotted keys."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return tree
