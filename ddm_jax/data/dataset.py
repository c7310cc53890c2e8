"""What a data set is once decoded, and the cache that keeps it so."""

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ddm_jax.errors import UserError

Report = Callable[[str], None]  # told of progress, a line at a time


class NoSplit(UserError):
    """The data set is there, but has no split of the name that `data.split` gives."""


@dataclass(frozen=True)
class DataOptions:
    """The `data` section: which set, how it is decoded and how it is fed.

    name: `digits`, `shapes`, `photo`, `tfds:<name>` or `folder:<path>`. dir: where TFDS keeps
    prepared data ("" for its own default). downloads: a folder of original files to prepare from.
    size: side in pixels after cropping and resizing, 0 for the data's own. channels: 1 or 3, 0 for
    the data's own. count: how many `shapes` to draw. strict: stop at the first bad file of a
    folder. scaling: "unit" for [-1, 1], "fitted" for zero mean and unit variance by the data's
    own. cache: folder of the decoded copies ("" for the user's cache folder).
    """

    name: str = "digits"
    split: str = "train"
    dir: str = ""
    downloads: str = ""
    size: int = 0
    channels: int = 0
    count: int = 20000
    strict: bool = False
    flip: bool = False
    scaling: str = "unit"
    on_device: bool = False
    cache: str = ""

    def __post_init__(self):
        if self.scaling not in ("unit", "fitted"):
            raise ValueError(f"scaling is 'unit' or 'fitted', not {self.scaling!r}")
        if self.channels not in (0, 1, 3):
            raise ValueError(f"channels is 1, 3 or 0 (the data's own), not {self.channels}")
        if self.size < 0 or self.count < 1:
            raise ValueError("size must be at least 0 and count at least 1")


@dataclass(frozen=True)
class Spec:
    """What a model must know of its data, and which data they are.

    mean and std: per channel, of values in [0, 1]. sha256: of images, labels and captions, "" of
    what there is none of; () in files that earlier versions wrote.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    classes: tuple[str, ...]
    captioned: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: tuple[str, ...] = ()

    @classmethod
    def read(cls, plain: dict[str, Any]) -> "Spec":
        """The Spec that `asdict` and JSON made `plain`."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        return cls(**fields)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Decoded images uint8 (N, H, W, C), labels int32 (N,) or None, captions or None.

    problems: (file, reason) of what was left out.
    """

    spec: Spec
    images: np.ndarray
    labels: np.ndarray | None = None
    captions: tuple[str, ...] | None = None
    attributes: dict[str, np.ndarray] = field(default_factory=dict)
    problems: tuple[tuple[str, str], ...] = ()


def spec_of(
    name: str,
    images: np.ndarray,
    classes: Iterable[str] = (),
    labels: np.ndarray | None = None,
    captions: Iterable[str] | None = None,
) -> Spec:
    """The Spec of decoded images, with exact mean and deviation from their histogram."""
    levels = np.arange(256) / 255
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for block in _blocks(images):
        block = block.reshape(-1, channels)
        counts += [np.bincount(block[:, c], minlength=256) for c in range(channels)]
    weights = counts / counts.sum(1, keepdims=True)
    mean = weights @ levels
    std = np.sqrt(np.maximum(weights @ levels**2 - mean**2, 1e-12))
    return Spec(
        name,
        tuple(images.shape[1:]),
        len(images),
        tuple(classes),
        captions is not None,
        tuple(map(float, mean)),
        tuple(map(float, std)),
        digests(images, labels, captions),
    )


def digests(
    images: np.ndarray, labels: np.ndarray | None, captions: Iterable[str] | None
) -> tuple[str, str, str]:
    """`Spec.sha256` of data: they are the same data where these are, wherever they lie."""
    found = []
    for array in (images, labels):
        digest = hashlib.sha256()
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            for block in _blocks(array):
                digest.update(np.ascontiguousarray(block).data)
        found.append("" if array is None else digest.hexdigest())
    text = "" if captions is None else json.dumps(list(captions))
    return *found, hashlib.sha256(text.encode()).hexdigest() if text else ""


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of an array that need not fit in memory."""
    return (np.asarray(array[start : start + 4096]) for start in range(0, len(array), 4096))


