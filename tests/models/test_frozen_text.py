"""Frozen vectors of words as a condition, on a toy of known vectors and on the shipped ones."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.data.columns import spec_of
from ddm_jax.errors import UserError
from ddm_jax.models.conditions.frozen import FrozenText, Transformer, WordLlama

pytestmark = pytest.mark.usefixtures("quick_compilation")

COLUMNS = {"x": np.zeros((2, 4, 4, 1), np.uint8), "text": np.array(["a red dot", "no"])}
SPEC = spec_of("captions", COLUMNS)


@dataclass(frozen=True)
class Lengths(FrozenText):
    """A word's vector is its length and one."""

    @property
    def size(self):
        return 2

    def read(self, texts):
        return [np.array([[len(w), 1.0] for w in t.split()]).reshape(-1, 2) for t in texts]


TOY = Lengths(8, SPEC, length=4, channels=12, depth=1, heads=3)


@pytest.fixture(scope="module")
def embed():
    leaves, structure = jax.tree.flatten(TOY.init(jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = structure.unflatten([jnp.asarray(rng.normal(size=a.shape) / 3) for a in leaves])
    return jax.jit(lambda raw: TOY.embed(params, raw))


def test_words_are_vectors_in_their_order():
    columns = TOY.columns(COLUMNS)
    np.testing.assert_array_equal(columns["there"], [[1, 1, 1, 0], [1, 0, 0, 0]])
    expected = [[[1, 1], [3, 1], [3, 1], [0, 0]], [[2, 1], [0, 0], [0, 0], [0, 0]]]
    np.testing.assert_array_equal(columns["vectors"], expected)
    raw = TOY.raw(columns)
    null = TOY.null(2)
    assert jax.tree.structure(raw) == jax.tree.structure(null)
    assert [a.shape for a in raw] == [a.shape for a in null] and not null.there.any()
    assert TOY.names(COLUMNS) == ["a red dot", "no"]


def test_more_words_than_there_is_room_for_are_refused():
    assert TOY.ask(["a b c d"]).there.all()
    with pytest.raises(ValueError, match="has 5 words .* length=4"):
        TOY.ask(["fine", "a b c d e"])


@pytest.mark.parametrize("value", [1e6, np.nan, -np.inf])
def test_vectors_that_float16_cannot_hold_are_refused(value, monkeypatch):
    monkeypatch.setattr(Lengths, "read", lambda self, texts: [np.array([[value, 1.0]])])
    with pytest.raises(ValueError, match="'fine' has vectors beyond the range of float16"):
        TOY.ask(["fine"])


def test_what_is_told_depends_on_words_and_their_order_and_not_on_empty_places(embed):
    raw = TOY.ask(["red on blue", "blue on red", "red on blue"])
    other = raw._replace(vectors=raw.vectors.copy())
    other.vectors[2, 3] = 7.0
    told, same = embed(raw), embed(other)
    assert told.sequence.shape == (3, 5, 12) and told.mask.sum(1).tolist() == [4, 4, 4]
    np.testing.assert_allclose(same.vector[2], told.vector[0], atol=1e-6)
    np.testing.assert_allclose(same.sequence[2, :4], told.sequence[0, :4], atol=1e-6)
    assert abs(told.vector[0] - told.vector[1]).max() > 1e-3
    empty = embed(TOY.null(1))
    assert empty.mask.tolist() == [[True, False, False, False, False]]
    assert abs(empty.vector[0] - told.vector[0]).max() > 1e-2


def test_the_shipped_vectors_know_what_is_like_what():
    pytest.importorskip("tokenizers", reason="frozen vectors of words need the extra text")
    pytest.importorskip("wordllama", reason="frozen vectors of words need the extra text")
    found = WordLlama(8, SPEC, length=6).ask(["red", "crimson", "bicycle", "a small red circle"])
    assert found.vectors.shape == (4, 6, 256) and found.there.sum(1).tolist()[-1] == 4
    means = [v[m].astype(float).mean(0) for v, m in zip(*found, strict=True)]
    red, crimson, bicycle = (v / np.linalg.norm(v) for v in means[:3])
    assert red @ crimson > red @ bicycle + 0.1
    np.testing.assert_array_equal(found.vectors[0, 0], found.vectors[3, 2])


def test_a_local_transformer_is_read_as_transformers_reads_it(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs the extra transformer")
    torch = pytest.importorskip("torch", reason="needs the extra transformer")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dot"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=12, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    condition = Transformer(8, SPEC, length=6, path=str(tmp_path))
    assert condition.size == 12
    found = condition.ask(["a red dot", "dot"])
    assert found.there.sum(1).tolist() == [5, 3]
    with torch.inference_mode():
        alone = model(torch.tensor([[2, 7, 3]])).last_hidden_state[0].numpy()
    np.testing.assert_allclose(found.vectors[1, :3], alone, atol=2e-3)


def test_folders_that_hold_no_encoder_are_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hostile").mkdir()
    (tmp_path / "hostile/config.json").write_text("[1")
    for name in ("nowhere", "empty", "hostile"):
        with pytest.raises(UserError, match="no folder of a pretrained text encoder") as error:
            Transformer(8, SPEC, path=str(tmp_path / name)).null(1)
        assert "\n" not in str(error.value)
