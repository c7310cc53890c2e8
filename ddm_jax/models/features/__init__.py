"""The table of features: what samples and data are compared by in evaluation."""

from ddm_jax.models.features.base import Features, Seen
from ddm_jax.models.features.borrowed import OfClassifier
from ddm_jax.models.features.networks import EfficientNetLite0, Inception
from ddm_jax.models.features.oracle import OfOracle
from ddm_jax.models.features.untrained import Pixels, Random

__all__ = ["FEATURES", "Features", "Seen"]

FEATURES = {
    "pixels": Pixels,
    "random": Random,
    "classifier": OfClassifier,
    "efficientnet_lite0": EfficientNetLite0,
    "inception": Inception,
    "oracle": OfOracle,
}
