"""What a run can be for: the table of tasks."""

from ddm_jax.tasks.autoencoder import Autoencoder
from ddm_jax.tasks.classifier import Classifier
from ddm_jax.tasks.diffusion import Diffusion

TASKS = {"diffusion": Diffusion, "classifier": Classifier, "autoencoder": Autoencoder}
