"""The table of data sources: each turns DataOptions into a Dataset."""

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ddm_jax.data import moving_shapes as moving_shapes_
from ddm_jax.data import shapes as shapes_
from ddm_jax.data import solids as solids_
from ddm_jax.data import tones as tones_
from ddm_jax.data.clips import clips
from ddm_jax.data.columns import spec_of
from ddm_jax.data.dataset import DataOptions, Dataset, Report
from ddm_jax.data.folder import folder
from ddm_jax.data.images import fit
from ddm_jax.data.pairs import pairs
from ddm_jax.data.points import POINT_SETS, REACH
from ddm_jax.data.prepared import tfds
from ddm_jax.data.vectors import with_vectors
from ddm_jax.data.waves import waves
from ddm_jax.errors import UserError, unknown

BLOCK = 2**21  # numbers of the examples that are drawn at a time


def digits(argument: str, options: DataOptions, report: Report) -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 x 8, 17 grey levels (Alpaydin & Kaynak 1998)."""
    _as_it_is("digits", argument)
    if options.space not in ((), (8, 8)):
        raise UserError("digits are 8 x 8 pixels; leave data.size at ()")
    rows = np.loadtxt(_of_scikit_learn("data/digits.csv.gz"), delimiter=",", dtype=np.int32)
    images = np.rint(rows[:, :64].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    columns = {"x": images, "label": rows[:, 64]}
    return Dataset(spec_of("digits", columns, "0123456789", mirrors=False), columns)


def shapes(argument: str, options: DataOptions, report: Report) -> Dataset:
    """`data.count` synthetic captioned images of `data.size` (default 32) pixels a side."""
    _as_it_is("shapes", argument)
    size, width = options.space or (32, 32)
    if size != width:
        raise UserError(f"shapes are drawn on squares; set data.size to {min(size, width)}, say")
    if size < 12:
        raise UserError(
            f"shapes of {size} pixels cannot be told apart; set data.size to 12 or more"
        )
    images = _drawn(lambda index: shapes_.draw(index, size), options.count, (size, size, 3))
    attributes = shapes_.attributes(np.arange(options.count))
    captions = np.array(shapes_.captions(attributes))
    columns = {"x": images, "label": shapes_.labels(attributes), "text": captions}
    return Dataset(spec_of("shapes", columns, shapes_.CLASSES), columns, attributes)


def points(name: str, argument: str, options: DataOptions, report: Report) -> Dataset:
    """`data.count` synthetic points in the plane, of the row `name` of POINT_SETS."""
    _as_it_is(name, argument)
    if options.size or options.channels:
        raise UserError(
            f"{name} are points in the plane; leave data.size at () and data.channels at 0"
        )
    drawn = POINT_SETS[name].draw(np.arange(options.count))
    columns = {"x": drawn.points.astype(np.float32)}
    if drawn.labels is not None:
        columns["label"] = drawn.labels
    about = {"kind": "points", "low": -REACH, "high": REACH, "levels": 0, "mirrors": False}
    return Dataset(spec_of(name, columns, POINT_SETS[name].classes, **about), columns)


def tones(argument: str, options: DataOptions, report: Report) -> Dataset:
    """`data.count` harmonic tones of `data.size` (default 512) samples at `data.rate` (8000)."""
    _as_it_is("tones", argument)
    rate, (length, *more) = options.rate or tones_.RATE, options.size or (tones_.LENGTH,)
    if more or options.channels > 1:
        raise UserError(
            "tones are waves of one channel; set data.size to their samples, as in 512, and leave "
            "data.channels at 0"
        )
    if rate <= tones_.LEAST_RATE:
        raise UserError(
            f"data.rate={rate} is too low for the partials of the tones; take more than "
            f"{tones_.LEAST_RATE}, as 8000"
        )
    if length < rate // 50:
        raise UserError(
            f"{length} samples at {rate} a second are too short to have a pitch; set data.size to "
            f"{rate // 50} or more"
        )
    drawn = tones_.tones(np.arange(options.count), rate, length)
    columns = {"x": drawn.waves[..., None].astype(np.float32), "label": drawn.labels}
    about = {"kind": "wave", "low": -1.0, "high": 1.0, "levels": 0, "rate": float(rate)}
    return Dataset(spec_of("tones", columns, tones_.CLASSES, **about), columns)


def moving_shapes(argument: str, options: DataOptions, report: Report) -> Dataset:
    """`data.count` synthetic clips of `data.frames` (default 8) frames, `data.size` (16) a side."""
    side = _cube("moving_shapes", argument, options, moving_shapes_.SIDE)
    frames, index = options.frames or moving_shapes_.FRAMES, np.arange(options.count)
    shape = (frames, side, side, 3)
    clips = _drawn(lambda index: moving_shapes_.draw(index, frames, side), options.count, shape)
    label = moving_shapes_.labels(moving_shapes_.motion(index, frames, side))
    columns = {"x": clips, "label": label.astype(np.int32)}
    about = {"kind": "clip", "mirrors": False}
    return Dataset(spec_of("moving_shapes", columns, moving_shapes_.CLASSES, **about), columns)


def solids(argument: str, options: DataOptions, report: Report) -> Dataset:
    """`data.count` synthetic volumes of `data.size` (default 12) cells a side."""
    side = _cube("solids", argument, options, solids_.SIDE)
    volumes = _drawn(lambda index: solids_.draw(index, side), options.count, (*[side] * 3, 1))
    columns = {"x": volumes, "label": solids_.labels(np.arange(options.count))}
    return Dataset(spec_of("solids", columns, solids_.CLASSES, kind="volume"), columns)


def _drawn(
    draw: Callable[[np.ndarray], np.ndarray], count: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Examples 0 to count - 1 of `shape`, uint8, drawn in blocks; MemoryError before any work."""
    if (size := count * math.prod(shape)) > np.iinfo(np.intp).max:
        raise MemoryError(f"{size:,} bytes for {count:,} examples")
    drawn = np.empty((count, *shape), np.uint8)
    each = max(1, BLOCK // math.prod(shape))
    for start in range(0, count, each):
        index = np.arange(start, min(start + each, count))
        drawn[index] = draw(index)
    return drawn


def _cube(name: str, argument: str, options: DataOptions, own: int) -> int:
    """The side of synthetic clips and volumes, with UserError for what they are not."""
    _as_it_is(name, argument)
    side, width = options.space or (own, own)
    if side != width or side < 12:
        raise UserError(f"{name} have one side of 12 or more; set data.size to {own}, say")
    if options.channels:
        raise UserError(f"{name} have the channels that they have; leave data.channels at 0")
    return side


def photo(argument: str, options: DataOptions, report: Report) -> Dataset:
    """One photograph, `photo:china` (the default) or `photo:flower`, as scikit-learn ships it.

    The centre of 640 x 427 pixels, at `data.size` (default 64 a side).
    """
    name = argument or "china"
    if name not in PHOTOS:
        raise unknown("photo", name, PHOTOS)
    with Image.open(_of_scikit_learn(f"images/{name}.jpg")) as whole:
        columns = {"x": fit(whole, options.space or (64, 64), options.channels or 3)[None]}
    return Dataset(spec_of(f"photo:{name}", columns), columns)


def _of_scikit_learn(path: str) -> Path:
    """A file of scikit-learn's data sets; to import the package would take longer than to read."""
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise UserError("this data set is a file of scikit-learn: pip install scikit-learn")
    return Path(found.submodule_search_locations[0]) / "datasets" / path


def _as_it_is(name: str, argument: str) -> None:
    if argument:
        raise UserError(f"data set {name!r} takes no argument: write --config.data.name={name}")


PHOTOS = ("china", "flower")
SOURCES = {
    "digits": digits,
    "shapes": shapes,
    "moving_shapes": moving_shapes,
    "solids": solids,
    "photo": photo,
    "tones": tones,
    "tfds": tfds,
    "folder": folder,
    "pairs": pairs,
    "waves": waves,
    "clips": clips,
    **{name: functools.partial(points, name) for name in POINT_SETS},
}


def load(options: DataOptions, report: Report = lambda line: None) -> Dataset:
    """The data set that `options.name` names; raises UserError with the remedy where it cannot."""
    kind, _, argument = options.name.partition(":")
    if kind not in SOURCES:
        raise unknown("data source", kind, SOURCES)
    data = SOURCES[kind](argument, options, report)
    if options.embeddings:
        data = with_vectors(data, options.embeddings.replace("{split}", options.split))
    return without(data, options.without) if options.without else data


def without(data: Dataset, names: Sequence[str]) -> Dataset:
    """The data without the examples of some classes; the classes keep their numbers."""
    spec, away = data.spec, []
    for name in names:
        if name not in spec.classes:
            raise unknown("class in data.without", name, spec.classes)
        away.append(spec.classes.index(name))
    keep = ~np.isin(data.columns["label"], away)
    if not keep.any():
        raise UserError("data.without leaves out all examples; name fewer classes")
    columns = {name: column[keep] for name, column in data.columns.items()}
    about = {k: getattr(spec, k) for k in ("kind", "low", "high", "levels", "rate", "mirrors")}
    attributes = {name: values[keep] for name, values in data.attributes.items()}
    kept = spec_of(spec.name, columns, spec.classes, **about)
    return Dataset(kept, columns, attributes, data.problems)
