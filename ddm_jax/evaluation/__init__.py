"""What runs are measured by: the table of metrics."""

from ddm_jax.evaluation.accuracy import Accuracy
from ddm_jax.evaluation.base import Metric
from ddm_jax.evaluation.bits import Bound, FlowBits
from ddm_jax.evaluation.reconstruction import PSNR, SSIM

METRICS: dict[str, Metric] = {
    "bound": Bound(),
    "ode": FlowBits(),
    "accuracy": Accuracy(),
    "psnr": PSNR,
    "ssim": SSIM,
}
