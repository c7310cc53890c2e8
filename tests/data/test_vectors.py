"""Vectors that come with the data: from metadata.jsonl, or from a file beside them."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from ddm_jax.data import sources
from ddm_jax.data.dataset import COLUMNS, DataOptions, Spec, check_same_data
from ddm_jax.data.vectors import asked_vector, each_vector, read_vectors
from ddm_jax.errors import UserError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(3, 4)).astype(np.float32)
DIGITS = RNG.normal(size=(1797, 5))


@pytest.fixture
def folder(tmp_path):
    """Three grey pictures, whose lines of metadata.jsonl stand in another order."""
    for k, name in enumerate("abc"):
        Image.new("L", (8, 8), 80 * k).save(tmp_path / f"{name}.png")
    return tmp_path


def tell(folder, *lines):
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return sources.load(DataOptions(name=f"folder:{folder}"))


def line(k, **more):
    return {"file_name": f"{'abc'[k]}.png", "embedding": ROWS[k].tolist(), **more}


def test_vectors_of_a_folder_follow_its_pictures(folder):
    data = tell(folder, line(2), line(0), line(1))
    np.testing.assert_array_equal(data.columns["embedding"], ROWS)
    assert data.columns["embedding"].dtype == np.float32 and "text" not in data.columns
    assert data.spec.embedding == 4 and not data.spec.captioned and not data.problems
    assert Spec.read(json.loads(json.dumps(dataclasses.asdict(data.spec)))) == data.spec


def test_a_folder_may_have_captions_too_and_other_vectors_are_other_data(folder):
    data = tell(folder, *(line(k, text=f"number {k}") for k in range(3)))
    assert data.columns["text"].tolist() == ["number 0", "number 1", "number 2"]
    np.testing.assert_array_equal(data.columns["embedding"], ROWS)
    without = tell(folder, line(0, text="number 0"), line(1), line(2, text="number 2"))
    assert {name for name, _ in without.problems} == {"metadata.jsonl:2", "b.png"}
    np.testing.assert_array_equal(without.columns["embedding"], ROWS[[0, 2]])
    swapped = tell(folder, *(line(k, text=f"number {k}", embedding=[1, 2, 3, k]) for k in range(3)))
    with pytest.raises(UserError, match="the embeddings differ; bring the data back"):
        check_same_data(swapped.spec, data.spec)


def test_pictures_whose_lines_changed_places_have_each_other_s_vectors(folder):
    """Where the vectors and their order in the file are what they were."""
    tell(folder, line(0), line(1), line(2))
    other = tell(
        folder, {**line(0), "file_name": "b.png"}, {**line(1), "file_name": "a.png"}, line(2)
    )
    np.testing.assert_array_equal(other.columns["embedding"], ROWS[[1, 0, 2]])


@pytest.mark.parametrize(
    "change, reason",
    [
        (
            {"embedding": [1.0, 2.0]},
            "has 2 numbers in one line and 4 in another; give all the same",
        ),
        ({"embedding": [1.0, float("nan"), 0, 0]}, ":2: the embedding is no vector (row 0 holds"),
        ({"embedding": [1e300, 0, 0, 0]}, "no finite float32 number); give"),
        ({"embedding": ["1", "2", "3", "4"]}, "is no type of number"),
        ({"embedding": [[1.0], [2.0, 3.0]]}, "the rows differ in length"),
        ({"embedding": []}, "the shape is (1, 0)"),
        ({"embedding": None}, "is no type of number"),
    ],
)
def test_what_is_no_vector_is_refused_with_its_line(folder, change, reason):
    with pytest.raises(UserError) as caught:
        tell(folder, line(0), {**line(1), **change}, line(2))
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    missing = line(1)
    del missing["embedding"]
    with pytest.raises(UserError, match="metadata.jsonl:2 has no embedding, and other lines"):
        tell(folder, line(0), missing, line(2))


def test_a_metadata_that_is_no_text_is_refused(folder):
    (folder / "metadata.jsonl").write_bytes(b"\xff\xfe\0\x81")
    with pytest.raises(UserError, match="cannot be read as text"):
        sources.load(DataOptions(name=f"folder:{folder}"))


@pytest.mark.parametrize("end", ["npy", "npz"])
def test_a_file_beside_any_data_gives_each_example_its_row(tmp_path, end):
    path = tmp_path / f"train.{end}"
    np.savez(path, DIGITS) if end == "npz" else np.save(path, DIGITS)
    plain = sources.load(DataOptions())
    data = sources.load(DataOptions(embeddings=f"{tmp_path}/{{split}}.{end}"))
    np.testing.assert_array_equal(data.columns["embedding"], DIGITS.astype(np.float32))
    assert data.spec.embedding == 5 and plain.spec.embedding == 0
    place = list(COLUMNS).index("embedding")
    assert data.spec.sha256[:place] == plain.spec.sha256[:place]
    assert len(data.spec.sha256[place]) == 64 and plain.spec.sha256[place] == ""
    few = sources.load(DataOptions(embeddings=str(path), without=("0", "5")))
    kept = ~np.isin(plain.columns["label"], [0, 5])
    np.testing.assert_array_equal(few.columns["embedding"], DIGITS[kept].astype(np.float32))


def test_a_file_for_other_data_is_refused(tmp_path, folder):
    np.save(tmp_path / "v.npy", DIGITS[:9])
    with pytest.raises(UserError, match="9 vectors for 1,797 examples of digits; give one for"):
        sources.load(DataOptions(embeddings=str(tmp_path / "v.npy")))
    tell(folder, line(0), line(1), line(2))
    with pytest.raises(UserError, match="has embeddings of its own; leave data.embeddings empty"):
        sources.load(DataOptions(name=f"folder:{folder}", embeddings=str(tmp_path / "v.npy")))


def test_asked_vectors_are_rows_of_files(tmp_path):
    one, several = str(tmp_path / "one.npy"), str(tmp_path / "several.npy")
    np.save(one, ROWS[1])
    np.save(several, ROWS)
    assert each_vector(one) == (one,) and each_vector("/nowhere.npy") == ("/nowhere.npy",)
    parts = each_vector(several)
    assert parts == tuple(f"{several}:{k}" for k in range(3))
    assert [part for each in map(each_vector, parts) for part in each] == list(parts)
    for part, row in zip(parts, ROWS, strict=True):
        np.testing.assert_array_equal(asked_vector(part, 4), row)
    np.testing.assert_array_equal(asked_vector(one, 4), ROWS[1])


def saved(array):
    return lambda path: np.save(path, array)


def written(content):
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (written(b""), "holds no vectors"),
        (written(b"no array"), "holds no vectors"),
        (written(b"\x93NUMPY\x01\x00\xff\xff{"), "holds no vectors"),
        (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "holds no vectors"),
        (saved(np.array(["a"])), "is no type of number"),
        (saved(np.zeros((0, 4))), "the shape is (0, 4)"),
        (saved(np.zeros((2, 2, 2))), "the shape is (2, 2, 2)"),
        (saved(np.array([[0.0] * 4, [1.0, np.inf, 0, 0]])), "row 1 holds what is no finite"),
        (saved(np.zeros(3)), "vectors of 3 numbers, and those of the data have 4; make them as"),
        (saved(ROWS), "holds 3 vectors; name one, as in"),
    ],
)
def test_a_file_of_no_vector_is_one_line(make, reason, tmp_path):
    make(tmp_path / "v.npy")
    with pytest.raises(ValueError) as caught:
        asked_vector(str(tmp_path / "v.npy"), 4)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_row_or_an_archive_that_is_not_there_is_one_line(tmp_path):
    np.save(tmp_path / "v.npy", ROWS)
    with pytest.raises(ValueError, match="has rows 0 to 2, and none of 3; name one"):
        asked_vector(f"{tmp_path / 'v.npy'}:3", 4)
    np.savez(tmp_path / "two.npz", ROWS, ROWS)
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 cut")
    for name in ("two.npz", "no.npz"):
        with pytest.raises(ValueError, match="holds no vectors .*; give an .npy"):
            read_vectors(str(tmp_path / name))


def test_a_file_is_read_once_for_all_its_rows_and_anew_where_it_changed(tmp_path, monkeypatch):
    name, reads, read = str(tmp_path / "v.npy"), [], np.lib.format.read_array

    def counted(*arguments, **settings):
        reads.append(arguments)
        return read(*arguments, **settings)

    monkeypatch.setattr(np.lib.format, "read_array", counted)
    np.save(name, ROWS)
    rows = [asked_vector(one, 4) for one in each_vector(name)]
    np.testing.assert_array_equal(rows, ROWS)
    assert len(reads) == 1
    np.save(name, np.concatenate([ROWS, 2 * ROWS]))
    assert len(each_vector(name)) == 2 * len(ROWS) and len(reads) == 2
    with pytest.raises(ValueError, match="read-only"):
        read_vectors(name)[0] = 0
