"""Every misuse gets one clear line with the remedy, exit code 2 and no traceback."""

import errno
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, SHARED, TINY, answer, as_trained

import launch
from ddm_jax import verbs

QUICK = ("--config", "configs/quickstart.py")


pytestmark = pytest.mark.usefixtures("at_root")


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        ((), "give --config"),
        (("--config", "configs/cifar_cosin.py"), "did you mean 'configs/cifar_cosine.py'"),
        (("--config", "README.md"), ".py file with get_config()"),
        ((*QUICK, "--config.train.step=3"), "did you mean 'train.steps'"),
        (
            (*QUICK, "--config.sampler.name=dimm"),
            "did you mean 'ddim'? choose one of adams",
        ),
        ((*QUICK, "--config.optim.name=adm"), "choose one of adam, adamw, muon, sgd"),
        ((*QUICK, "--config.data.name=digts"), "choose one of checkerboard, clips, digits"),
        ((*QUICK, "--config.train.steps=abc"), "takes values like 1600 (int), not abc"),
        ((*QUICK, "--config.data.strict=maybe"), "takes values like False (bool), not maybe"),
        ((*QUICK, "--config.model.ddpm_unet.multipliers=1,a"), "takes values like (1, 2)"),
        ((*QUICK, "--config.train.steps"), "takes values like 1600"),
        ((*QUICK, "--config.model=3"), "--config.model is a section"),
        ((*QUICK, "stray"), "unrecognized arguments: stray"),
        ((*QUICK, "--confg"), "unrecognized arguments: --confg"),
        ((*QUICK, "--mode", "smple"), "choose from"),
        (("--config", "configs/shapes.py", "--config.data.size=30"), "a multiple of 4"),
        ((*QUICK, "--config.sampler.ddim.eta=2"), "eta lies in [0, 1]"),
        ((*QUICK, "--config.train.batch=33", "--config.train.accumulate=2"), "a multiple of 4"),
        ((*QUICK, "--config.train.batch=7"), "cannot be divided over 2 devices"),
        ((*QUICK, "--config.train.batch=0"), "a multiple of 2"),
        ((*QUICK, "--config.sample.classes=11"), "classes 0 to 9"),
        (
            (*QUICK, "--config.edit.name=sdedti"),
            "unknown edit 'sdedti'; did you mean 'sdedit'",
        ),
        ((*QUICK, "--config.sample.classes=one"), "classes takes whole numbers"),
        ((*QUICK, "--config.loss.class_dropout=0"), "loss.class_dropout=0.1"),
        ((*QUICK, "--config.condition.name=nothing"), "condition.name=classes"),
        ((*QUICK, "--config.data.name=tfds:cifar11"), "did you mean 'cifar10"),
        ((*QUICK, "--config.data.name=folder:/nowhere"), "folder:<path>"),
        ((*QUICK, "--process", "1"), "go together"),
        ((*QUICK, *"--coordinator a:1 --process 5 --processes 2".split()), "they count from 0"),
        ((*QUICK, *"--coordinator a --process 0 --processes 2".split()), "no host:port"),
        ((*QUICK, "--config.seed=9223372036854775808"), "must lie below 2^63"),
        ((*QUICK, f"--config.model.ddpm_unet.channels={2**64}"), "must lie below 2^31"),
        ((*QUICK, f"--config.model.ddpm_unet.multipliers=(1,{2**62})"), "must lie below 2^31"),
        ((*QUICK, f"--config.schedule.cosine.num_timesteps={2**30}"), "at most 16,777,216"),
        ((*QUICK, "--config.evaluate.seed=-9223372036854775809"), "must lie below 2^63"),
        ((*QUICK, "--config.sample.count=1000000000000"), "below 2^31"),
        ((*QUICK, "--config.teacher.run=a\nb\x1b[2J"), "a\\nb\\x1b[2J: no run"),
        ((*QUICK, "--config.evaluate.samples=1000000000000"), "below 2^31"),
        (
            ("--config", "configs/shapes.py", "--config.data.size=1000000"),
            "not the memory for this, Unable to allocate",
        ),
        (("--mode", "sample", "--workdir", "a" * 300), "too long; take another place"),
        (("--mode", "sample", "--workdir", "/nowhere"), "train first"),
    ],
    ids=lambda a: " ".join(a)[-60:] if isinstance(a, tuple) else "",
)
def test_misuse_is_answered_in_one_line(arguments, remedy, capsys, tmp_path):
    if arguments and arguments[0] == "--config":
        arguments = (*arguments, "--workdir", str(tmp_path / "run"))
    code, out, err = answer(capsys, *arguments)
    assert code == 2
    assert remedy in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def get_config():\n    return None\n", "gives NoneType; let it return the ConfigDict"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        ("def get_config(:\n", "SyntaxError"),
    ],
)
def test_a_config_file_that_gives_no_config_is_answered_in_one_line(text, said, capsys, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    code, _, err = answer(capsys, "--config", tmp_path / "mine.py", "--dry_run")
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize("name", ["EACCES", "EPERM", "EROFS", "ELOOP", "ENOSPC", "EDQUOT", "EIO"])
@pytest.mark.parametrize("path", ["/there", None])
def test_what_the_system_says_of_a_path_or_a_disk_is_a_line(name, path, monkeypatch, capsys):
    number = getattr(errno, name)

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(verbs, "train", refuse)
    said = f"{repr(path) if path else 'a file'}: {os.strerror(number)}"
    if name in ("ENOSPC", "EDQUOT", "EIO"):
        said = f"stopped: {said}; make room or mend the disk, and give the same command again\n"
        assert answer(capsys, *QUICK) == (1, "", said)
    else:
        assert answer(capsys, *QUICK) == (2, "", f"error: {said}; take another place\n")


def test_what_else_the_system_says_is_raised(monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "/there")

    monkeypatch.setattr(verbs, "train", fail)
    with pytest.raises(OSError, match="/there"):
        answer(capsys, *QUICK)


def test_missing_cifar_data_are_answered_without_a_traceback(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "launch.py",
            "--config",
            "configs/cifar_cosine.py",
            f"--config.data.dir={tmp_path}",
            "--workdir",
            tmp_path / "run",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert "--config.data.dir" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_dry_run_shows_everything_and_writes_nothing(capsys, tmp_path):
    code, out, _ = answer(
        capsys, *QUICK, "--dry_run", "--workdir", tmp_path / "run", "--config.train.steps=77"
    )
    assert code == 0 and not (tmp_path / "run").exists()
    for line in (
        "  --config.train.steps=77",
        "  --config.schedule.name='cosine'",
        "# --config.schedule.linear.num_timesteps=1000",
        "parameters: 368,185",
        "data: digits, 1,797 images 8x8x1, 10 classes",
        "devices: 2 x",
    ):
        assert line in out


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "tfds").exists(), reason="needs the development data")
def test_dry_run_of_the_published_network(capsys, tmp_path):
    code, out, _ = answer(
        capsys,
        "--config",
        "configs/cifar_linear.py",
        "--dry_run",
        f"--config.data.dir={SHARED / 'tfds'}",
        "--workdir",
        tmp_path / "run",
    )
    assert code == 0 and "parameters: 35,746,307" in out and "50,000 images 32x32x3" in out


