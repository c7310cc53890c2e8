"""The table of data sources: each turns DataOptions into a Dataset."""

import numpy as np
from PIL import Image

from ddm_jax.data import shapes as shapes_
from ddm_jax.data.dataset import DataOptions, Dataset, Report, fit, spec_of
from ddm_jax.data.folder import folder
from ddm_jax.data.prepared import tfds
from ddm_jax.errors import UserError, unknown


def digits(argument: str, options: DataOptions, report: Report) -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 x 8, 17 grey levels (Alpaydin & Kaynak 1998)."""
    from sklearn.datasets import load_digits

    _as_it_is("digits", argument, options.size, 8)
    images, labels = load_digits(return_X_y=True)
    images = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    labels = labels.astype(np.int32)
    return Dataset(spec_of("digits", images, "0123456789", labels), images, labels)


def shapes(argument: str, options: DataOptions, report: Report) -> Dataset:
    """`data.count` synthetic captioned images of `data.size` (default 32) pixels a side."""
    _as_it_is("shapes", argument)
    size = options.size or 32
    if size < 12:
        raise UserError(
            f"shapes of {size} pixels cannot be told apart; set data.size to 12 or more"
        )
    blocks = np.array_split(np.arange(options.count), max(1, options.count // 1000))
    images = np.concatenate([shapes_.draw(block, size) for block in blocks])
    attributes = shapes_.attributes(np.arange(options.count))
    labels, captions = shapes_.labels(attributes), shapes_.captions(attributes)
    spec = spec_of("shapes", images, shapes_.CLASSES, labels, captions)
    return Dataset(spec, images, labels, captions, attributes)


def photo(argument: str, options: DataOptions, report: Report) -> Dataset:
    """One photograph, `photo:china` (the default) or `photo:flower`, as scikit-learn ships it.

    The centre square of 640 x 427 pixels, at `data.size` (default 64) a side.
    """
    from sklearn.datasets import load_sample_image

    name = argument or "china"
    if name not in PHOTOS:
        raise unknown("photo", name, PHOTOS)
    whole = Image.fromarray(load_sample_image(f"{name}.jpg"))
    images = fit(whole, options.size or 64, options.channels or 3)[None]
    return Dataset(spec_of(f"photo:{name}", images), images)


def _as_it_is(name: str, argument: str, size: int = 0, only: int = 0) -> None:
    if argument:
        raise UserError(f"data set {name!r} takes no argument: write --config.data.name={name}")
    if size not in (0, only):
        raise UserError(f"{name} are {only} x {only} pixels; leave data.size at 0")


PHOTOS = ("china", "flower")
SOURCES = {"digits": digits, "shapes": shapes, "photo": photo, "tfds": tfds, "folder": folder}


def load(options: DataOptions, report: Report = lambda line: None) -> Dataset:
    """The data set that `options.name` names; raises UserError with the remedy where it cannot."""
    kind, _, argument = options.name.partition(":")
    if kind not in SOURCES:
        raise unknown("data source", kind, SOURCES)
    return SOURCES[kind](argument, options, report)
