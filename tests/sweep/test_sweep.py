"""Sweeps at the door and in small: errors, plans, a failure beside a success."""

import csv
import sys

import pytest
from conftest import FAST, TINY, answer

from ddm_jax.errors import UserError
from ddm_jax.sweep import plan, run

QUICK = ("--config", "configs/quickstart.py")
OWN_RATE = tuple(a for a in TINY if "optim.lr" not in a)  # where the rate is swept
OWN = """
from configs import quickstart


def get_config():
    return quickstart.get_config()


"""


pytestmark = pytest.mark.usefixtures("at_root")


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (("--sweep", "train.step=1,2"), "did you mean 'train.steps'"),
        (("--sweep", "train.steps=1,x"), "takes values like 1600 (int), not x"),
        (("--sweep", "model=1"), "is a section"),
        (("--sweep", "model.ddpm_unet.multipliers=(1,a)"), "takes values like (1, 2)"),
        (("--sweep", "schedule.name=linear,cosin"), "did you mean 'cosine'"),
        (("--sweep", "optim.lr=1e-3,0.001"), "are the same run"),
        (("--sweep", "schedule.linear.num_timesteps=10,20"), "are the same run"),
        (("--sweep", "optim.lr=1", "--sweep", "optim.lr=2"), "swept twice"),
        (("--sweep", "(optim.lr,optim.lr)=(1,2)"), "swept twice"),
        (("--sweep", "optim.lr="), "has an empty value"),
        (("--sweep", "optim.lr=1,,2"), "has an empty value"),
        (("--sweep", "optim.lr"), "write --sweep key=a,b"),
        (("--sweep", "=1,2"), "write --sweep key=a,b"),
        (("--sweep", "(optim.lr,seed)=(1,2),(3)"), "give each group one value a key"),
        (("--sweep", "(optim.lr,seed)=1,2"), "is no group in brackets"),
        (("--sweep", "optim.lr=(1,2"), "has no partner"),
        (("--sweep", "optim.lr=1),2"), "has no partner"),
        (("--sweep", "optim.lr=1,2", "--config.optim.lr=3"), "leave one of them out"),
        (("--sweep", "seed=0,1", "--sweep_index", "2"), "has cells 0 to 1"),
        (("--sweep", "seed=0,1", "--sweep_index=-1"), "has cells 0 to 1"),
        (("--sweep", "seed=0,1", "--sweep_workers", "0"), "give 1 or more"),
        (("--sweep", "seed=0,1", "--mode", "sample"), "leave --mode out"),
        (("--sweep", "seed=0,1", "--distributed"), "add --sweep_index"),
        (("--sweep_index", "0"), "need --sweep"),
    ],
    ids=lambda a: " ".join(a)[-50:] if isinstance(a, tuple) else "",
)
def test_misuse_is_answered_in_one_line_before_anything_is_trained(
    arguments, remedy, capsys, tmp_path
):
    code, out, err = answer(capsys, *QUICK, *arguments, "--workdir", tmp_path / "sweep")
    assert (code, out) == (2, "")
    assert remedy in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    "function, expected",
    [
        ("def sweep():\n    return [{'optim.lr': 0.5, 'seed': 1}, {}]", ["lr=0.5,seed=1", "base"]),
        (
            "def get_hyper(h):\n    return h.product([h.sweep('config.seed', [1, 2]), "
            "h.zipit([h.sweep('data.strict', [True]), h.fixed('average.ema.decay', 0.5)])])",
            ["seed=1,strict=True,ema.decay=0.5", "seed=2,strict=True,ema.decay=0.5"],
        ),
        (
            "import numpy as np\ndef sweep():\n"
            "    return [{'model.ddpm_unet.multipliers': [1, k]} for k in np.arange(1, 3)]",
            ["ddpm_unet.multipliers=1-1", "ddpm_unet.multipliers=1-2"],
        ),
        ("def sweep():\n    return []", "return at least one dict"),
        ("def sweep():\n    return {'seed': 1}", "must be a list of dicts"),
        ("def sweep():\n    return [{'sed': 1}]", "did you mean 'seed'"),
        ("def sweep():\n    return [{'seed': 1}, {'seed': 1}]", "are the same run"),
        ("def sweep():\n    return 1 / 0", "line 10: ZeroDivisionError"),
        ("", "has no function sweep() or get_hyper()"),
    ],
)
def test_a_config_may_hold_its_own_sweep(function, expected, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN + function)
    if isinstance(expected, str):
        with pytest.raises(UserError) as caught:
            plan.plan_cells(str(path), [""], [], tmp_path / "sweep")
        assert expected in str(caught.value)
    else:
        found = plan.plan_cells(str(path), [""], [], tmp_path / "sweep")
        assert [cell.workdir.name for cell in found] == expected


