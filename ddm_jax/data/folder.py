"""`folder:<path>`: the user's own images, in classes or pairs, with what metadata.jsonl says."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ddm_jax.data.cache import Decoded, cached
from ddm_jax.data.columns import digests, truncate
from ddm_jax.data.dataset import DataOptions, Dataset, Report
from ddm_jax.data.found import Found, checked, find, inside, relative, root_of, stamp
from ddm_jax.data.images import BROKEN, fit, headers, read, shared_format
from ddm_jax.data.metadata import Metadata, read_metadata
from ddm_jax.errors import UserError
from ddm_jax.files import new_array

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def folder(path: str, options: DataOptions, report: Report) -> Dataset:
    """Every readable image below `path`, in the order of its relative name.

    Grey, RGB, RGBA (on white), palette and 16-bit images are taken, turned as their EXIF says,
    and kept at the size that all share, or cropped to the ratio of `data.size` around their centre
    and resized to it. Where there are the sub-folders `input` and `target` alone, the images of
    `target` are the examples, and those of the same name in `input` are the column "image", at the
    size that those share, or at `data.size` too. What cannot be used is listed in
    `Dataset.problems`; with `data.strict` the first such file raises UserError. Files that a link
    leads to outside the folder are not read.
    """
    root, files, metadata = _listed(path)
    captions, vectors, bad = metadata
    key = {
        "name": f"folder:{root.resolve()}",
        "files": [[relative(p, root), *stamp(p)] for p in files],
        "captions": captions,
        "bad_captions": bad,
        "vectors": [[*vectors], digests({"embedding": np.stack([*vectors.values()])})]
        if vectors
        else [],
        "size": options.space,
        "channels": options.channels,
    }

    def make(path: Path) -> Decoded:
        found = find({relative(p, root): p for p in files})
        found.problems[:0] = bad
        if metadata.names is not None:
            known = {relative(p, root) for p in files}
            strange = [name for name in metadata.names if name not in known]
            unknown = [("metadata.jsonl", f"names {n!r}, which is no image here") for n in strange]
            found.problems.extend(unknown)
        return _decode(root, found, metadata, options, path=path, report=report)

    data = cached(options.cache, key, make)
    return checked(data, options.strict)


class Survey(NamedTuple):
    """What a folder of images holds, from names and headers alone.

    spaces: (height, width) of each readable example; longest: bytes of the longest caption, 0 where
    there is none; embedded: whether vectors stand beside them; pairs: whether each has a picture.
    """

    spaces: list[tuple[int, int]]
    classes: list[str]
    longest: int
    embedded: bool
    pairs: bool


def survey(path: str) -> Survey:
    """What `folder` would find below `path`, before anything is decoded."""
    root, files, metadata = _listed(path)
    found = find({relative(p, root): p for p in files})
    own = [e.files["x"] for e in found.examples if inside(e.files["x"], root)]
    captions = [*(metadata.captions or {}).values()]
    spaces = [space for space, _ in headers(file for file in own if file.is_file())]
    if not spaces:
        first = relative(files[0], root)
        raise UserError(f"none of the images in {root} can be read, as {first}; put others there")
    return Survey(
        spaces=spaces,
        classes=found.classes,
        longest=max((len(text.encode()) for text in captions), default=0),
        embedded=bool(metadata.vectors),
        pairs=len(found.columns) > 1,
    )


def _listed(path: str) -> tuple[Path, list[Path], Metadata]:
    """The folder, its files with the endings of images, and what metadata.jsonl says of them."""
    root = root_of("folder", path)
    files = [p for p in sorted(root.rglob("*")) if p.suffix.lower() in SUFFIXES and not p.is_dir()]
    if not files:
        raise UserError(f"no images in {root}; known endings are {', '.join(sorted(SUFFIXES))}")
    return root, files, _metadata(root)


def _metadata(root: Path) -> Metadata:
    file = root / "metadata.jsonl"
    if not file.is_file():
        return Metadata()
    if not inside(file, root):
        raise UserError(
            f"{file} is a link that leads outside the folder; put the file itself there"
        )
    return read_metadata(file)


def _decode(
    root: Path,
    found: Found,
    metadata: Metadata,
    options: DataOptions,
    *,
    path: Path,
    report: Report,
) -> Decoded:
    problems, count = list(found.problems), len(found.examples)
    formats, arrays = {}, {}
    for column in found.columns:
        files = [e.files[column] for e in found.examples]
        files = [file for file in files if file.is_file() and inside(file, root)]
        own = shared_format(found.side(root, column), files, options.space, options.channels)
        formats[column] = own
        place, shape = path.with_name(f"{column}.npy"), (count, *own[0], own[1])
        arrays[column] = new_array(place, np.uint8, shape)
    kept, refitted, labels, names = 0, 0, [], []
    known = None if metadata.names is None else {*metadata.names}
    for i, example in enumerate(found.examples):
        if i % 1000 == 0:
            report(f"decoding {root}: {i:,} of {count:,}")
        name, images, pixels = example.name, {}, {}
        try:
            if known is not None and name not in known:
                raise ValueError("has no line in metadata.jsonl")
            for column, file in example.files.items():
                name = relative(file, root)
                images[column] = _read(file, root)
                pixels[column] = fit(images[column], *formats[column])
        except BROKEN as error:
            problems.append((name, str(error) or type(error).__name__))
            continue
        for column, array in arrays.items():
            array[kept] = pixels[column]
            refitted += images[column].size != formats[column][0][::-1]
        kept += 1
        labels.append(example.label)
        names.append(example.name)
    if not kept:
        raise UserError(
            f"none of the images in {root} can be used; the first, {problems[0][0]}: "
            f"{problems[0][1]}"
        )
    for column, array in arrays.items():
        truncate(array, path.with_name(f"{column}.npy"), kept)
    if refitted:
        height, width = formats["x"][0]
        report(
            f"{refitted:,} of {kept * len(arrays):,} images in {root} were of other sizes: cropped "
            f"around their centre to {height}:{width} and resized to {height} x {width} pixels"
        )
    columns = {"label": np.array(labels, np.int32)} if found.classes else {}
    if metadata.captions is not None:
        columns["text"] = np.array([metadata.captions[name] for name in names])
    if metadata.vectors is not None:
        columns["embedding"] = np.stack([metadata.vectors[name] for name in names])
    return Decoded(columns, found.classes, problems, written=tuple(arrays))


def _read(file: Path, root: Path) -> Image.Image:
    """One image of the folder; raises one of BROKEN."""
    if not inside(file, root):
        raise ValueError("a link that leads outside the folder")
    return read(file)
