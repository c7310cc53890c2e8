"""Long work says where it is, to whoever reads it."""

import threading
import time

import jax
import numpy as np
import pytest
from conftest import answer, keys

from ddm_jax.output import told_every
from ddm_jax.training.layout import Layout
from ddm_jax.verbs import looking, sampling
from ddm_jax.verbs.looking import Eye, look
from ddm_jax.verbs.sampling import in_batches

INDEX = np.arange(5, 15)


HERE = Layout(tuple(jax.local_devices()[:1]))


def drawn(call, say, **how):
    return in_batches(HERE, call, INDEX, 4, say=say, **how)


def test_a_long_batch_is_told_to_be_under_way_and_how_far_the_whole_is(monkeypatch):
    monkeypatch.setattr(sampling, "SILENCE", 0.02)
    said = []

    def call(part):
        until = len(said) + 2
        while len(said) < until:
            time.sleep(0.005)
        return part

    np.testing.assert_array_equal(drawn(call, said.append), INDEX)
    assert said[0] == "sampled 0 of 10; 4 more are under way since 0 min"
    assert said[-1] == "sampled 8 of 10; 2 more are under way since 0 min"


def test_a_piece_of_more_work_is_told_by_its_place_in_the_whole(monkeypatch, tmp_path):
    monkeypatch.setattr(sampling, "SILENCE", 0.02)
    said = []

    def see(values, before, total):
        how = {"done": "looked at", "before": before, "total": total}
        return {"features": drawn(lambda part: time.sleep(0.1) or part, said.append, **how)}

    eye = Eye(see, {"features": jax.ShapeDtypeStruct((), np.int64)}, {}, "", ())
    monkeypatch.setattr(looking, "part_size", lambda batch: 10)
    assert len(look(HERE, eye, tmp_path, np.zeros(20), say=print).features) == 20
    assert said[0] == "looked at 0 of 20; 4 more are under way since 0 min"
    assert said[-1] == "looked at 18 of 20; 2 more are under way since 0 min"


def test_short_batches_are_silent():
    said = []
    np.testing.assert_array_equal(drawn(np.copy, said.append), INDEX)
    assert not said


def test_the_time_is_counted_and_nothing_is_told_after_the_end():
    seen = []
    with told_every(0.02, seen.append, lambda seconds: seconds):
        time.sleep(0.2)
    told = len(seen)
    assert told > 1 and seen == sorted(seen) and seen[0] >= 0.02
    time.sleep(0.1)
    assert len(seen) == told


def test_it_ends_where_the_work_fails():
    with pytest.raises(ZeroDivisionError), told_every(60, print, str):
        raise ZeroDivisionError
    assert not [t for t in threading.enumerate() if t.name == "told_every"]


def test_work_goes_on_where_nobody_reads(monkeypatch):
    monkeypatch.setattr(sampling, "SILENCE", 0.01)
    tried = threading.Event()

    def say(line):
        tried.set()
        raise BrokenPipeError

    def call(part):
        assert tried.wait(10)
        return part

    np.testing.assert_array_equal(drawn(call, say), INDEX)


def test_examples_that_are_looked_at_are_told_by_their_place_among_all(
    tiny_run, capsys, monkeypatch
):
    told = []

    def spy(*given, before, total, **how):
        told.append((before, len(given[2]), total))
        return in_batches(*given, before=before, total=total, **how)

    monkeypatch.setattr(looking, "in_batches", spy)
    monkeypatch.setattr(looking, "part_size", lambda batch: 8)
    settings = keys("evaluate.metrics=frechet", "evaluate.samples=20", "sample.steps=2")
    settings += keys("evaluate.reference_count=12", "features.name=pixels")
    code, _, err = answer(capsys, "--mode", "evaluate", "--workdir", tiny_run, *settings)
    assert code == 0, err
    assert {(0, 8, 20), (8, 8, 20), (16, 4, 20), (8, 4, 12)} <= {*told}
