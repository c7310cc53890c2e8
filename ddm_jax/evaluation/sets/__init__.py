"""What sets of examples are compared by: the table of metrics of samples and a reference."""

from ddm_jax.evaluation.sets.base import SetMetric
from ddm_jax.evaluation.sets.classes import Agreement, ClassShares, Score
from ddm_jax.evaluation.sets.frechet import Frechet
from ddm_jax.evaluation.sets.kernels import Kid, Mmd
from ddm_jax.evaluation.sets.neighbours import DensityCoverage, PrecisionRecall
from ddm_jax.evaluation.sets.sliced import SlicedWasserstein

SET_METRICS: dict[str, SetMetric] = {
    "frechet": Frechet(),
    "kid": Kid(),
    "score": Score(),
    "precision_recall": PrecisionRecall(),
    "density_coverage": DensityCoverage(),
    "sliced_wasserstein": SlicedWasserstein(),
    "mmd": Mmd(),
    "agreement": Agreement(),
    "class_shares": ClassShares(),
}
SETS_OF = "diffusion"  # the task whose runs draw samples to be compared