def test_a_saved_config_has_no_sweep_of_its_own(capsys, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    code, _, err = answer(capsys, "--config", tmp_path / "config.json", "--sweep")
    assert code == 2 and "write --sweep key=a,b" in err and err.count("\n") == 1


def test_cells_are_typed_and_overridden(tmp_path):
    texts = ["model.ddpm_unet.multipliers=(1,2),(1,)", "(optim.lr,data.strict)=(1,True)"]
    found = plan.plan_cells("configs/quickstart.py", texts, ["--config.train.steps=9"], tmp_path)
    assert [cell.values["model.ddpm_unet.multipliers"] for cell in found] == [(1, 2), (1,)]
    for cell in found:
        assert type(cell.values["optim.lr"]) is float and cell.values["data.strict"] is True
        assert cell.steps == 9 and cell.arguments[0] == "--config.train.steps=9"
        (again,) = plan.plan_cells("configs/quickstart.py", ["seed=0"], cell.arguments, tmp_path)
        assert again.config == cell.config


def test_dry_run_lists_the_cells_and_writes_nothing(capsys, tmp_path):
    swept = ("--sweep", "schedule.cosine.zero_terminal=False,True", "--sweep", "optim.lr=1e-3,2e-3")
    eps = ("--config.prediction.name=eps", "--workdir", tmp_path / "sweep")
    code, out, err = answer(capsys, *QUICK, *swept, *eps, "--dry_run")
    assert (code, err) == (0, "") and not (tmp_path / "sweep").exists()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3", "4"]
    assert f"{tmp_path}/sweep/cosine.zero_terminal=False,lr=0.002 " in lines[1]
    assert "--config.optim.lr=0.002" in lines[1] and "not started" in lines[1]
    assert "refused: " in lines[2] and "refused: " in lines[3] and lines[4].endswith("2 refused")


@pytest.mark.slow
def test_a_cell_fails_and_another_is_refused_while_one_finishes(capfd, tmp_path, monkeypatch):
    for name, value in FAST.items():
        monkeypatch.setenv(name, value)
    keys = "(schedule.cosine.zero_terminal,optim.lr)"
    arguments = (
        *QUICK,
        *OWN_RATE,
        "--config.train.steps=2",
        "--config.prediction.name=eps",
        *("--sweep", f"{keys}=(False,1e-3),(False,1e30),(True,1e-3)"),
        *("--workdir", tmp_path / "sweep"),
    )
    code, out, err = answer(capfd, *arguments, "--sweep_workers", 2)
    good, bad, refused = (
        tmp_path / "sweep" / f"cosine.zero_terminal={zero},lr={lr}"
        for zero, lr in (("False", "0.001"), ("False", "1e+30"), ("True", "0.001"))
    )
    assert code == 1, out + err
    assert "finished step 2" in (good / "log.txt").read_text()
    assert not (good / "error.txt").exists()
    assert "exit code 1: stopped: step 2: loss" in (bad / "error.txt").read_text()
    assert (refused / "error.txt").read_text().startswith("refused: ")
    assert not (refused / "log.txt").exists()
    assert "3 of 3: " in out and f"{good.name} finished, loss " in out
    with (tmp_path / "sweep/sweep.csv").open() as file:
        assert [r["status"] for r in csv.DictReader(file)] == ["finished", "failed", "failed"]
    code, out, _ = answer(capfd, *arguments, "--sweep_index", 0)
    assert code == 0 and "is finished" in out
    (refused / "error.txt").unlink()
    code, _, err = answer(capfd, *arguments, "--sweep_index", 2)
    assert code == 2 and err.count("\n") == 1
    assert (refused / "error.txt").read_text().startswith("UserError: ")
    (good / "error.txt").write_text("an attempt before")
    only = (*QUICK, *OWN_RATE, "--config.train.steps=2", "--config.prediction.name=eps")
    again = (*only, "--sweep", f"{keys}=(False,1e-3)", "--workdir", tmp_path / "sweep")
    code, out, _ = answer(capfd, *again)
    assert code == 0 and "1 of them finished before" in out and "start " not in out
    assert not (good / "error.txt").exists()
    code, _, err = answer(capfd, *again, "--config.seed=3")
    assert code == 2 and "seed is 3, was 0" in err


def test_without_submitit_the_remedy_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    swept = ("--sweep", "seed=0,1", "--sweep_submit", "local", "--workdir", tmp_path / "sweep")
    code, _, err = answer(capsys, *QUICK, *swept)
    assert code == 2 and 'pip install -e ".[slurm]"' in err and err.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def test_options_for_jobs_are_literals_or_texts():
    found = run._options("timeout_min=60,slurm_partition=long,setup=['a','b']")
    assert found == {"timeout_min": 60, "slurm_partition": "long", "setup": ["a", "b"]}
    with pytest.raises(UserError, match="no key=value"):
        run._options("timeout_min")
