"""The laws of every row of CONDITIONS."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ddm_jax.data.columns import spec_of
from ddm_jax.diffusion.conditions import drop
from ddm_jax.models.conditions import CONDITIONS

pytestmark = pytest.mark.usefixtures("quick_compilation")

COUNT = 6
TEXT = np.array(["a dot", "two dots", "none", "a line", "no", "so it is"])
COLUMNS = {
    "x": np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4, 1), np.uint8),
    "label": np.arange(COUNT, dtype=np.int32) % 3,
    "text": TEXT,
    "image": np.random.default_rng(1).integers(0, 256, (COUNT, 2, 2, 1), np.uint8),
    "embedding": np.random.default_rng(2).normal(size=(COUNT, 5)).astype(np.float32),
}
SPEC = spec_of("toy", COLUMNS, ("zero", "one", "two"))
EXTRA = {"wordllama": "text"}  # that a row needs
ROWS = CONDITIONS.keys() - {"nothing", "transformer"}  # the latter needs a folder, and has its own


@pytest.fixture(scope="module", params=sorted(ROWS))
def made(request):
    """(condition, its parameters drawn anew, raw conditions of COLUMNS, its compiled embedding)."""
    if request.param in EXTRA:
        pytest.importorskip(request.param, reason=f"needs the extra {EXTRA[request.param]}")
    untaught = CONDITIONS[request.param](width=8, spec=SPEC)
    spec = dataclasses.replace(SPEC, learnt=untaught.learn(COLUMNS))
    condition = dataclasses.replace(untaught, spec=spec)
    condition.check()
    raw = condition.raw({**COLUMNS, **condition.columns(COLUMNS)})
    leaves, structure = jax.tree.flatten(condition.init(jax.random.key(0)))
    rng = np.random.default_rng(1)
    params = structure.unflatten([jnp.asarray(0.2 * rng.normal(size=a.shape)) for a in leaves])
    return condition, params, raw, jax.jit(lambda raw: condition.embed(params, raw))


def shapes(tree):
    return jax.tree.map(lambda a: (a.shape, jnp.asarray(a).dtype), tree)


def test_the_null_is_like_what_the_data_give(made):
    condition, _, raw, _ = made
    null = condition.null(COUNT)
    assert shapes(null) == shapes(raw)
    gone = drop(condition, raw, jax.random.split(jax.random.key(0), COUNT), 1.0)
    jax.tree.map(np.testing.assert_array_equal, gone, null)


def test_an_embedding_fills_the_parts_that_it_names(made):
    condition, _, raw, embed = made
    told = embed(raw)._asdict()
    assert {name for name, part in told.items() if part is not None} == set(condition.parts)
    assert all(len(part) == COUNT for part in told.values() if part is not None)
    if told["vector"] is not None:
        assert told["vector"].shape == (COUNT, 8)


def test_an_embedding_depends_on_its_own_example_alone(made):
    _, _, raw, embed = made
    whole, turned = embed(raw), embed(jax.tree.map(lambda a: a[::-1], raw))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[::-1], rtol=1e-5, atol=1e-6), whole, turned
    )


def test_the_null_tells_something_else_than_the_examples(made):
    condition, _, raw, embed = made
    for part, none in zip(embed(raw), embed(condition.null(COUNT)), strict=True):
        if part is not None and part.dtype != bool:
            away = abs(np.asarray(part) - np.asarray(none)).reshape(COUNT, -1).max(1)
            assert (away > 1e-3).all()


def pictures(folder):
    """The pictures of COLUMNS as files."""
    paths = [str(folder / f"{k}.png") for k in range(COUNT)]
    for path, pixels in zip(paths, COLUMNS["image"], strict=True):
        Image.fromarray(pixels[..., 0]).save(path)
    return paths


def vectors(folder):
    """The embeddings of COLUMNS, the first in a file of its own and the others in another."""
    np.save(folder / "one.npy", COLUMNS["embedding"][0])
    np.save(folder / "others.npy", COLUMNS["embedding"][1:])
    return [str(folder / "one.npy"), str(folder / "others.npy")]


FILES = {"small.png": pictures, "vectors.npy": vectors}  # what a condition without names is asked


def test_what_is_asked_for_is_what_the_data_have(made, tmp_path):
    condition, _, raw, _ = made
    names = condition.names(COLUMNS) or FILES[condition.file](tmp_path)
    each = condition.each(names)
    assert len(each) == COUNT and condition.each(each) == each
    jax.tree.map(np.testing.assert_array_equal, condition.ask(each), raw)
    assert set(condition.choices) in (set(), set(names))
