"""Checkpoints whose files were damaged at random: none is ever read as something it is not."""

import shutil

import pytest
from kills import dice

from ddm_jax.errors import RunError
from tests.training.test_checkpoint import assert_same, read, state_at, write


def flip(raw, chance):
    at = chance.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]


def cut(raw, chance):
    return raw[: chance.randrange(len(raw))]


def stretch(raw, chance):
    at = chance.randrange(len(raw))
    return raw[:at] + chance.randbytes(chance.randrange(1, 100)) + raw[at:]


def noise(raw, chance):
    return chance.randbytes(len(raw))


def zeros(raw, chance):
    at = chance.randrange(len(raw))
    return raw[:at] + bytes(len(raw) - at)


# What orbax had begun to read when a file failed is left behind, and complains when collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
HARMS = (flip, flip, cut, stretch, noise, zeros, "removed", "of another step", "a folder")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    write(folder / "c", 1, 2)
    return folder


@pytest.mark.parametrize(
    "harms",
    [30, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.chaos])],
)
def test_no_damage_is_ever_read_as_a_state(harms, saved, tmp_path):
    """Every file, by its size or not, in the newest checkpoint: that state, the one before, or a
    refusal, and never a traceback."""
    chance, ends = dice(3), {1: 0, 2: 0, "refused": 0}
    for k in range(harms):
        folder = tmp_path / str(k)
        shutil.copytree(saved, folder)
        files = [p for p in (folder / "c/2").rglob("*") if p.is_file() and p.stat().st_size]
        files.sort(key=lambda path: (path.parent, path.stat().st_size))  # names are drawn anew
        sizes = [path.stat().st_size if k % 2 else 1 for path in files]
        (path,) = chance.choices(files, sizes)
        harm = chance.choice(HARMS)
        if callable(harm):
            path.write_bytes(harm(path.read_bytes(), chance))
        else:
            path.unlink()
            other = folder / "c/1" / path.relative_to(folder / "c/2")
            if harm == "a folder":
                path.mkdir()
            elif harm == "of another step" and other.exists():
                shutil.copy(other, path)
        try:
            (step, fields), _ = read(folder / "c")
        except RunError:
            ends["refused"] += 1
        else:
            assert_same(fields, state_at(step))
            ends[step] += 1
        shutil.rmtree(folder)
    print(f"of {harms}: {ends}")
    assert ends[1] > harms / 3
