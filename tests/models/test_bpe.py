"""Captions in parts of words that are learnt from them, and kept with the run."""

import dataclasses

import numpy as np
import pytest
from conftest import ROOT, TINY_TEXT, answer, images_of
from tokenizers import Tokenizer

import launch
from ddm_jax import runs
from ddm_jax.data.columns import spec_of
from ddm_jax.errors import UserError
from ddm_jax.models.conditions.bpe import BytePairs, learnt
from ddm_jax.models.conditions.text import FIRST, START

pytestmark = pytest.mark.usefixtures("at_root", "quick_compilation")

TEXTS = np.array(["a red circle on a blue background", "a blue square on a red background"] * 4)
COLUMNS = {"x": np.zeros((8, 4, 4, 1), np.uint8), "text": TEXTS}
SPEC = spec_of("captions", COLUMNS)
KNOWN = dataclasses.replace(SPEC, learnt=learnt(TEXTS, 300))


def test_a_text_takes_fewer_tokens_than_it_has_bytes_and_none_is_lost():
    condition = BytePairs(8, KNOWN, length=60, vocabulary=300)
    odd = "Käfer, ünique!"  # in no caption
    ids = condition.ask([*TEXTS[:2], odd])
    assert (ids[:, 0] == START).all() and (ids < FIRST + 300).all()
    assert (ids[:2] > 0).sum(1).max() < len(TEXTS[0]) // 2
    tokenizer = Tokenizer.from_str(KNOWN.learnt)
    for row, text in zip(ids, [*TEXTS[:2], odd], strict=True):
        assert tokenizer.decode((row[row > 0][1:] - FIRST).tolist()) == text


def test_the_same_captions_teach_the_same_in_any_order():
    assert learnt(TEXTS[::-1], 300) == KNOWN.learnt
    assert BytePairs(8, SPEC, vocabulary=300).learn(COLUMNS) == KNOWN.learnt
    assert learnt(np.array(["something else"] * 3), 300) != KNOWN.learnt


def test_too_many_parts_and_a_lost_vocabulary_are_refused_in_one_line():
    with pytest.raises(ValueError, match="leaves room for 3"):
        BytePairs(8, KNOWN, length=4, vocabulary=300).ask([TEXTS[0]])
    for broken in ("", "{}", "[1"):
        lost = dataclasses.replace(SPEC, learnt=broken)
        with pytest.raises(UserError, match="put a good copy back") as error:
            BytePairs(8, lost).ask(["a"])
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="at least 256"):
        BytePairs(8, SPEC, vocabulary=200)


@pytest.mark.slow
def test_a_run_keeps_its_parts_of_words_and_reads_prompts_by_them(tmp_path, capfd, monkeypatch):
    config = ("--config", str(ROOT / "configs/shapes_text.py"))
    arguments = [*config, *TINY_TEXT, "--workdir", str(tmp_path)]
    assert launch.main(arguments) == 0
    kept = runs.saved_spec(tmp_path).learnt
    assert '"BPE"' in kept
    with monkeypatch.context() as changed:  # by another version, say
        changed.setattr("ddm_jax.models.conditions.bpe.learnt", lambda *a: "other")
        assert launch.main([*arguments, "--config.train.steps=7"]) == 0
    assert runs.saved_spec(tmp_path).learnt == kept
    got, _ = images_of(capfd, tmp_path, "--prompt", "a large red circle on a blue background")
    assert got["asked"][0].startswith("a large red")
    code, _, err = answer(capfd, "--mode", "sample", "--workdir", tmp_path, "--prompt", "x" * 99)
    assert code == 2 and "parts of words" in err and err.count("\n") == 1