def test_help_shows_the_commands(capsys):
    with pytest.raises(SystemExit) as end:
        launch.main(["--help"])
    assert end.value.code == 0 and "--mode sample --workdir" in capsys.readouterr().out


def test_a_run_samples_resumes_and_refuses_other_settings(
    tiny_run, quick_compilation, capsys, tmp_path
):
    run = tmp_path / "run"
    as_trained(tiny_run, run)
    arguments = (*QUICK, *TINY, "--workdir", run)
    for name in (
        "config.json",
        "data.json",
        "metrics.jsonl",
        "samples/step_6.png",
        "done.json",
        "loss.png",
        "loss_by_level.png",
        "checkpoints/6",
        "tensorboard",
    ):
        assert (run / name).exists(), name
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert rows[0].keys() == {"step", "loss", "grad_norm", "lr", "images_per_s", "loss_by_level"}

    code, out, err = answer(
        capsys,
        "--mode",
        "sample",
        "--workdir",
        run,
        "--config.sampler.name=ddpm",
        "--config.sample.count=5",
    )
    assert (code, err) == (0, "") and "step_6_ddpm_3_seed_0_" in out
    code, _, err = answer(capsys, *arguments, "--config.optim.lr=0.1")
    assert code == 2 and "optim.lr is 0.1, was 0.02" in err and "another --workdir" in err
    code, out, err = answer(capsys, *arguments, "--config.train.steps=8")
    assert (code, err) == (0, "") and "resuming at step 6" in out and "finished step 8" in out
    code, out, _ = answer(capsys, "--config", run / "config.json", "--dry_run")
    assert code == 0 and "--config.train.steps=8" in out and "workdir: runs/run" in out


def test_a_wrong_name_is_named_in_the_folder_of_a_run_too(tiny_run, capsys):
    where = (*QUICK, *TINY, "--workdir", tiny_run)
    code, _, err = answer(capsys, *where, "--config.model.name=residual_mlpp")
    assert code == 2 and err.startswith("error: unknown model 'residual_mlpp'; did you mean")
    assert err.count("\n") == 1
    code, _, err = answer(capsys, *where, "--config.optim.name=muonn")
    assert code == 2 and err.startswith("error: unknown optimizer 'muonn'; did you mean 'muon'")
    assert err.count("\n") == 1


def test_two_processes_cannot_train_in_one_folder(capsys, tmp_path):
    from ddm_jax.lock import locked

    with locked(tmp_path / "run"):
        code, _, err = answer(capsys, *QUICK, *TINY, "--workdir", tmp_path / "run")
    assert code == 2 and "another process trains" in err
