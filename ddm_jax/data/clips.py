"""`clips:<path>`: the user's own clips, GIFs and folders of frames, in folders that are classes."""

import itertools
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ddm_jax.data.cache import Decoded, cached
from ddm_jax.data.columns import truncate
from ddm_jax.data.dataset import DataOptions, Dataset, Report
from ddm_jax.data.found import Example, Found, checked, find, inside, relative, root_of, stamp
from ddm_jax.data.images import BROKEN, count_frames, fit, read, read_frames, shared_format
from ddm_jax.errors import UserError
from ddm_jax.files import new_array

ANIMATED = {".gif", ".apng"}
STILLS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_BROKEN = (*BROKEN, EOFError)  # which seeking in a GIF that is cut short may raise


def clips(path: str, options: DataOptions, report: Report) -> Dataset:
    """Every clip below `path`, in the order of its relative name.

    An animated GIF is a clip, and so is a folder of pictures, its frames in the order of the
    numbers in their names. All have `data.frames` frames, or as many as all clips share; of longer
    ones the first are taken. Pictures are read and brought to one size as those of `folder:` are.
    What cannot be used is listed in `Dataset.problems`; with `data.strict` the first such clip
    raises UserError. Links that lead outside the folder are not followed.
    """
    root = root_of("clips", path)
    files = _files(root)
    if not files:
        raise UserError(
            f"no clips in {root}: neither GIFs nor folders of frames, with the endings "
            f"{', '.join(sorted(STILLS))}"
        )
    key = {
        "name": f"clips:{root.resolve()}",
        "files": [[name, *map(stamp, frames)] for name, frames in files.items()],
        "frames": options.frames,
        "size": options.space,
        "channels": options.channels,
    }
    found = find({name: frames[0] for name, frames in files.items() if name != "."})
    if "image" in found.columns:
        raise UserError(
            f"{root} holds pairs in its folders input and target, and clips have none; give the "
            "folders other names, which are those of the classes"
        )
    if "." in files:
        stray = "stands beside the clips; put the frames of a clip into a folder of their own"
        found.problems.extend((frame.name, stray) for frame in files["."])

    def make(place: Path) -> Decoded:
        return _decode(root, found, files, options, path=place, report=report)

    return checked(cached(options.cache, key, make), options.strict)


def _files(root: Path) -> dict[str, list[Path]]:
    """The files of each clip by its name in the folder, `cat/1.gif` or `cat/1`; `.` of no clip."""
    found: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*"), key=lambda p: _in_order(relative(p, root))):
        ending = file.suffix.lower()
        if ending in ANIMATED | STILLS and not file.is_dir():
            own = file if ending in ANIMATED else file.parent
            found.setdefault(relative(own, root), []).append(file)
    return found


def _in_order(name: str) -> list[tuple[int, str]]:
    """What names are sorted by: frame 2 comes before frame 10."""
    parts = re.split(r"(\d{1,18})", name)
    return [(int(p), "") if p.isascii() and p.isdecimal() else (0, p) for p in parts]


def _decode(
    root: Path,
    found: Found,
    files: Mapping[str, list[Path]],
    options: DataOptions,
    *,
    path: Path,
    report: Report,
) -> Decoded:
    """Writes the column x of the usable clips, uint8 (n, frames, height, width, C), to `path`."""
    problems, counts = list(found.problems), {}
    for example in found.examples:
        try:
            counts[example.name] = _count(files[example.name], root)
        except _BROKEN as error:
            problems.append((example.name, str(error) or type(error).__name__))
    frames = options.frames or _shared(root, counts)
    few = {name: count for name, count in counts.items() if count < frames}
    problems += [(name, f"has {n} frames, fewer than {frames}") for name, n in few.items()]
    usable = [e for e in found.examples if e.name in counts and e.name not in few]
    shown = {e.name: files[e.name][:frames] for e in usable}
    space, channels = _format(root, list(shown.values()), frames, options)

    shape = (max(1, len(usable)), frames, *space, channels)
    x = new_array(path, np.uint8, shape)
    kept: list[Example] = []
    refitted = 0
    for i, example in enumerate(usable):
        if i % 100 == 0:
            report(f"decoding {root}: {i:,} of {len(usable):,}")
        try:
            pictures = _read(shown[example.name], frames)
            x[len(kept)] = [fit(picture, space, channels) for picture in pictures]
        except _BROKEN as error:
            problems.append((example.name, str(error) or type(error).__name__))
            continue
        kept.append(example)
        refitted += any(picture.size != space[::-1] for picture in pictures)
    if not kept:
        raise UserError(
            f"none of the clips in {root} can be used; the first, {problems[0][0]}: "
            f"{problems[0][1]}"
        )
    truncate(x, path, len(kept))
    longer, (height, width) = sum(counts[e.name] > frames for e in kept), space
    for count, text in (
        (longer, f"longer: cut to their first {frames} frames"),
        (
            refitted,
            f"of other sizes: cropped around their centre to {height}:{width} and resized to "
            f"{height} x {width} pixels",
        ),
    ):
        if count:
            report(f"{root}: {count:,} of {len(kept):,} clips were {text}")
    columns = {"label": np.array([example.label for example in kept], np.int32)}
    return Decoded(columns if found.classes else {}, found.classes, problems, {"kind": "clip"})


def _format(
    root: Path, shown: Sequence[list[Path]], frames: int, options: DataOptions
) -> tuple[tuple[int, ...], int]:
    """((height, width), channels) of clips, in whose every frame colours are looked for.

    A GIF whose first frame is grey may have colours in its others, of which its header says
    nothing.
    """
    own = shared_format(root, itertools.chain(*shown), options.space, options.channels)
    if own[1] == 3 or options.channels:
        return own
    animated = (files for files in shown if files[0].suffix.lower() in ANIMATED)
    return own[0], 3 if any(_coloured(files, frames) for files in animated) else 1


def _coloured(files: list[Path], frames: int) -> bool:
    """Whether any frame of a clip is other than grey."""
    try:
        pictures = [np.asarray(picture.convert("RGB")) for picture in _read(files, frames)]
    except _BROKEN:
        return False
    return any((picture != picture[..., :1]).any() for picture in pictures)


def _count(files: list[Path], root: Path) -> int:
    """How many frames a clip has; raises one of _BROKEN."""
    if not all(inside(file, root) for file in files):
        raise ValueError("a link that leads outside the folder")
    if files[0].suffix.lower() not in ANIMATED:
        return len(files)
    with warnings.catch_warnings(action="ignore"), Image.open(files[0]) as image:
        return count_frames(image)


def _read(files: list[Path], frames: int) -> list[Image.Image]:
    """So many frames of a clip; raises one of _BROKEN."""
    if files[0].suffix.lower() in ANIMATED:
        return read_frames(files[0], frames)
    return [read(file) for file in files]


def _shared(root: Path, counts: Mapping[str, int]) -> int:
    """The number of frames that all clips share; UserError where they differ or are stills."""
    different = sorted(set(counts.values()))
    if len(different) > 1:
        raise UserError(
            f"clips in {root} have {different[0]} to {different[-1]} frames; set "
            "--config.data.frames=8, say"
        )
    if different == [1]:
        raise UserError(f"the clips in {root} have one frame each; read them by folder:{root}")
    return different[0] if different else 2
