"""What a data set is once decoded: its columns, and what a model must know of them."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddm_jax.errors import UserError

Report = Callable[[str], None]  # told of progress, a line at a time

# Names of columns, in the order of `Spec.sha256`, and what messages call them.
COLUMNS = {
    "x": "examples",
    "label": "labels",
    "text": "captions",
    "image": "pictures",
    "embedding": "embeddings",
    "noise": "noises",
}


class NoSplit(UserError):
    """The data set is there, but has no split of the name that `data.split` gives."""


@dataclass(frozen=True)
class DataOptions:
    """The `data` section: which set, how it is decoded and how it is fed.

    name: `digits`, `shapes`, `photo`, `tfds:<name>`, `folder:<path>`; waves: `tones`,
    `waves:<path>`; clips: `moving_shapes`, `clips:<path>`; volumes: `solids`; points in the plane:
    `moons`, `rings`, `checkerboard`, `swiss_roll` or `mixture`; or `pairs:<path>`, the samples of a
    run with their noise. dir: where TFDS keeps
    prepared data ("" for its own default). downloads: a folder of original files to prepare from.
    size: pixels after cropping and resizing, (side,) or (height, width), or the samples of a wave,
    (length,); () for the data's own. channels: 1 or 3, 0 for the data's own. rate: samples a
    second of waves, 0 for the data's own. frames: of a clip, 0 for the data's own. count: how many
    synthetic examples to draw. without: names of classes whose examples are left out, though they
    can be asked for. embeddings: an .npy or .npz with a vector for each example, in their order,
    where `{split}` stands for the split; "" for those of the data, if any. strict: stop at the
    first bad file of a folder. cache: folder of the decoded copies ("" for the user's cache
    folder).
    """

    name: str = "digits"
    split: str = "train"
    dir: str = ""
    downloads: str = ""
    size: tuple[int, ...] = ()
    channels: int = 0
    rate: int = 0
    frames: int = 0
    count: int = 20000
    without: tuple[str, ...] = ()
    embeddings: str = ""
    strict: bool = False
    on_device: bool = False
    cache: str = ""

    def __post_init__(self):
        if self.channels not in (0, 1, 3):
            raise ValueError(f"channels is 1, 3 or 0 (the data's own), not {self.channels}")
        if len(self.size) > 2 or not all(type(n) is int and n > 0 for n in self.size):
            raise ValueError(
                "size is a side or a height and a width in pixels, as in 32 or 24,32, or () for "
                f"the data's own; not {','.join(map(str, self.size))}"
            )
        if self.frames < 0 or self.frames == 1:
            raise ValueError(f"frames={self.frames} must be 2 or more, or 0 for the data's own")
        if self.count < 1:
            raise ValueError(f"count={self.count} must be at least 1")
        if not 0 <= self.rate <= 768_000:
            raise ValueError(f"rate={self.rate} is no rate of samples a second; 0: the data's own")

    @property
    def space(self) -> tuple[int, ...]:
        """(height, width) of `size`, () for the data's own."""
        return self.size * 2 if len(self.size) == 1 else self.size


@dataclass(frozen=True)
class Latents:
    """What was measured of the latents that an autoencoder makes of data.

    shape: of one example's. mean, std: (C,), of each channel, over examples, positions and draws.
    sha256: of the autoencoder's weights.
    """

    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str

    def alike(self, other: "Latents") -> bool:
        """Whether they are scaled alike, but for a thousandth, and made with the same weights.

        Two measurements on the same data differ by the rounding of their machines.
        """
        if (self.shape, self.sha256) != (other.shape, other.sha256):
            return False
        pairs = zip(self.mean + self.std, other.mean + other.std, self.std * 2, strict=True)
        return all(abs(a - b) <= 1e-3 * width for a, b, width in pairs)


