"""What the files of a folder are: examples in classes, or pairs of a picture and its example."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ddm_jax.data.dataset import Dataset
from ddm_jax.errors import UserError

SIDES = {"x": "target", "image": "input"}  # the sub-folders of pairs, by the column that they give


class Example(NamedTuple):
    """An example: its name in the folder, its files by column, and its class."""

    name: str
    files: Mapping[str, Path]
    label: int = 0


class Found(NamedTuple):
    """The examples of a folder, their classes, and (file, reason) of what is none of them."""

    examples: list[Example]
    classes: list[str]
    problems: list[tuple[str, str]]

    @property
    def columns(self) -> tuple[str, ...]:
        """What the files give."""
        return tuple(self.examples[0].files) if self.examples else ()

    def side(self, root: Path, column: str) -> Path:
        """The folder below which the files of a column lie."""
        return root / SIDES[column] if len(self.columns) > 1 else root


def find(files: Mapping[str, Path]) -> Found:
    """The examples among files by their names in a folder, `cat/1.png`, in the order of the names.

    Sub-folders are classes, but for `input` and `target` where no others hold images: then a file
    of the one and that of the same name in the other are a pair.
    """
    folders = sorted({name.split("/")[0] for name in files if "/" in name})
    if folders == sorted(SIDES.values()):
        return _pairs(files)
    examples, problems = [], []
    for name, file in files.items():
        if folders and "/" not in name:
            problems.append((name, "stands beside the class folders, in none of them"))
        else:
            label = folders.index(name.split("/")[0]) if folders else 0
            examples.append(Example(name, {"x": file}, label))
    return Found(examples, folders, problems)


def _pairs(files: Mapping[str, Path]) -> Found:
    examples, problems = [], []
    for name in files:
        folder, _, rest = name.partition("/")
        both = {column: f"{side}/{rest}" for column, side in SIDES.items()}
        missing = [other for other in both.values() if other not in files]
        if not rest:
            problems.append((name, "stands beside the folders input and target, in none of them"))
        elif missing:
            problems.append((name, f"has no partner {missing[0]}"))
        elif folder == SIDES["x"]:
            examples.append(Example(name, {column: files[n] for column, n in both.items()}))
    return Found(examples, [], problems)


def relative(file: Path, root: Path) -> str:
    """The name of a file in a folder, `cat/1.png`."""
    return file.relative_to(root).as_posix()


def stamp(file: Path) -> list[int]:
    """Size and time of change of a file, which tell whether it is still the same."""
    try:
        stat = file.stat()
        return [stat.st_size, stat.st_mtime_ns]
    except OSError:
        return [-1, -1]


def inside(file: Path, root: Path) -> bool:
    """Whether a file lies in the folder, wherever links lead; those in a circle lead nowhere."""
    try:
        return file.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False


def root_of(kind: str, path: str) -> Path:
    """The folder that `<kind>:<path>` names; UserError where it names none or there is none."""
    if not path:
        raise UserError(f"name the folder of the data, as in --config.data.name={kind}:my_{kind}")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"no folder {str(root.absolute())!r}; correct the path in {kind}:<path>")
    return root


def checked(data: Dataset, strict: bool) -> Dataset:
    """The data; UserError of the first file that could not be used, where that is asked for."""
    if data.problems and strict:
        file, reason = data.problems[0]
        raise UserError(f"{file}: {reason}; mend or remove it, or set --config.data.strict=False")
    return data
