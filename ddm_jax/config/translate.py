"""Settings that earlier versions saved, in today's words."""

import copy
from typing import Any

from ddm_jax.errors import UserError

SECTIONS = {
    "label": "noise_cond",
    "times": "time_sampler",
    "error": "distance",
    "grid": "timesteps",
    "ema": "average.ema",
}


# Settings of an edit, which once were of all edits together: where they stand now.
EDIT = {
    "kind": "name",
    "pair": "interpolate.pair",
    "frames": "interpolate.frames",
    "first": "sdedit.first",
    "count": "sdedit.count",
    "levels": "sdedit.strength",
}


def renamed(key: str) -> str:
    """Today's name of a dotted key, the key itself where it is as it was."""
    section, _, rest = key.partition(".")
    if key == "sample.guidance":
        return "guidance.classifier_free.scale"
    if section == "model" and rest.endswith(".conditional"):
        return "condition.name"
    if section == "schedule" and rest.endswith(".steps"):
        rest = rest.removesuffix("steps") + "num_timesteps"
    if (section, rest) == ("loss", "label_dropout"):
        rest = "class_dropout"
    if key == "data.flip":
        return "augment.name"
    if (section, rest) == ("data", "scaling"):
        section, rest = "codec", "pixels.scaling"
    if section == "edit":
        rest = EDIT.get(rest, rest)
    return ".".join(filter(None, (SECTIONS.get(section, section), rest)))


def translated(plain: Any) -> Any:
    """A saved config with today's names and sections; one that has them is returned as it is.

    Earlier versions counted timesteps in five places. The schedule's count stays (that of the
    training times, where the schedule had none); the label's becomes a scale of the noise_cond.
    Networks held the table of classes, guidance was one number of `sample`, and the codec's scaling
    and one number as the size were settings of the data. Edits had one section for all. Raises
    UserError where two counts that touch the weights cannot both be kept.
    """
    if not isinstance(plain, dict) or not _earlier(plain):
        return plain
    values = {name: value for name, value in plain.items() if name not in ("task", "seed")}
    broken = [name for name, value in values.items() if not isinstance(value, dict)]
    if broken:
        raise ValueError(f"{broken[0]!r} is no section")
    new: dict[str, Any] = {
        SECTIONS[name] if name in SECTIONS else name: copy.deepcopy(value)
        for name, value in plain.items()
    }
    if "average.ema" in new:
        new["average"] = {"name": "ema", "ema": new.pop("average.ema")}
    try:
        if plain.keys() & SECTIONS.keys() - {"ema"}:
            _count_once(new)
        _condition_apart(new)
        _guidance_apart(new)
        _data_apart(new)
        _edits_apart(new)
    except (AttributeError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"a setting of an earlier version is broken ({error})") from error
    return new


def _earlier(plain: dict[str, Any]) -> bool:
    """Whether a config has words of an earlier version."""
    edit = plain.get("edit")
    edits = isinstance(edit, dict) and edit.keys() & EDIT.keys()
    return "task" not in plain or bool(plain.keys() & SECTIONS.keys() or edits)


def _edits_apart(new: dict[str, Any]) -> None:
    """Levels become strengths, shares of the schedule's last level; that of 0 is no edit."""
    old = new.get("edit", {})
    if not old.keys() & EDIT.keys():
        return
    kind = old.get("kind", "interpolate")
    edit: dict[str, Any] = {"name": "sdedit" if kind == "denoise" else kind}
    schedule = new.get("schedule", {})
    count = schedule.get(schedule.get("name", "cosine"), {}).get("num_timesteps", 1000)
    strength = [level / (count - 1) for level in old.get("levels", ()) if level]
    values = {**old, "levels": strength}
    for key in old.keys() & EDIT.keys() - {"kind"} - ({"levels"} if not strength else set()):
        row, setting = EDIT[key].split(".")
        edit.setdefault(row, {})[setting] = values[key]
    new["edit"] = edit


def _condition_apart(new: dict[str, Any]) -> None:
    model = new.get("model", {})
    chosen = model.get("name", "ddpm_unet")
    for name, row in model.items():
        if isinstance(row, dict) and row.pop("conditional", False) and name == chosen:
            new["condition"] = {"name": "classes"}


def _guidance_apart(new: dict[str, Any]) -> None:
    scale = new.get("sample", {}).pop("guidance", 1.0)
    if scale != 1.0:
        new["guidance"] = {"name": "classifier_free", "classifier_free": {"scale": float(scale)}}


def _data_apart(new: dict[str, Any]) -> None:
    data = new.get("data", {})
    if data.pop("flip", False):
        new["augment"] = {"name": "mirror"}
    if "scaling" in data:
        new["codec"] = {"name": "pixels", "pixels": {"scaling": data.pop("scaling")}}
    if type(data.get("size")) is int:
        data["size"] = [data["size"]] if data["size"] else []


def _count_once(new: dict[str, Any]) -> None:
    loss = new.get("loss", {})
    if "label_dropout" in loss:
        loss["class_dropout"] = loss.pop("label_dropout")
    schedule = new.get("schedule", {})
    rows = [row for row in schedule.values() if isinstance(row, dict)]
    for row in rows:
        if "steps" in row:
            row["num_timesteps"] = row.pop("steps")
    chosen = schedule.setdefault(schedule.get("name", "cosine"), {})
    counts = {}
    for section in ("time_sampler", "objective"):
        choice = new.get(section, {})
        for name, row in choice.items():
            steps = row.pop("steps", None) if isinstance(row, dict) else None
            if steps is not None and name == choice.get("name"):
                counts[section] = steps
    for section, steps in counts.items():
        if chosen.setdefault("num_timesteps", steps) != steps:
            raise UserError(
                f"this run of an earlier version counts {steps} timesteps in {section} and "
                f"{chosen['num_timesteps']} in its schedule, which no config can say any more"
            )
    timestep = new.get("noise_cond", {}).get("timestep", {})
    steps = timestep.pop("steps", None)
    if steps is not None:
        timestep["scale"] = (steps - 1) / (chosen.get("num_timesteps", 1000) - 1)
