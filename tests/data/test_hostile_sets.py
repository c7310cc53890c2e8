"""Prepared TFDS sets are data: nothing that stands in one is imported, however it is written."""

import json
import sys

import pytest
from conftest import answer, as_trained

from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.errors import UserError

DICT = "tensorflow_datasets.core.features.features_dict.FeaturesDict"
SEQUENCE = "tensorflow_datasets.core.features.sequence_feature.Sequence"
EVIL = {"pythonClassName": "payload.Evil", "tensor": {}}


def within(feature):
    """A dict of features with `feature` in it."""
    return {"pythonClassName": DICT, "featuresDict": {"features": {"image": feature}}}


def as_json(content, name=DICT):
    return {"pythonClassName": name, "jsonFeature": {"json": json.dumps(content)}}


LEGACY = {"type": "payload.Evil", "content": {}}
SPELLINGS = {
    "at_the_top": EVIL,
    "in_a_dict": within(EVIL),
    "in_a_sequence": within({"pythonClassName": SEQUENCE, "sequence": {"feature": EVIL}}),
    "other_spelling": within({"python_class_name": "payload.Evil", "tensor": {}}),
    "legacy": LEGACY,
    "legacy_in_a_dict": {"type": DICT, "content": {"image": LEGACY}},
    "json_in_a_string": as_json({"image": LEGACY}),
    "json_in_a_sequence": within(as_json({"feature": LEGACY, "length": None}, SEQUENCE)),
    "below_the_module": within({"pythonClassName": "payload.deeper.Evil", "tensor": {}}),
}


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """The file that a module writes when it is imported; it can be found from everywhere."""
    path = tmp_path / "run" / "data"
    path.mkdir(parents=True)
    write = f"import pathlib\n\npathlib.Path({str(tmp_path / 'marker')!r}).touch()\n"
    (path / "payload.py").write_text(write)
    sys.modules.pop("payload", None)
    monkeypatch.syspath_prepend(str(path))
    return tmp_path / "marker"


def craft(folder, features, info=None):
    """The files of a prepared set."""
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(features))
    about = {"name": "crafted", "version": folder.name, "fileFormat": "array_record"}
    (folder / "dataset_info.json").write_text(json.dumps(about | (info or {})))


def refused(root, name, marker, match="payload"):
    with pytest.raises(UserError, match=match) as error:
        sources.load(DataOptions(name=f"tfds:{name}", dir=str(root)))
    assert not marker.exists() and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_class_that_is_not_a_plain_feature_is_refused(spelling, marker, tmp_path):
    root = tmp_path / "run" / "data"
    craft(root / "crafted" / "1.0.0", SPELLINGS[spelling])
    text = refused(root, "crafted", marker)
    assert str(root / "crafted/1.0.0/features.json") in text and "payload" in text
    assert "choose a set of plain image features" in text


def test_every_way_to_a_folder_is_guarded(marker, tmp_path):
    root, plain = tmp_path / "run" / "data", within({"pythonClassName": SEQUENCE})
    craft(root / "crafted" / "big" / "1.0.0", EVIL)
    refused(root, "crafted/big", marker)
    refused(root, "crafted/big:1.0.0", marker)
    refused(root, "crafted/big:1.*.*", marker)
    craft(root / "mnist" / "3.0.1", EVIL)  # a set that TFDS knows, by its version from files
    refused(root, "mnist:3.0.1", marker)
    craft(root / "informed" / "1.0.0", plain, {"name": "informed", "features": EVIL})
    assert "dataset_info.json" in refused(root, "informed", marker)
    (root / "linked").mkdir()
    (root / "linked" / "1.0.0").symlink_to(root / "crafted" / "big" / "1.0.0")
    refused(root, "linked", marker)
    (root / "led" / ".config").mkdir(parents=True)
    leads = json.dumps({"default_config_name": "../crafted/big"})
    (root / "led" / ".config" / "metadata.json").write_text(leads)
    refused(root, "led", marker)


@pytest.mark.parametrize(
    "name",
    [
        "huggingface:x",
        "kubric:movi_a",
        "payload.Evil",
        "../crafted",
        "/crafted",
        "crafted/..",
        "crafted/../x",
        "crafted/config=../x",
        "crafted/version=1.0.0,data_dir=/x",
        "crafted:1.0.0/payload",
    ],
)
def test_names_lead_to_sets_of_tfds_alone(name, marker, tmp_path):
    craft(tmp_path / "run" / "data" / "crafted" / "1.0.0", EVIL)
    refused(tmp_path / "run" / "data", name, marker, "<set>:<version>")


def test_files_that_make_no_sense_are_answered_in_one_line(marker, tmp_path):
    for number, features in enumerate(({"type": 5, "content": {}}, [], {"pythonClassName": DICT})):
        craft(tmp_path / f"set{number}" / "1.0.0", features)
        refused(tmp_path, f"set{number}", marker, f"set{number}")


@pytest.mark.parametrize(
    "verb",
    [
        ("--dry_run",),
        (),
        ("--mode", "evaluate"),
        ("--mode", "edit", "--config.edit.name=sdedit"),
    ],
    ids=["dry_run", "train", "evaluate", "edit"],
)
def test_a_saved_config_runs_nothing_of_its_folder(verb, tiny_run, marker, tmp_path, capsys):
    run = tmp_path / "run"
    as_trained(tiny_run, run)
    craft(run / "data" / "crafted" / "1.0.0", within(EVIL))
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"name": "tfds:crafted", "dir": str(run / "data")}
    (run / "config.json").write_text(json.dumps(config))
    where = ("--config", run / "config.json", "--workdir", run)
    code, _, err = answer(capsys, *(where[2:] if "--mode" in verb else where), *verb)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    assert "payload.Evil" in err and not marker.exists()
