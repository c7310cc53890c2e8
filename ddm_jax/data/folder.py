"""`folder:<path>`: the user's own images, sub-folders as classes, captions from metadata.jsonl."""

import json
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ddm_jax.data.dataset import DataOptions, Dataset, Report, cached, fit
from ddm_jax.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
MAX_PIXELS = 64_000_000  # a larger picture is taken for a decompression bomb
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def folder(path: str, options: DataOptions, report: Report) -> Dataset:
    """Every readable image below `path`, in the order of its relative name.

    Grey, RGB, RGBA (on white), palette and 16-bit images are taken, turned as their EXIF says,
    cropped to the centre square and resized to `data.size`. What cannot be used is listed in
    `Dataset.problems`; with `data.strict` the first such file raises UserError. Files that a link
    leads to outside the folder are not read.
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
        "size": options.size,
        "channels": options.channels,
    }

    def make(images_path: Path) -> dict:
        return _decode(root, files, captions, bad_captions, options, images_path, report)

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


def _decode(root, files, captions, problems, options, path: Path, report: Report) -> dict:
    problems = list(problems)
    size, channels = options.size, options.channels
    classes = sorted({_relative(p, root).split("/")[0] for p in files if p.parent != root})
    if not size or not channels:
        size, own_channels = _own_format(root, files, size)
        channels = channels or own_channels
    kept, labels, texts = 0, [], []
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (len(files), size, size, channels))
    for i, file in enumerate(files):
        if i % 1000 == 0:
            report(f"decoding {root}: {i:,} of {len(files):,}")
        name = _relative(file, root)
        try:
            if classes and file.parent == root:
                raise ValueError("stands beside the class folders, in none of them")
            if captions is not None and name not in captions:
                raise ValueError("has no line in metadata.jsonl")
            images[kept] = fit(_read(file, root), size, channels)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            problems.append((name, str(error) or type(error).__name__))
            continue
        kept += 1
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
    return {
        "classes": classes,
        "labels": labels if classes else None,
        "captions": texts if captions is not None else None,
        "problems": problems,
    }


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


def _own_format(root: Path, files: list[Path], size: int) -> tuple[int, int]:
    """(side, channels) that all readable images share, by their headers; 1 channel if all grey."""
    sides, grey = set(), True
    for file in files:
        try:
            with Image.open(file) as image:
                sides.add(image.size)
                grey = grey and image.mode in ("1", "L", *_SIXTEEN_BIT)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    if not size and (len(sides) > 1 or any(w != h for w, h in sides)):
        raise UserError(f"images in {root} differ in size; set --config.data.size=64, say")
    return size or (next(iter(sides))[0] if sides else 1), 1 if grey else 3


def _read(file: Path, root: Path) -> Image.Image:
    """One image as 8-bit grey or RGB, upright; raises OSError or ValueError with the reason."""
    if not file.resolve().is_relative_to(root.resolve()):
        raise ValueError("a link that leads outside the folder")
    if file.stat().st_size == 0:
        raise ValueError("an empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(file) as image:
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
