"""Reading the JSON of diffusers: every key is understood or refused by its name."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddm_jax.errors import UserError


@dataclass(frozen=True)
class Values:
    """The settings of a file, with the defaults that diffusers has for those it lacks."""

    path: Path
    given: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def __post_init__(self):
        for key, value in self.given.items():
            if key not in self.defaults and not key.startswith("_"):
                raise self.refused(key, value, "that setting is not known here")

    def __getitem__(self, key: str) -> Any:
        return self.given.get(key, self.defaults[key])

    def refused(self, key: str, value: Any, reason: str) -> UserError:
        """The error of a setting, to be raised."""
        shown = " ".join(f"{key}={value!r}".split())[:120]
        return UserError(f"{self.path}: {shown}: {reason}")

    def only(self, key: str, valid: Sequence[Any], reason: str) -> Any:
        """The value of a setting, which must be one of `valid`; reason: why no other will do."""
        value = self[key]
        if not any(type(value) is type(v) and value == v for v in valid):
            named = " or ".join(map(repr, dict.fromkeys(valid)))  # 1 and 1.0 are one
            raise self.refused(key, value, f"{reason}; only {named} can be imported")
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number of that range."""
        return self._whole(key, self[key], low, high)

    def wholes(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """A list of such numbers."""
        return tuple(self._whole(key, value, low, high) for value in self.listed(key))

    def listed(self, key: str) -> Sequence[Any]:
        """A list of at least one value."""
        if not isinstance(self[key], (list, tuple)) or not self[key]:
            raise self.refused(key, self[key], "a list is needed")
        return self[key]

    def number(self, key: str) -> float:
        """A finite number."""
        value = self[key]
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.refused(key, value, "a finite number is needed")
        return float(value)

    def flag(self, key: str) -> bool:
        """True or False."""
        return self.only(key, (False, True), "a truth value is needed")

    def _whole(self, key: str, value: Any, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            raise self.refused(key, value, f"whole numbers from {low:,} to {high:,} are needed")
        return value


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; UserError where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read as JSON ({text}); copy it anew") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no object of settings; copy it anew")
    return found
