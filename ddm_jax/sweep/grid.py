"""The cells of a sweep as plain data: the grammar of `--sweep`, products and pairs, and names.

A list of cells is a list of {dotted key: value}; what combines such lists is a pure function.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ddm_jax.errors import UserError

Cells = list[dict[str, Any]]

NAME_LIMIT = 120  # characters of a folder's name; file systems take 255 bytes
_FORM = 'write --sweep key=a,b or --sweep "(key,key)=(a,b),(c,d)"'


def parse(text: str) -> Cells:
    """`key=a,b` one cell a value; `(key,key)=(a,b),(c,d)` one cell a group. Values stay texts.

    Commas within brackets or quotes separate nothing: `key=(1,2),(1,2,4)` are two values.
    """
    left, equals, right = (part.strip() for part in text.partition("="))
    if not equals or not left:
        raise UserError(f"--sweep {text!r} names no values; {_FORM}")
    values = split(right, text)
    if not left.startswith("("):
        return sweep(left, [_unquoted(value) for value in values])
    keys = _inside(left, text)
    groups = [[_unquoted(v) for v in _inside(value, text)] for value in values]
    for group in groups:
        if len(group) != len(keys):
            raise UserError(
                f"--sweep {text!r}: {len(keys)} keys, but ({','.join(group)}) "
                f"has {len(group)} values; give each group one value a key"
            )
    columns = zip(*groups, strict=True)
    return zipit([sweep(key, column) for key, column in zip(keys, columns, strict=True)])


def split(text: str, whole: str) -> list[str]:
    """`text` at its commas outside brackets and quotes; `whole` is what an error shows."""
    parts, start, depth, quote = [], 0, 0, ""
    for k, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and not text[start:k].strip():
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
            if depth < 0:
                break
        elif char == "," and not depth:
            parts.append(text[start:k].strip())
            start = k + 1
    if depth or quote:
        raise UserError(f"{whole!r}: a bracket or quote has no partner; add it")
    parts.append(text[start:].strip())
    if not all(parts):
        raise UserError(
            f"{whole!r} has an empty value; leave it out, or write '' for an empty text"
        )
    return parts


def _inside(text: str, whole: str) -> list[str]:
    if not (text.startswith("(") and text.endswith(")")):
        raise UserError(f"--sweep {whole!r}: {text!r} is no group in brackets; {_FORM}")
    return split(text[1:-1], whole)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def sweep(key: str, values: Iterable[Any]) -> Cells:
    """One cell a value; a leading `config.` is dropped."""
    key = key.strip().removeprefix("config.")
    values = list(values)
    if not values:
        raise UserError(f"the sweep of {key} has no values; give at least one")
    return [{key: value} for value in values]


def fixed(key: str, value: Any, length: int = 1) -> Cells:
    """The same value, `length` times."""
    return sweep(key, [value] * length)


def product(lists: Sequence[Cells]) -> Cells:
    """Every combination of one cell of each list; the last list runs fastest."""
    return [_merged(combination) for combination in itertools.product(*lists)]


def zipit(lists: Sequence[Cells]) -> Cells:
    """The first cells together, the second ones, and so on."""
    lengths = sorted({len(cells) for cells in lists})
    if len(lengths) > 1:
        raise UserError(f"zipped lists have {lengths} values; give all of them as many")
    return [_merged(group) for group in zip(*lists, strict=True)]


def chain(lists: Sequence[Cells]) -> Cells:
    """One list after the other."""
    return [cell for cells in lists for cell in cells]


def _merged(cells: Iterable[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for cell in cells:
        for key in cell:
            if key in merged:
                raise UserError(f"{key} is swept twice; give all of its values in one --sweep")
        merged.update(cell)
    return merged


class Hyper:
    """What `get_hyper(h)` in a config is given: the functions above under big_vision's names."""

    sweep, fixed = staticmethod(sweep), staticmethod(fixed)
    product, zipit = staticmethod(product), staticmethod(zipit)
    chain = chainit = staticmethod(chain)


def as_text(value: Any) -> str:
    """A value as the command line takes it; arrays and lists become tuples."""
    value = _plain(value)
    return value if isinstance(value, str) else repr(value)


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(_plain, value)) if _is_list(value) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def shortest(key: str, known: Iterable[str]) -> str:
    """The shortest tail of a dotted key that no other known key ends with."""
    parts, known = key.split("."), list(known)
    for start in range(len(parts) - 1, 0, -1):
        tail = ".".join(parts[start:])
        if sum(f".{name}".endswith(f".{tail}") for name in known) == 1:
            return tail
    return key


def name(cell: dict[str, Any], known: Sequence[str]) -> str:
    """The folder of a cell, `schedule.name=linear,lr=0.0001`.

    A function of the cell and the config's keys alone. Characters that a file system or a shell
    could mind are replaced, and long names cut; both then end in a digest of the cell.
    """
    plain = ",".join(f"{shortest(key, known)}={_shown(value)}" for key, value in cell.items())
    safe = re.sub(r"[^\w.+=,-]", "_", plain, flags=re.ASCII) or "base"
    ambiguous = any(re.search(r"[,=]", _shown(value)) for value in cell.values())
    texts = [v for value in cell.values() if _is_list(value) for v in value if isinstance(v, str)]
    if safe == (plain or "base") and len(safe) <= NAME_LIMIT and not ambiguous and not texts:
        return safe
    digest = hashlib.sha256(json.dumps(cell, default=str).encode()).hexdigest()[:8]
    return f"{safe[: NAME_LIMIT - 9]}-{digest}"


def _shown(value: Any) -> str:
    return "-".join(map(str, value)) if _is_list(value) else str(value)
