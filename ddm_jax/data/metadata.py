"""What metadata.jsonl says of the images of a folder: their captions, and vectors of theirs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddm_jax.data.vectors import as_vectors
from ddm_jax.errors import UserError

LINE = '{"file_name": ..., "text": ..., "embedding": [...]}'


class Metadata(NamedTuple):
    """By names of files, None for what no line says. bad: (place, reason) of other lines."""

    captions: Mapping[str, str] | None = None
    vectors: Mapping[str, np.ndarray] | None = None
    bad: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> list[str] | None:
        """The files of which it says all that it says; None where there is no metadata.jsonl."""
        of = [column for column in (self.captions, self.vectors) if column is not None]
        return [name for name in of[0] if all(name in column for column in of)] if of else None


def read_metadata(file: Path) -> Metadata:
    """The lines of a metadata.jsonl, a JSON object each.

    A line without a caption, where others have one, is a bad one. Raises UserError for a line
    without a vector, where others have one, for vectors of several lengths, of which the right one
    cannot be told, for what is no vector, and for a file that is no text.
    """
    rows, bad = [], []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as text ({error}); mend or remove it") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows.append((number, str(row["file_name"]), dict(row)))
        except (ValueError, KeyError, TypeError):
            bad.append((number, f"not {LINE}"))
    has_vectors = any("embedding" in row for _, _, row in rows)
    has_captions = not has_vectors or any("text" in row for _, _, row in rows)
    captions, vectors = {}, {}
    for number, name, row in rows:
        if has_vectors:
            vectors[name] = _vector(row, f"{file}:{number}")
        if has_captions and "text" in row:
            captions[name] = str(row["text"])
        elif has_captions:
            bad.append((number, f"not {LINE}"))
    lengths = sorted({len(vector) for vector in vectors.values()})
    if len(lengths) > 1:
        raise UserError(
            f'{file}: "embedding" has {lengths[0]:,} numbers in one line and {lengths[-1]:,} in '
            "another; give all the same"
        )
    places = tuple((f"{file.name}:{number}", reason) for number, reason in sorted(bad))
    return Metadata(captions if has_captions else None, vectors if has_vectors else None, places)


def _vector(row: Mapping[str, Any], place: str) -> np.ndarray:
    """The vector (D,) of a line."""
    remedy = 'give "embedding" as a list of finite numbers in every line'
    if "embedding" not in row:
        raise UserError(f"{place} has no embedding, and other lines have one; {remedy}")
    try:
        (vector,) = as_vectors([row["embedding"]])
    except ValueError as error:
        raise UserError(f"{place}: the embedding is no vector ({error}); {remedy}") from error
    return vector
