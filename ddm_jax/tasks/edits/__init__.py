"""The table of edits: where sampling starts, along which times, and what it is held to."""

from ddm_jax.tasks.edits.base import Edit
from ddm_jax.tasks.edits.inpaint import Inpaint
from ddm_jax.tasks.edits.interpolate import Interpolate
from ddm_jax.tasks.edits.invert import Invert
from ddm_jax.tasks.edits.sdedit import SDEdit
from ddm_jax.tasks.edits.upscale import Upscale

__all__ = ["EDITS", "Edit"]

EDITS = {
    "interpolate": Interpolate,
    "sdedit": SDEdit,
    "invert": Invert,
    "inpaint": Inpaint,
    "upscale": Upscale,
}
