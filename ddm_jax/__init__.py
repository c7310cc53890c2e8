"""Denoising diffusion models in JAX/Flax: pure functions, chosen by a config file."""

__version__ = "0.1.0"
