"""`waves:<path>`: the user's own sounds, WAV files, whose sub-folders are classes."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ddm_jax.data.cache import Decoded, cached
from ddm_jax.data.dataset import DataOptions, Dataset, Report
from ddm_jax.data.found import Found, checked, find, inside, relative, root_of, stamp
from ddm_jax.data.wav import Sound, fitted, read_wav
from ddm_jax.errors import UserError
from ddm_jax.files import new_array

SUFFIXES = {".wav", ".wave"}
STRETCHES = ("centre", "outer", "left", "right")


def waves(path: str, options: DataOptions, report: Report) -> Dataset:
    """Every readable WAV file below `path`, in the order of its relative name.

    Channels are averaged. All have the rate `data.rate`, or that which most of the files have, the
    lowest of those that are equally many; and the length `data.size`, or that which all share, cut
    or followed by silence. What cannot be used is listed in `Dataset.problems`; with `data.strict`
    the first such file raises UserError. Links that lead outside the folder are not followed.
    """
    root = root_of("waves", path)
    if len(options.size) > 1 or options.channels > 1:
        raise UserError(
            "waves are read as one channel; set data.size to their samples, as in 8192, and leave "
            "data.channels at 0"
        )
    files = {
        relative(p, root): p
        for p in sorted(root.rglob("*"))
        if p.suffix.lower() in SUFFIXES and not p.is_dir()
    }
    if not files:
        raise UserError(f"no sounds in {root}; known endings are {', '.join(sorted(SUFFIXES))}")
    key = {
        "name": f"waves:{root.resolve()}",
        "files": [[name, *stamp(p)] for name, p in files.items()],
        "size": options.size,
        "rate": options.rate,
    }
    found = find(files)
    if "image" in found.columns:
        raise UserError(
            f"{root} holds pairs in its folders input and target, and waves have none; give the "
            "folders other names, which are those of the classes"
        )
    data = cached(options.cache, key, lambda x: _decode(root, found, options, x, report=report))
    return checked(data, options.strict)


def _decode(
    root: Path, found: Found, options: DataOptions, path: Path, *, report: Report
) -> Decoded:
    """Writes the column x of the usable files, float32 (n, length, 1), to `path`."""
    problems, formats = list(found.problems), {}
    for i, example in enumerate(found.examples):
        if i % 1000 == 0:
            report(f"reading {root}: {i:,} of {len(found.examples):,}")
        try:
            sound = _read(example.files["x"], root)
        except (OSError, ValueError) as error:
            problems.append((example.name, str(error) or type(error).__name__))
            continue
        formats[example.name] = (sound.rate, len(sound.samples))
    if not formats:
        raise UserError(
            f"none of the sounds in {root} can be used; the first, {problems[0][0]}: "
            f"{problems[0][1]}"
        )
    rate = options.rate or _most(formats)
    length = options.size[0] if options.size else _shared(root, formats)
    kept = [example for example in found.examples if example.name in formats]
    x = new_array(path, np.float32, (len(kept), length, 1))
    for row, example in zip(x, kept, strict=True):
        row[:, 0] = fitted(_read(example.files["x"], root), rate, length)
    x.flush()
    for line in _changes(formats, rate, length):
        report(f"{root}: {line}")
    labels = np.array([example.label for example in kept], np.int32)
    columns = {"label": labels} if found.classes else {}
    about = {"kind": "wave", "low": -1.0, "high": 1.0, "levels": 0, "rate": float(rate)}
    return Decoded(columns, found.classes, problems, {**about, "mirrors": False})


def _read(file: Path, root: Path) -> Sound:
    if not inside(file, root):
        raise ValueError("a link that leads outside the folder")
    return read_wav(file)


def _most(formats: Mapping[str, tuple[int, int]]) -> int:
    """The rate of most files, the lowest of those that are equally many."""
    counts = Counter(rate for rate, _ in formats.values())
    return min(counts, key=lambda rate: (-counts[rate], rate))


def _shared(root: Path, formats: Mapping[str, tuple[int, int]]) -> int:
    """The length that all files share; UserError where they differ, or play at several rates."""
    if len(set(formats.values())) > 1:
        raise UserError(
            f"sounds in {root} differ in length or rate; set --config.data.size=8192, say, in "
            "samples"
        )
    return next(iter(formats.values()))[1]


def _changes(formats: Mapping[str, tuple[int, int]], rate: int, length: int) -> list[str]:
    """What fitting does to the files, in words."""
    others = sum(own != rate for own, _ in formats.values())
    spans = [count * rate / own for own, count in formats.values()]
    cut, padded = sum(span > length for span in spans), sum(span < length for span in spans)
    told = [
        (others, f"of other rates: resampled to {rate:,} samples a second"),
        (cut, f"longer: cut to their first {length:,} samples"),
        (padded, f"shorter: followed by silence up to {length:,} samples"),
    ]
    return [f"{count:,} of {len(formats):,} sounds were {text}" for count, text in told if count]


def read_stretch(text: str, length: int, count: int) -> np.ndarray:
    """Which samples of `count` waves of `length` are known, (count, length, 1) bool.

    text: what is to be filled in, one of STRETCHES: the middle half, all but that (`outer`), the
    first or the last half; or `start,length` in samples. Raises UserError for what is none.
    """
    quarter, half = length // 4, length // 2
    named = {
        "centre": (quarter, length - 2 * quarter),
        "outer": (quarter, length - 2 * quarter),
        "left": (0, half),
        "right": (length - half, half),
    }
    if text in named:
        start, size = named[text]
    elif re.fullmatch(r"\(?\s*\d{1,9}\s*,\s*\d{1,9}\s*\)?", text):
        start, size = (int(part) for part in text.strip("() ").split(","))
    else:
        raise UserError(
            f"mask={text!r} is no stretch of a wave; name one of {', '.join(STRETCHES)}, or its "
            "start and length in samples, as in 100,50"
        )
    if size < 1 or start + size > length:
        raise UserError(
            f"the stretch {start},{size} (start, length) does not lie in a wave of {length} "
            "samples; give one that does"
        )
    place = np.arange(length)
    missing = (start <= place) & (place < start + size)
    known = missing if text == "outer" else ~missing
    return np.broadcast_to(known[None, :, None], (count, length, 1))