def check_same_data(now: Spec, was: Spec) -> None:
    """UserError that names what differs, where `now` is no Spec of the data of `was`."""
    differ = []
    if now.count != was.count:
        differ.append(f"count is {now.count:,}, was {was.count:,}")
    if now.shape != was.shape:
        differ.append(f"shape is {now.shape}, was {was.shape}")
    if now.classes != was.classes:
        pairs = itertools.zip_longest(now.classes, was.classes)
        k, (new, old) = next((k, pair) for k, pair in enumerate(pairs) if pair[0] != pair[1])
        differ.append(f"class {k} is {new!r}, was {old!r}")
    parts = zip(("images", "labels", "captions"), now.sha256, was.sha256, strict=False)
    differ += [f"the {part} differ" for part, new, old in parts if new != old]
    if not differ and not np.allclose(now.mean + now.std, was.mean + was.std, rtol=1e-9):
        differ.append("mean and deviation differ")
    if differ:
        raise UserError(
            f"{now.name} is no longer what the run was trained on: {'; '.join(differ)}; bring the "
            "data back, or train anew in another --workdir"
        )


def fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """uint8 (h, w, channels): converted, and cropped and resized to size x size if size > 0."""
    image = image if image.mode in ("L", "RGB") else image.convert("RGB")
    image = image.convert("L" if channels == 1 else "RGB")
    if size and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def cached(folder: str, key: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> Dataset:
    """The data set stored under `key`, memory-mapped; `make` decodes it where it is not there.

    `make(images_path)` writes an .npy of uint8 images and returns {classes, labels, captions,
    problems}. An entry whose data do not match their sha256 sums is made anew.
    Entries appear whole or not at all, so several processes may build the same one.
    """
    root = Path(folder or os.environ.get("DDM_JAX_CACHE") or _user_cache()).expanduser()
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    label = "".join(c if c.isalnum() else "_" for c in str(key["name"]))[-40:]
    entry = root / f"{label}-{digest}"
    found = _open(entry)
    if found is not None:
        return found
    root.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=root))
    try:
        meta = make(part / "images.npy")
        images = np.load(part / "images.npy", mmap_mode="r")
        labels, captions = meta.pop("labels", None), meta.pop("captions", None)
        if labels is not None:
            labels = np.asarray(labels, np.int32)
            np.save(part / "labels.npy", labels)
        spec = spec_of(key["name"], images, meta["classes"], labels, captions)
        meta = {
            "key": key,
            "spec": asdict(spec),
            "captions": captions,
            "problems": meta.get("problems", []),
        }
        (part / "meta.json").write_text(json.dumps(meta))
        if entry.exists():
            shutil.rmtree(entry)
        try:
            part.rename(entry)
        except OSError:  # another process was first
            if _open(entry) is None:
                raise
    except OSError as error:
        raise UserError(
            f"cannot cache the decoded data in {root}: {error}; give --config.data.cache=<folder>"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    made = _open(entry)
    if made is None:
        raise UserError(f"{entry} cannot be read back; give --config.data.cache=<another folder>")
    return made


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ddm_jax"


def _open(entry: Path) -> Dataset | None:
    try:
        meta = json.loads((entry / "meta.json").read_text())
        spec, captions = Spec.read(meta["spec"]), meta["captions"]
        images = np.load(entry / "images.npy", mmap_mode="r")
        labels = np.load(entry / "labels.npy") if spec.sha256[1:2] != ("",) else None
        if digests(images, labels, captions) != spec.sha256:
            return None
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None
    captions = None if captions is None else tuple(captions)
    problems = tuple(map(tuple, meta["problems"]))
    return Dataset(spec, images, labels, captions, problems=problems)
