"""Latent diffusion, from an autoencoder's run to samples: what it borrows, keeps and refuses."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    FAST,
    ROOT,
    SHORT,
    TINY,
    TINY_CODER,
    answer,
    images_of,
    launch,
    ok,
    start,
    state_of,
    trained_once,
    wait_for,
)

from ddm_jax.training import logs
from ddm_jax.verbs.opened import open_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = ("--config", f"{ROOT}/configs/digits_latent.py", *TINY)


def made_by(run) -> str:
    return f"--config.codec.latent.run={run}"


@pytest.fixture(scope="module")
def latent_run(tmp_path_factory, tiny_autoencoder) -> Path:
    """A run on the latents of `tiny_autoencoder`."""
    arguments = (*SMALL, made_by(tiny_autoencoder))
    return trained_once(tmp_path_factory, "latent_run", arguments)


def test_an_autoencoder_logs_its_parts_draws_and_is_evaluated(tiny_autoencoder, capsys):
    row = logs.read(tiny_autoencoder / "metrics.jsonl")[-1]
    assert row["loss"] == pytest.approx(row["reconstruction"] + 1e-3 * row["kl"], rel=1e-3)
    assert 0 < row["kl"] < 100 and 10 < row["psnr"] < 40 and "loss_by_level" not in row
    assert (tiny_autoencoder / "reconstructions" / "step_200.png").exists()
    code, out, err = answer(capsys, "--mode", "evaluate", "--workdir", tiny_autoencoder)
    assert (code, err) == (0, "") and "PSNR, dB" in out
    (path,) = (tiny_autoencoder / "evaluation").glob("*.json")
    found = json.loads(path.read_text())
    assert found["examples"] == len(found["per_example"]["psnr"]) == 20
    assert found["psnr"]["mean"] == pytest.approx(np.mean(found["per_example"]["psnr"]))


@pytest.mark.slow
def test_a_run_records_its_latents_and_samples_with_their_autoencoder(
    latent_run, tiny_autoencoder, tmp_path, capfd
):
    latents = json.loads((latent_run / "data.json").read_text())["latents"]
    lender = open_run(tiny_autoencoder)
    assert latents["shape"] == [4, 4, 2] and len(latents["mean"]) == len(latents["std"]) == 2
    record = json.loads((latent_run / "borrowed.json").read_text())["autoencoder"]
    assert latents["sha256"] == record["sha256"] == lender.run.saved().sha256
    assert open_run(latent_run).setup.task.model.shape == (4, 4, 2)
    moved = tmp_path / "moved"
    shutil.copytree(tiny_autoencoder, moved)
    one, _ = images_of(capfd, latent_run, made_by(tiny_autoencoder))
    two, _ = images_of(capfd, latent_run, made_by(moved), "--config.sample.film=1")
    assert one["images"].shape == (6, 8, 8, 1) and one["images"].std() > 0
    np.testing.assert_array_equal(one["images"], two["images"])


@pytest.mark.parametrize(
    "name, settings, remedy",
    [
        ("", (), "name it with --config.codec.latent.run=runs/<its name>"),
        ("{tmp_path}/none", (), "no run in"),
        ("{tiny_classifier}", (), "is a run of task 'classifier'; this takes one of 'autoencoder'"),
        ("{tiny_autoencoder}", ("data.name=shapes", "data.count=9"), "on the same data"),
        ("{tiny_autoencoder}", ("sample.clip=static",), "take sample.clip=none"),
        ("{tiny_autoencoder}", ("objective.name=vlb",), "take objective.name=weighted"),
    ],
    ids=["none", "missing", "other", "data", "clip", "bound"],
)
def test_what_cannot_be_trained_on_latents_is_one_line(
    name, settings, remedy, tiny_classifier, tiny_autoencoder, tmp_path, capsys
):
    settings = [f"--config.{s}" for s in settings]
    run = made_by(name.format(**locals()))
    code, _, err = answer(capsys, *SMALL, *settings, run, "--workdir", tmp_path / "run")
    assert code == 2 and err.count("\n") == 1, err
    assert remedy in err and not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (("--mode", "sample", made_by("")), "name it with --config.codec.latent.run="),
        (
            ("--mode", "sample", made_by("{tiny_autoencoder}@100")),
            "other weights of its autoencoder",
        ),
        (
            (
                "--mode",
                "evaluate",
                "--config.evaluate.metrics=bound",
                made_by("{tiny_autoencoder}"),
            ),
            "evaluate.metrics=frechet",
        ),
        (("--mode", "sample", "--config.codec.name=pixels"), "other settings: codec.name"),
    ],
    ids=["none", "others", "bits", "codec"],
)
def test_what_cannot_be_done_with_a_run_on_latents_is_one_line(
    latent_run, tiny_autoencoder, capsys, arguments, remedy
):
    given = [a.format(tiny_autoencoder=tiny_autoencoder) for a in arguments]
    code, _, err = answer(capsys, "--workdir", latent_run, *given)
    assert code == 2 and remedy in err and err.count("\n") == 1, err


def test_ssim_of_digits_is_refused_with_the_remedy(tiny_autoencoder, capsys):
    ssim = "--config.evaluate.metrics=psnr,ssim"
    code, _, err = answer(capsys, "--mode", "evaluate", "--workdir", tiny_autoencoder, ssim)
    assert code == 2 and "images of 8x8 are smaller" in err and err.count("\n") == 1


@pytest.mark.slow
def test_other_verbs_know_nothing_of_latents(latent_run, tiny_autoencoder, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(latent_run, run)
    whole = ("--workdir", run, made_by(tiny_autoencoder))
    few = ("--config.evaluate.samples=20", "--config.evaluate.reference_count=50")
    for verb in (("evaluate", *few), ("doctor", "--config.doctor.samples=4"), ("edit",)):
        code, out, err = answer(capsys, "--mode", *verb, *whole)
        assert code in (0, 1) and "Traceback" not in err, (verb, out, err)
    assert (
        any((run / "edits").glob("*.png"))
        and "FD" in (run / "evaluation/results.jsonl").read_text()
    )


@pytest.mark.slow
def test_a_classifier_of_latents_guides_a_run_on_the_same_latents(
    latent_run, tiny_autoencoder, tmp_path, capfd
):
    judge, small = tmp_path / "judge", ("channels=8", "multipliers=(1,)", "heads=2")
    settings = [f"--config.model.unet_encoder.{s}" for s in small]
    settings += [a for a in SHORT if a.startswith(("--config.train", "--config.optim"))]
    made = ("--config.codec.name=latent", made_by(tiny_autoencoder))
    config = ("--config", f"{ROOT}/configs/digits_classifier.py", *settings)
    code, _, err = answer(capfd, *config, *made, "--workdir", judge)
    assert code == 0, err
    guided = ("--config.guidance.name=classifier", f"--config.guidance.classifier.run={judge}")
    images, _ = images_of(capfd, latent_run, made[1], *guided)
    assert images["images"].shape == (6, 8, 8, 1)
    code, _, err = answer(capfd, *config, "--workdir", tmp_path / "other")
    other = (
        "--config.guidance.name=classifier",
        f"--config.guidance.classifier.run={tmp_path}/other",
    )
    code, _, err = answer(capfd, "--mode", "sample", "--workdir", latent_run, made[1], *other)
    assert code == 2 and "the same codec" in err


@pytest.mark.slow
def test_a_kill_leaves_no_trace_in_either_run(tiny_autoencoder, tmp_path):
    """SIGKILL between two checkpoints and the same command again: the end is bit-identical."""
    long = (
        "--config.train.steps=120",
        "--config.train.save_every=20",
        "--config.train.log_every=20",
    )
    coder = ("--config", f"{ROOT}/configs/digits_latent.py:autoencoder", *TINY_CODER, *long)
    latent = (*SMALL, made_by(tiny_autoencoder), *long)
    for name, arguments in (("coder", coder), ("latent", latent)):
        whole, cut = tmp_path / f"{name}_whole", tmp_path / f"{name}_cut"
        ok(launch(*arguments, "--workdir", whole, **FAST))
        for mark in ("step 40/120", "step 80/120"):
            process = start(*arguments, "--workdir", cut, **FAST)
            wait_for(process, mark)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        ok(launch(*arguments, "--workdir", cut, **FAST))
        (step, one), (also, other) = state_of(whole), state_of(cut)
        assert step == also == 120
        for field, leaves in one.items():
            for key, leaf in leaves.items():
                np.testing.assert_array_equal(leaf, other[field][key], err_msg=field + key)
