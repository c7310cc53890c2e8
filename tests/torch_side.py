"""torch and diffusers; tests that import them from here are skipped without the extra `parity`.

Both warn while they are imported.
"""

import os
import warnings

import pytest

WHY = "diffusers and torch are compared with where the extra `parity` is installed"
os.environ["HF_HUB_OFFLINE"] = "1"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch", reason=WHY)
    diffusers = pytest.importorskip("diffusers", reason=WHY)
    pytest.importorskip("diffusers.schedulers", reason=WHY)
    pytest.importorskip("diffusers.models.unets.unet_2d", reason=WHY)
