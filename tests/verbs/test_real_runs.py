"""The shipped configs at their own size: real data, and images that can be read."""

import os
import signal

import pytest
from conftest import images_of, keys, launch, ok, shared, start, state_of, wait_for
from PIL import Image

UNGUIDED = ("guidance.name=none", "sample.batch=500")


@pytest.mark.slow
def test_cifar_cosine_on_real_data_is_killed_resumed_and_sampled(tmp_path):
    run = tmp_path / "run"
    arguments = (
        "--config",
        "configs/cifar_cosine.py",
        "--workdir",
        run,
        f"--config.data.dir={shared('tfds/cifar10').parent}",
        "--config.train.batch=2",
        "--config.train.steps=12",
        "--config.train.save_every=5",
        "--config.train.log_every=1",
        "--config.train.sample_every=0",
        "--config.sample.count=4",
        "--config.sample.steps=4",
    )
    process = start(*arguments)
    wait_for(process, "step 8/")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert "resuming at step 5" in ok(launch(*arguments)).stdout
    assert state_of(run)[0] == 12
    with Image.open(run / "samples/step_12.png") as picture:
        assert picture.mode == "RGB" and picture.width > 4 * 32


@pytest.mark.telling
@pytest.mark.slow
def test_the_quickstart_makes_digits_that_a_classifier_reads(tmp_path, capfd):
    """README command 1: all but a few of 500 samples are as asked, and of 2,000 unguided ones."""
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    run = tmp_path / "run"
    ok(launch("--config", "configs/quickstart.py", "--workdir", run))
    images, labels = load_digits(return_X_y=True)
    reader = SVC(gamma=0.001, C=10).fit(images, labels)
    for least, settings in ((0.99, ["sample.count=500"]), (0.98, [*UNGUIDED, "sample.count=2000"])):
        arrays, _ = images_of(capfd, run, *keys(*settings))
        read = reader.predict(arrays["images"].reshape(-1, 64) * (16 / 255))
        agreement = (read == arrays["labels"]).mean()
        print(f"agreement {agreement:.4f}")
        assert agreement >= least
