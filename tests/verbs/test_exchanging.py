"""A run from a network of diffusers, used by every verb, and back: see tests/exchange."""

import json
import shutil

import jax
import numpy as np
import pytest
from conftest import ROOT, answer, state_of
from PIL import Image

import launch
from ddm_jax import runs
from ddm_jax.exchange import folder as folders

PIPELINE = ROOT / "tests/exchange/pipeline"
CONFIG = ("--config", str(ROOT / "configs/quickstart.py"))
SMALL = (
    "--config.guidance.name=none",
    "--config.optim.warmup=0",
    "--config.train.steps=1",
    "--config.train.batch=4",
    "--config.train.sample_every=0",
    "--config.average.ema.decay=0.5",
    "--config.average.ema.warmup=False",
    "--config.sample.count=4",
    "--config.sample.batch=4",
    "--config.sample.steps=3",
)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


def imports(capsys, workdir, folder=PIPELINE, *more):
    arguments = ("--mode", "import", *CONFIG, "--folder", folder, "--workdir", workdir)
    return answer(capsys, *arguments, *SMALL, *more)


def exports(capsys, workdir, folder, *more):
    return answer(capsys, "--mode", "export", "--workdir", workdir, "--folder", folder, *more)


def refused(found, *words):
    code, _, err = found
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    assert all(word in err for word in words), err


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A run of the network of the pipeline. Tests change copies of it."""
    workdir = tmp_path_factory.mktemp("imported") / "run"
    arguments = ("--mode", "import", *CONFIG, "--folder", str(PIPELINE))
    assert launch.main([*arguments, "--workdir", str(workdir), *SMALL]) == 0
    return workdir


def leaves_of(workdir):
    return jax.tree.leaves(runs.open(workdir).saved().params)


def bits_of(leaves):
    return [leaf.tobytes() for leaf in leaves]


@pytest.mark.telling
def test_an_imported_run_is_a_run_and_comes_back(imported, capsys, tmp_path):
    """It can be opened to be measured; what is exported of it is bit by bit its own."""
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(imported, run)
    step, state = state_of(run)
    assert step == 0
    for name, leaf in state["params"].items():
        np.testing.assert_array_equal(leaf, state["ema_params"][name])
    code, said, err = answer(capsys, "--mode", "evaluate", "--workdir", run, "--dry_run")
    assert (code, err) == (0, "") and "parameters: 10,973" in said
    for line in (
        "  --config.schedule.linear.beta_end=0.015",
        "  --config.sampler.ddpm.variance='large'",
        "  --config.model.ddpm_unet.multipliers=(1, 2)",
        "  --config.condition.name='nothing'",
        "  --config.train.batch=4",
    ):
        assert line in said
    code, said, err = exports(capsys, run, out, "--dry_run")
    assert (code, err) == (0, "") and "diffusers" in said and not out.exists()
    code, said, err = exports(capsys, run, out)
    assert (code, err) == (0, "") and "averaged weights of step 0" in said
    index = json.loads((out / "model_index.json").read_text())
    assert index["_class_name"] == "DDPMPipeline" and index["unet"] == ["diffusers", "UNet2DModel"]
    card = (out / "README.md").read_text()
    for text in ("step 0", "digits, 1,797 images of 8x8x1", "10,973", "weights of pipeline,"):
        assert text in card
    code, _, err = imports(capsys, tmp_path / "again", out)
    assert (code, err) == (0, "")
    assert bits_of(leaves_of(tmp_path / "again")) == bits_of(leaves_of(run))


def test_an_imported_run_is_sampled_from_and_trained_on(imported, capsys, tmp_path):
    """And what is exported then is the average."""
    run, out, again = (tmp_path / name for name in ("run", "out", "again"))
    shutil.copytree(imported, run)
    before = leaves_of(run)
    code, said, err = answer(capsys, "--mode", "sample", "--workdir", run)
    assert (code, err) == (0, "") and "step_0_ddpm_3_seed_0" in said
    code, said, err = answer(capsys, "--config", run / "config.json", "--workdir", run)
    assert (code, err) == (0, "") and "resuming at step 0" in said and "finished step 1" in said
    code, said, err = exports(capsys, run, out)
    assert (code, err) == (0, "") and "averaged weights of step 1" in said
    code, _, err = imports(capsys, again, out)
    assert (code, err) == (0, "")
    average = leaves_of(again)
    assert bits_of(average) == bits_of(leaves_of(run)) != bits_of(before)
    trained = [*map(np.asarray, state_of(run)[1]["params"].values())]
    assert sorted(bits_of(trained)) != sorted(bits_of(average))


def test_a_table_of_classes_comes_and_goes(capsys, tmp_path):
    """It is the condition's here; a network alone has no scheduler, so the config's is taken."""
    rng = np.random.default_rng(0)
    for k in range(4):
        folder = tmp_path / "data" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    data = (f"--config.data.name=folder:{tmp_path / 'data'}", "--config.data.size=8,4")
    run, out, again = (tmp_path / name for name in ("run", "out", "again"))
    code, said, err = imports(capsys, run, PIPELINE.parent / "network", *data)
    assert (code, err) == (0, "") and "has no scheduler" in said
    code, said, err = answer(capsys, "--mode", "sample", "--workdir", run, "--prompt", "b")
    assert (code, err) == (0, "")
    code, said, err = exports(capsys, run, out, "--config.sampler.name=ddim")
    assert (code, err) == (0, "") and "DDIMPipeline" in said
    card = (out / "README.md").read_text()
    assert "a class from 0 to 1, or 2 for none" in card
    code, _, err = imports(capsys, again, out, *data)
    assert (code, err) == (0, "") and bits_of(leaves_of(again)) == bits_of(leaves_of(run))


def test_what_a_folder_says_may_not_be_said_otherwise(capsys, tmp_path):
    """But what touches no weight may; nothing is written of what is refused, nor of a dry run."""
    for setting, word in (
        ("model.ddpm_unet.channels=8", "channels=8"),
        ("schedule.name=cosine", "cosine"),
        ("condition.name=classes", "classes"),
    ):
        refused(imports(capsys, tmp_path / "run", PIPELINE, f"--config.{setting}"), word)
    more = ("--config.sampler.name=heun", "--config.model.ddpm_unet.dropout=0.2", "--dry_run")
    code, said, _ = imports(capsys, tmp_path / "run", PIPELINE, *more)
    assert code == 0 and "  --config.sampler.name='heun'" in said
    assert "  --config.model.ddpm_unet.dropout=0.2" in said and not [*tmp_path.iterdir()]


def test_other_data_are_refused(capsys, tmp_path):
    """Three channels and another size; and a table of classes of another number than the data's."""
    photo = ("--config.data.name=photo", "--config.condition.name=nothing")
    network, run = PIPELINE.parent / "network", tmp_path / "run"
    found = imports(capsys, run, PIPELINE, *photo, "--config.data.size=8")
    refused(found, "in_channels=1", "data.channels=1")
    found = imports(capsys, run, PIPELINE, *photo, "--config.data.size=16")
    refused(found, "sample_size=8", "data.size=8,8")
    refused(imports(capsys, run, network, *photo, "--config.data.size=8,4"), "num_class_embeds=3")
    found = imports(
        capsys,
        run,
        PIPELINE,
        "--config.objective.name=hybrid",
        "--config.time_sampler.name=discrete",
    )
    refused(found, "out_channels=1", "2")
    assert not [*tmp_path.iterdir()]


