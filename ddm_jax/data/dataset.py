"""What a data set is once decoded, and the cache that keeps it so."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ddm_jax.errors import UserError

Report = Callable[[str], None]  # told of progress, a line at a time


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
    """What a model must know of its data. mean and std are per channel, of values in [0, 1]."""

    name: str
    shape: tuple[int, ...]
    count: int
    classes: tuple[str, ...]
    captioned: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


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


def spec_of(name: str, images: np.ndarray, classes: Iterable[str] = (), captioned=False) -> Spec:
    """The Spec of decoded images, with exact mean and deviation from their histogram."""
    levels = np.arange(256) / 255
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), 4096):
        block = np.asarray(images[start : start + 4096]).reshape(-1, channels)
        counts += [np.bincount(block[:, c], minlength=256) for c in range(channels)]
    weights = counts / counts.sum(1, keepdims=True)
    mean = weights @ levels
    std = np.sqrt(np.maximum(weights @ levels**2 - mean**2, 1e-12))
    return Spec(
        name,
        tuple(images.shape[1:]),
        len(images),
        tuple(classes),
        captioned,
        tuple(map(float, mean)),
        tuple(map(float, std)),
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
    problems}. The entry holds sha256 digests of its arrays; one that does not match is made anew.
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
            np.save(part / "labels.npy", np.asarray(labels, np.int32))
        spec = spec_of(key["name"], images, meta["classes"], captions is not None)
        sums = {p.name: _sha256(p) for p in sorted(part.glob("*.npy"))}
        meta = {
            "key": key,
            "spec": asdict(spec),
            "captions": captions,
            "problems": meta.get("problems", []),
            "sha256": sums,
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
    return _open(entry)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ddm_jax"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(entry: Path) -> Dataset | None:
    try:
        meta = json.loads((entry / "meta.json").read_text())
        if any(_sha256(entry / name) != value for name, value in meta["sha256"].items()):
            return None
    except (OSError, ValueError):
        return None
    spec = Spec(**{k: tuple(v) if isinstance(v, list) else v for k, v in meta["spec"].items()})
    return Dataset(
        spec,
        np.load(entry / "images.npy", mmap_mode="r"),
        np.load(entry / "labels.npy") if "labels.npy" in meta["sha256"] else None,
        None if meta["captions"] is None else tuple(meta["captions"]),
        problems=tuple(map(tuple, meta["problems"])),
    )
