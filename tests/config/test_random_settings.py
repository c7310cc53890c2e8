"""Settings drawn at random: each command works as a dry run or is answered in one line."""

import numpy as np
import pytest
from conftest import ROOT

import launch
from ddm_jax.config.load import load_config
from ddm_jax.config.tables import tables_of

pytestmark = pytest.mark.usefixtures("at_root", "quick_compilation")

INTEGERS = ("-1", "0", "1", "2", "3", "7", "100", str(2**31), str(-(2**63)), str(2**64), "1e3")
FLOATS = ("nan", "inf", "-inf", "-1", "0", "1e-30", "1e-3", "0.5", "1", "2.5", "1e30", "1e400")
TEXTS = ("", "x", "ddim", "digits", "None", "()", "../..", "\x00", "ä" * 300, "'", '"', "{", "a\nb")
TUPLES = (
    "()",
    "(1,)",
    "(2,3)",
    "(0,)",
    "(-1,2)",
    "1",
    "(1.5,)",
    "('a',)",
    "((1,),)",
    "(",
    "(nan,)",
)
FLAGS = ("True", "False", "true", "0", "2", "maybe")
HUGE = ("data.count", "data.size", "sample.count", "sample.batch")  # of these, none that is obeyed


def leaves(config, before=""):
    """(key, value) of every setting."""
    for name, value in config.items():
        key = f"{before}{name}"
        if hasattr(value, "items"):
            yield from leaves(value, f"{key}.")
        else:
            yield key, value


def drawn(rng, settings, tables):
    """One to four flags, mostly of the type that their key has, or the name of a row."""
    kinds = {bool: FLAGS, int: INTEGERS, float: FLOATS, str: TEXTS, tuple: TUPLES}
    flags = []
    for _ in range(rng.integers(1, 5)):
        key, value = settings[rng.integers(len(settings))]
        pool = [kinds[type(value)], INTEGERS, FLOATS, TEXTS][max(0, rng.integers(-12, 4))]
        if (section := key.removesuffix(".name")) in tables and rng.random() < 0.8:
            pool = tuple(tables[section])
        text = pool[rng.integers(len(pool))]
        if key not in HUGE or text in INTEGERS[:6]:
            flags.append(f"--config.{key}={text}")
    return flags


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 6), pytest.param(1, 2000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_random_settings_work_or_are_a_line(seed, count, capfd, tmp_path):
    rng, config = np.random.default_rng(seed), f"{ROOT}/configs/quickstart.py"
    start = load_config(config)
    settings, tables, codes = list(leaves(start)), tables_of(start), []
    for _ in range(count):
        flags = drawn(rng, settings, tables)
        command = ["--config", config, "--dry_run", "--workdir", str(tmp_path / "run"), *flags]
        codes.append(launch.main(command))
        out, err = capfd.readouterr()
        assert codes[-1] in (0, 2), flags
        told = [line.partition(":")[0] for line in err.splitlines()]
        assert "Traceback" not in out + err, (flags, err)
        assert told == ["error"] if codes[-1] else set(told) <= {"warning"}, (flags, err)
        assert not (tmp_path / "run").exists(), flags
    assert len(set(codes)) == 2
