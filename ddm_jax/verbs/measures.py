"""What runs were measured by: numbers, each with the protocol that makes it comparable."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Flat = Mapping[str, Any]  # values by dotted key

# Of a protocol: what tells the weights that were measured, and does not say how.
_OF_WEIGHTS = re.compile(r"step|(samples\.)?weights\.(step|sha256)|code\.(jax|sha256)")


@dataclass(frozen=True)
class Measure:
    """One number of a run.

    protocol: how it was taken; numbers of two protocols cannot be compared. weights: whose number
    it is. floor: the number of other data in place of samples, where that is known.
    """

    name: str
    value: float
    step: int | None
    protocol: Flat
    weights: Flat
    floor: float | None
    numbers: Flat


def from_line(line: Any) -> Measure:
    """The measure in an object of `evaluation/results.jsonl`; ValueError says what is wrong."""
    if not isinstance(line, dict):
        raise ValueError("it is no object")
    name, value, protocol = line.get("name"), number(line.get("value")), line.get("protocol", {})
    numbers = line.get("numbers") or {}
    if not isinstance(name, str) or not name:
        raise ValueError(f"name is {short(name)}, not a text")
    if value is None:
        raise ValueError(f"value is {short(line.get('value'))}, not a finite number")
    if not isinstance(protocol, dict) or not isinstance(numbers, dict):
        raise ValueError("protocol and numbers must be objects")
    flat_one, floor = flat(protocol), None
    weights = {k: flat_one.pop(k) for k in [*flat_one] if _OF_WEIGHTS.fullmatch(k)}
    if (beside := line.get("floor")) is not None:
        headline = next((key for key, found in numbers.items() if found == value), "")
        floor = number(beside["numbers"].get(headline)) if _has_numbers(beside) else None
        if floor is None:
            raise ValueError(f"floor is {short(beside)}, which has no such number")
    return Measure(name, value, whole(weights.get("step")), flat_one, weights, floor, flat(numbers))


def _has_numbers(beside: Any) -> bool:
    return isinstance(beside, dict) and isinstance(beside.get("numbers"), dict)


def number(value: Any) -> float | None:
    """`value` where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
    """`value` where it is a whole number that a float can hold exactly, else None."""
    fine = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53
    return value if fine else None


def short(value: Any) -> str:
    """A value on one line of at most 60 characters."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    found = {}
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def differing(several: Sequence[Flat]) -> list[str]:
    """The keys whose values are not the same in all, a missing one being a value too.

    In the order in which they are first met. 1 and 1.0 are the same, and so are (1,) and [1].
    """
    keys = dict.fromkeys(key for one in several for key in one)
    return [key for key in keys if len({_same(one, key) for one in several}) > 1]


def _same(one: Flat, key: str) -> str:
    """A text that equal values share."""
    if key not in one:
        return ""
    plain = number(one[key])
    return json.dumps(one[key] if plain is None else plain, sort_keys=True, default=repr)


def protocols(measures: Iterable[Measure]) -> dict[str, list[Flat]]:
    """The different protocols under which the numbers of each name were measured."""
    found: dict[str, list[Flat]] = {}
    for measure in measures:
        known = found.setdefault(measure.name, [])
        if all(differing([measure.protocol, one]) for one in known):
            known.append(measure.protocol)
    return found


def label(measure: Measure, known: Mapping[str, Sequence[Flat]]) -> str:
    """Its name, with what tells its protocol from the others of the name where there are any."""
    several = known[measure.name]
    if len(several) == 1:
        return measure.name
    place = next(k for k, one in enumerate(several) if not differing([one, measure.protocol]))
    parts = (f"{k}={short(measure.protocol.get(k, 'none'))}" for k in differing(several))
    return f"{measure.name} (protocol {place + 1}: {short('; '.join(parts))})"