def test_broken_weights_leave_nothing(capsys, tmp_path):
    folder, run = tmp_path / "pipeline", tmp_path / "runs" / "run"
    shutil.copytree(PIPELINE, folder)
    weights = folder / "unet" / folders.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    refused(imports(capsys, run, folder), str(weights))
    assert not run.parent.exists()


def test_what_is_there_is_not_written_over(imported, capsys, tmp_path):
    before = sorted(imported.rglob("*"))
    refused(imports(capsys, imported), "is there already", "another --workdir")
    assert sorted(imported.rglob("*")) == before
    (tmp_path / "file").write_text("mine")
    refused(exports(capsys, imported, tmp_path), "is there already", "another --folder")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_diffusers_cannot_hold_is_refused(imported, capsys, tmp_path):
    out, classifier = tmp_path / "out", tmp_path / "classifier"
    shutil.copytree(imported, classifier)
    (classifier / "config.json").write_text(json.dumps({"task": "classifier"}))
    refused(exports(capsys, classifier, out), "task='classifier'")
    refused(exports(capsys, imported, out, "--config.sampler.name=heun"), "sampler.name=ddim")
    config = json.loads((imported / "config.json").read_text())
    for section, row, values, word in (
        ("noise_cond", "logsnr", {}, "noise_cond.name='logsnr'"),
        ("codec", "pixels", {"scaling": "fitted"}, "scaling='fitted'"),
        ("model", "mlp", {}, "model.name='mlp'"),
    ):
        run = tmp_path / f"{section}_{row}"
        shutil.copytree(imported, run)
        other = {**config[section], "name": row}
        other[row] = {**other[row], **values}
        (run / "config.json").write_text(json.dumps({**config, section: other}))
        refused(exports(capsys, run, out), word)
    assert not out.exists()


def test_flags_go_together(capsys, tmp_path):
    refused(answer(capsys, "--mode", "export", "--workdir", tmp_path), "need --folder")
    refused(answer(capsys, *CONFIG, "--folder", tmp_path), "they alone")
    refused(answer(capsys, "--mode", "import", "--folder", tmp_path), "give --config")
