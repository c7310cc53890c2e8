"""What is edited, and what it is by itself: the caption, the class, or nothing that is known."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from ddm_jax.borrowing import taught
from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.errors import UserError
from ddm_jax.tasks.edits.base import Wanted
from ddm_jax.tasks.edits.pictures import inputs_of
from ddm_jax.verbs.originals import gather


def setup_of(name, *settings):
    config = override(load_config(str(ROOT / f"configs/{name}.py")), settings)
    data = taught(config, sources.load(data_options(config)), Path("of no run"))
    return assemble(config, data.spec)


@pytest.fixture(scope="module")
def text():
    return setup_of("shapes_text", "--config.data.count=40", "--config.sample.ask=()")


def picture(path):
    Image.new("RGB", (50, 40), "green").save(path)
    return str(path)


def test_an_example_has_its_caption_and_a_file_of_the_users_none(text, tmp_path):
    data, condition = sources.load(text.data), text.task.model.condition
    found = gather(text, Wanted(examples=(3, 39, 40)), print)
    assert found.numbers.tolist() == [3, 39]
    captions = data.columns["text"][[3, 39]]
    np.testing.assert_array_equal(found.own.raw, condition.ask(captions))
    np.testing.assert_array_equal(found.values, data.columns["x"][[3, 39]])
    assert captions[0] in found.names[0]
    mine = gather(text, Wanted(picture(tmp_path / "me.png")), print)
    np.testing.assert_array_equal(mine.own.raw, condition.null(1))
    assert mine.numbers.tolist() == [0] and mine.sizes == ((40, 50),)


def test_prompts_take_the_place_of_captions_by_the_number_of_the_noise(text):
    asks = ("a red circle", "a blue square")
    generator = text.task.generator
    options = dataclasses.replace(generator.options, ask=asks)
    asking = dataclasses.replace(generator, options=options)
    found = gather(text, Wanted(examples=(3, 4)), print)
    inputs = inputs_of(asking, np.ones(1, np.float32), found)
    expected = text.task.model.condition.ask([asks[1], asks[0]])
    np.testing.assert_array_equal(inputs.asked.raw, expected)
    np.testing.assert_array_equal(inputs_of(generator, np.ones(1), found).asked.raw, found.own.raw)


def test_a_classifier_leads_examples_to_their_class_and_asks_for_that_of_files(tmp_path):
    setup = setup_of("digits_guided", "--config.guidance.name=none")

    def judged(*classes):
        lent = {"judge": SimpleNamespace(spec=SimpleNamespace(classes=classes))}
        generator = dataclasses.replace(setup.task.generator, lent=lent)
        task = dataclasses.replace(setup.task, generator=generator)
        return dataclasses.replace(setup, task=task)

    backwards = gather(judged(*"9876543210"), Wanted(examples=(2, 5)), print)
    assert backwards.own.label.tolist() == [7, 4]
    for run, wanted in (
        (judged("even", "odd"), Wanted(examples=(2,))),
        (judged(*"0123456789"), Wanted(picture(tmp_path / "me.png"))),
    ):
        with pytest.raises(UserError, match="nothing says to which these pictures are led"):
            gather(run, wanted, print)


def test_data_that_are_no_pictures_take_no_files(tmp_path):
    setup = setup_of("quickstart")
    waves = dataclasses.replace(setup.spec, kind="wave", shape=(16, 1))
    other = dataclasses.replace(setup, task=dataclasses.replace(setup.task, spec=waves))
    with pytest.raises(UserError, match="take its own examples by first and count"):
        gather(other, Wanted(picture(tmp_path / "me.png")), print)
