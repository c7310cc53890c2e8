"""Runs on a disk that is too small, or that fails, end in a line and go on elsewhere."""

import collections
import re
import shutil
import subprocess
from contextlib import closing

import pytest
from conftest import ROOT, TINY_MLP, assert_same_state
from kills import Nursery, dice

ARGUMENTS = (*TINY_MLP, "--config.train.steps=60")
OF_CI, LARGE = [pytest.mark.slow, pytest.mark.telling], [pytest.mark.slow, pytest.mark.chaos]


def can(*command: str) -> bool:
    found = shutil.which(command[0])
    return bool(found) and subprocess.run(command, capture_output=True).returncode == 0


def stopped(said: str, why: str) -> int:
    """The step that the one line in which a run ended calls whole, 0 for none."""
    *before, last = said.splitlines()
    assert last.startswith("stopped: ") and why in last and "same command again" in last, said
    assert "Traceback" not in said and not re.search("error", "".join(before), re.I), said
    step = re.search(r"that of step (\d+) is whole", last)
    return int(step[1]) if step else 0


def goes_on(nursery: Nursery, run, whole, log, step: int) -> None:
    """From the step that was whole or a later one; it ends in the bits of one without fault."""
    said = nursery.run((*ARGUMENTS, "--workdir", run), log)
    resumed = re.search(r"resuming at step (\d+)", said)
    assert (int(resumed[1]) if resumed else 0) >= step and "is damaged" not in said, said
    assert_same_state(run, whole)


@pytest.mark.skipif(not can("unshare", "-rm", "true"), reason="needs a file system of its own")
@pytest.mark.parametrize("disks", [pytest.param(1, marks=OF_CI), pytest.param(12, marks=LARGE)])
def test_on_a_disk_that_is_too_small(disks, tmp_path):
    chance, ends = dice(2), collections.Counter()
    small, whole, log = tmp_path / "small", tmp_path / "whole", tmp_path / "log"
    small.mkdir()
    with closing(Nursery("unshare", "-rm")) as nursery:
        nursery.run((*ARGUMENTS, "--workdir", whole), log)
        used = sum(path.stat().st_blocks * 512 for path in whole.rglob("*"))
        for k in range(disks):
            size = round(used * chance.uniform(0.3, 0.95) if k % 4 else used * 0.85)
            assert nursery.ask(mount=str(small), size=size) == 0
            process = nursery.start((*ARGUMENTS, "--workdir", small / "run"), log)
            code, said, left = process.wait(), process.said(), tmp_path / f"left{k}"
            assert nursery.ask(gather=str(small), to=str(left)) == 0
            assert code == 1, said
            step = stopped(said, "No space left on device")
            ends[step] += 1
            goes_on(nursery, left / "run", whole, log, step)
    print(f"of {disks} disks, by the step that was whole: {dict(ends)}")


@pytest.mark.skipif(not can("cc", "--version"), reason="needs a compiler of C")
@pytest.mark.parametrize("faults", [pytest.param(2, marks=OF_CI), pytest.param(20, marks=LARGE)])
def test_on_a_disk_that_fails(faults, tmp_path):
    """A write, sync or rename says EIO; in one half that one alone, in the other all after it."""
    layer, whole, log = tmp_path / "failing_disk.so", tmp_path / "whole", tmp_path / "log"
    source = ROOT / "tests/chaos/failing_disk.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", layer, source, "-ldl"], check=True)
    chance, ends = dice(3), collections.Counter()
    with closing(Nursery(LD_PRELOAD=str(layer))) as nursery:
        nursery.run((*ARGUMENTS, "--workdir", whole), log)
        for k in range(faults):
            run = tmp_path / f"run{k}"
            fault = {"FAIL_UNDER": str(run), "FAIL_AT": str(chance.randrange(1, 1000))}
            fault |= {"FAIL_ONCE": "1"} if k % 2 else {}
            process = nursery.start((*ARGUMENTS, "--workdir", run), log, **fault)
            code, said, step = process.wait(), process.said(), 0
            assert code in (0, 1), said
            if code:
                step = stopped(said, "Input/output error")
                ends[step] += 1
            else:  # what failed was nothing that a promise rests on
                ends["no matter"] += 1
            goes_on(nursery, run, whole, log, step)
    print(f"of {faults} faults, by the step that was whole: {dict(ends)}")