@dataclass(frozen=True)
class Spec:
    """What a model must know of its data, and which data they are.

    shape: of one example. mean and std: per channel, of the values of x scaled from [low, high] to
    [0, 1]. sha256: of each of COLUMNS, "" of what there is none of; fewer or none in files that
    earlier versions wrote. kind: a row of `figures.artists.ARTISTS`. low, high: the range
    of the values of x, as they are stored. levels: how many they are, evenly spaced over it; 0 for
    continuous ones. rate: samples a second, 0 where there is no time. mirrors: whether a mirrored
    example is one of the data too, which it is not of written characters. picture: the shape of the
    picture that comes with an example, of values like those of x; () where none does. embedding:
    the length of the vector that comes with an example, 0 where none does. learnt: what the
    condition of a run learnt of them when it began, "" for nothing. latents: what was measured then
    of their latents, None where the run has none.

    What has defaults here is what files of earlier versions do not say, and is so of images.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    classes: tuple[str, ...]
    captioned: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: tuple[str, ...] = ()
    kind: str = "image"
    low: float = 0.0
    high: float = 255.0
    levels: int = 256
    rate: float = 0.0
    mirrors: bool = True
    picture: tuple[int, ...] = ()
    embedding: int = 0
    learnt: str = ""
    latents: Latents | None = None

    @classmethod
    def read(cls, plain: dict[str, Any]) -> "Spec":
        """The Spec that `asdict` and JSON made `plain`."""
        fields = _with_tuples(plain)
        if fields.get("latents"):
            fields["latents"] = Latents(**_with_tuples(fields["latents"]))
        return cls(**fields)

    @property
    def paired(self) -> bool:
        """Whether each example comes with the noise that it was made of."""
        return bool(dict(zip(COLUMNS, self.sha256, strict=False)).get("noise"))

    @property
    def values(self) -> tuple[Any, ...]:
        """What the values of an example are."""
        return self.kind, self.shape, self.low, self.high, self.levels

    @property
    def shown(self) -> tuple[float, float]:
        """The range of decoded values: [0, 1] where they have levels, else that of x itself."""
        return (0.0, 1.0) if self.levels else (self.low, self.high)

    def show(self, x: Any) -> Any:
        """Values of x, an array of jax or numpy, in the range `shown`: float32."""
        x = x.astype(np.float32)
        return (x - self.low) / (self.high - self.low) if self.levels else x


def _with_tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with tuples again where JSON has lists."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Decoded examples by column: "x" (N, ...), and where there are "label" int32, "text" unicode,
    "image" (N, ...), a picture that comes with each, "embedding" (N, D) float32, a vector, and
    "noise" (N, ...) float32, that which the example was made of.

    attributes: what else is known of them, (N,) each. problems: (file, reason) of what was left
    out.
    """

    spec: Spec
    columns: Mapping[str, np.ndarray]
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    problems: tuple[tuple[str, str], ...] = ()

    def rows(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """All columns (n, ...) of examples `index` (n,)."""
        return {name: np.asarray(column[index]) for name, column in self.columns.items()}

    def numbers(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """The columns (n, ...) of examples `index` (n,) that hold no text."""
        return {k: column for k, column in self.rows(index).items() if column.dtype.kind != "U"}


def check_same_data(now: Spec, was: Spec) -> None:
    """UserError that names what differs, where `now` is no Spec of the data of `was`."""
    differ = []
    if now.count != was.count:
        differ.append(f"count is {now.count:,}, was {was.count:,}")
    for part in ("kind", "shape", "low", "high", "levels", "rate", "picture", "embedding"):
        new, old = getattr(now, part), getattr(was, part)
        if new != old:
            differ.append(f"{part} is {new}, was {old}")
    if now.classes != was.classes:
        pairs = itertools.zip_longest(now.classes, was.classes)
        k, (new, old) = next((k, pair) for k, pair in enumerate(pairs) if pair[0] != pair[1])
        differ.append(f"class {k} is {new!r}, was {old!r}")
    parts = zip(COLUMNS.values(), now.sha256, was.sha256, strict=False)
    differ += [f"the {part} differ" for part, new, old in parts if new != old]
    if not differ and not np.allclose(now.mean + now.std, was.mean + was.std, rtol=1e-9):
        differ.append("mean and deviation differ")
    if differ:
        raise UserError(
            f"{now.name} is no longer what the run was trained on: {'; '.join(differ)}; bring the "
            "data back, or train anew in another --workdir"
        )
