"""`folder:<path>`: the user's own images, sub-folders as classes, captions from metadata.jsonl."""

import json
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from ddm_jax.data.cache import Decoded, cached
from ddm_jax.data.dataset import DataOptions, Dataset, Report
from ddm_jax.data.images import fit
from ddm_jax.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
MAX_PIXELS = 64_000_000  # a larger picture is taken for a decompression bomb
# What reading a picture may raise; struct.error comes of EXIF that is cut short.
BROKEN = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
_ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def folder(path: str, options: DataOptions, report: Report) -> Dataset:
    """Every readable image below `path`, in the order of its relative name.

    Grey, RGB, RGBA (on white), palette and 16-bit images are taken, turned as their EXIF says,
    and kept at the size that all share, or cropped to the ratio of `data.size` around their centre
    and resized to it. What cannot be used is listed in `Dataset.problems`; with `data.strict` the
    first such file raises UserError. Files that a link leads to outside the folder are not read.
    """
    root = Path(path).expanduser()
    if not path or not root.is_dir():
        raise UserError(f"no folder {str(root)!r}; write --config.data.name=folder:<path>")
    files = [p for p in sorted(root.rglob("*")) if p.suffix.lower() in SUFFIXES and not p.is_dir()]
    if not files:
        raise UserError(f"no images in {root}; known endings are {', '.join(sorted(SUFFIXES))}")
    captions, bad_captions = _captions(root)
    key = {
        "name": f"folder:{root.resolve()}",
        "files": [[_relative(p, root), *_stamp(p)] for p in files],
        "captions": captions,
        "bad_captions": bad_captions,
        "size": options.space,
        "channels": options.channels,
    }

    def make(path: Path) -> Decoded:
        return _decode(root, files, captions, bad_captions, options, path, report)

    data = cached(options.cache, key, make)
    if data.problems and options.strict:
        file, reason = data.problems[0]
        raise UserError(f"{file}: {reason}; mend or remove it, or set --config.data.strict=False")
    return data


def _relative(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _stamp(file: Path) -> list[int]:
    try:
        stat = file.stat()
        return [stat.st_size, stat.st_mtime_ns]
    except OSError:
        return [-1, -1]


def _captions(root: Path) -> tuple[dict[str, str] | None, list[tuple[str, str]]]:
    file = root / "metadata.jsonl"
    if not file.is_file():
        return None, []
    if not file.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{file} is a link that leads outside the folder; put the file itself there"
        )
    captions, bad = {}, []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            captions[str(row["file_name"])] = str(row["text"])
        except (ValueError, KeyError, TypeError):
            bad.append((f"metadata.jsonl:{number}", 'not {"file_name": ..., "text": ...}'))
    return captions, bad


def _decode(
    root: Path,
    files: list[Path],
    captions: dict[str, str] | None,
    problems: list[tuple[str, str]],
    options: DataOptions,
    path: Path,
    report: Report,
) -> Decoded:
    problems = list(problems)
    space, channels = options.space, options.channels
    classes = sorted({_relative(p, root).split("/")[0] for p in files if p.parent != root})
    if not space or not channels:
        own_space, own_channels = _own_format(root, files, space)
        space, channels = space or own_space, channels or own_channels
    kept, refitted, labels, texts = 0, 0, [], []
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (len(files), *space, channels))
    for i, file in enumerate(files):
        if i % 1000 == 0:
            report(f"decoding {root}: {i:,} of {len(files):,}")
        name = _relative(file, root)
        try:
            if classes and file.parent == root:
                raise ValueError("stands beside the class folders, in none of them")
            if captions is not None and name not in captions:
                raise ValueError("has no line in metadata.jsonl")
            if not file.resolve().is_relative_to(root.resolve()):
                raise ValueError("a link that leads outside the folder")
            image = read(file)
            images[kept] = fit(image, space, channels)
        except BROKEN as error:
            problems.append((name, str(error) or type(error).__name__))
            continue
        kept += 1
        refitted += image.size != space[::-1]
        labels.append(classes.index(name.split("/")[0]) if classes else 0)
        texts.append(captions[name] if captions is not None else "")
    known = {_relative(p, root) for p in files}
    problems += [
        ("metadata.jsonl", f"names {n!r}, which is no image here")
        for n in captions or ()
        if n not in known
    ]
    if not kept:
        raise UserError(
            f"none of {len(files)} images in {root} can be used; the first, "
            f"{problems[0][0]}: {problems[0][1]}"
        )
    _truncate(images, path, kept)
    if refitted:
        height, width = space
        report(
            f"{refitted:,} of {kept:,} images in {root} were of other sizes: cropped around their "
            f"centre to {height}:{width} and resized to {height} x {width} pixels"
        )
    columns = {"label": np.array(labels, np.int32)} if classes else {}
    if captions is not None:
        columns["text"] = np.array(texts)
    return Decoded(columns, classes, problems)


def _truncate(images: np.memmap, path: Path, kept: int) -> None:
    """Keep the first `kept` rows of the file."""
    images.flush()
    if kept < len(images):
        whole = np.lib.format.open_memmap(
            path.with_suffix(".cut"), "w+", np.uint8, (kept, *images.shape[1:])
        )
        for start in range(0, kept, 1024):
            whole[start : start + 1024] = images[start : min(start + 1024, kept)]
        whole.flush()
        path.with_suffix(".cut").replace(path)


def _own_format(
    root: Path, files: list[Path], space: tuple[int, ...]
) -> tuple[tuple[int, ...], int]:
    """((height, width), channels) that all readable images share; 1 channel if all are grey.

    Sizes do not matter where `space` is given.
    """
    spaces, grey = set(), True
    for file in files:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
                spaces.add(_upright(image))
                grey = grey and image.mode in ("1", "L", *_SIXTEEN_BIT)
        except BROKEN:
            continue
    if not space and len(spaces) > 1:
        raise UserError(
            f"images in {root} differ in size; set --config.data.size=64, say, or 48,64 (height, "
            "width)"
        )
    return space or (spaces.pop() if spaces else (1, 1)), 1 if grey else 3


def _upright(image: Image.Image) -> tuple[int, int]:
    """(height, width) of an image once it is turned as its EXIF says.

    Square ones and bombs are not asked, since to look for its EXIF may mean to decode a picture.
    """
    width, height = image.size
    if width == height or width * height > MAX_PIXELS:
        return height, width
    turned = image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
    return (width, height) if turned else (height, width)


def read(file: Path) -> Image.Image:
    """One image as 8-bit grey or RGB, upright; raises one of BROKEN, with the reason."""
    if file.stat().st_size == 0:
        raise ValueError("an empty file")
    # Pillow warns of bombs, which are refused here, and of broken EXIF, which does no harm.
    with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels; at most {MAX_PIXELS:,}")
        image.load()
        image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BIT:
        grey = np.asarray(image, np.float64) / 257
        return Image.fromarray(np.rint(np.clip(grey, 0, 255)).astype(np.uint8))
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode in ("RGBA", "LA", "PA", "P") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
