"""`tfds:<name>`: TensorFlow Datasets, read without TensorFlow once they are prepared."""

import re
import socket
import urllib.parse
from collections.abc import Container, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from ddm_jax.data.cache import Decoded, cached
from ddm_jax.data.dataset import DataOptions, Dataset, NoSplit, Report
from ddm_jax.data.images import fit
from ddm_jax.errors import UserError, unknown
from ddm_jax.files import new_array

_PATIENCE = 3.0  # seconds that a host may take to answer
_NAME = re.compile(r"[a-zA-Z]\w*(/[\w+-][\w+.-]*)?(:(\d+|\*)(\.(\d+|\*)){2})?")
_CHARACTERS = ("emnist", "kmnist", "mnist", "svhn_cropped")  # sets that mirroring spoils
_CAPTIONS = ("caption", "text")  # names of features that are captions
_FEATURES = frozenset(  # what image sets are made of; these hold data and import nothing
    f"tensorflow_datasets.core.features.{name}"
    for name in (
        "bounding_boxes.BBoxFeature",
        "class_label_feature.ClassLabel",
        "dataset_feature.Dataset",
        "feature.Tensor",
        "features_dict.FeaturesDict",
        "image_feature.Image",
        "labeled_image.LabeledImage",
        "scalar.Scalar",
        "sequence_feature.Sequence",
        "tensor_feature.Tensor",
        "text_feature.Text",
    )
)


def tfds(name: str, options: DataOptions, report: Report) -> Dataset:
    """A TFDS image set, prepared first where that is needed and possible.

    Preparing extracts archives with TensorFlow and needs the network, or the original files in
    `data.downloads`. The network is tried for at most 3 s before anything waits on it.

    Both the name and the folder may come from a run's `config.json`, whose writer need not be
    trusted: a name is `set`, `set/config` or `set:version` and leads to the code of TFDS alone
    (`namespace:set` would fetch code, and `/key=value` pass anything on), and what a folder holds
    is only read as data (`_only_data`). So it does not matter where `data.dir` points.
    """
    import tensorflow_datasets as tfds_

    if not name:
        raise UserError("name the TFDS set, as in --config.data.name=tfds:cifar10")
    if not _NAME.fullmatch(name):
        raise UserError(f"tfds:{name} is no <set>, <set>/<config> or <set>:<version>; write one")
    directory = str(Path(options.dir).expanduser()) if options.dir else None
    try:
        with _only_data(name, directory, tfds_):
            builder = tfds_.builder(name, data_dir=directory)
    except UserError:
        raise
    except tfds_.core.DatasetNotFoundError:
        raise _not_found(name, tfds_) from None
    except Exception as error:  # TFDS raises whatever a broken file leads to
        raise UserError(f"tfds:{name}: {_first_line(error)}") from error
    if not builder.is_prepared():
        _prepare(builder, name, options, tfds_, report=report)
    if "image" not in cast(Container, builder.info.features):
        raise UserError(f"tfds:{name} has no 'image' feature; choose an image data set")
    if options.split not in builder.info.splits:
        raise NoSplit(*unknown(f"split of tfds:{name}", options.split, builder.info.splits).args)
    key = {
        "name": f"tfds:{name}",
        "version": builder.info.full_name,
        "path": str(builder.data_path),
        "split": options.split,
        "size": options.space,
        "channels": options.channels,
    }
    return cached(
        options.cache, key, lambda path: _decode(builder, name, options, path, report=report)
    )


@contextmanager
def _only_data(name: str, directory: str | None, tfds_: Any) -> Iterator[None]:
    """Within, TFDS restores features of the classes in _FEATURES alone; UserError for others.

    The JSON files of a prepared set name the class of each feature, and where TFDS does not know
    it, `FeatureConnector.cls_from_name` imports its module. All names, of whatever file, spelling
    and depth, come through there.
    """
    connector = tfds_.features.FeatureConnector
    original = vars(connector)["cls_from_name"]

    def known(class_name: str) -> type:
        if class_name not in _FEATURES:
            folder = Path(directory or tfds_.core.constants.DATA_DIR) / _set_of(name)
            raise UserError(
                f"{_file_with(class_name, folder)} names the class {class_name!r}, which TFDS "
                "would import; choose a set of plain image features, or mend the file"
            )
        return original.__func__(connector, class_name)

    connector.cls_from_name = staticmethod(known)
    try:
        yield
    finally:
        connector.cls_from_name = original


def _set_of(name: str) -> str:
    """`emnist` of `emnist/digits:3.0.1`."""
    return re.split("[/:]", name)[0]


def _file_with(text: str, folder: Path) -> Path:
    """The JSON file of a prepared set in which `text` stands, or the set's folder."""
    files = [file for depth in ("*", "*/*") for file in sorted(folder.glob(f"{depth}/*.json"))]
    return next((file for file in files if str(text) in file.read_text(errors="replace")), folder)


def _decode(
    builder: Any, name: str, options: DataOptions, path: Path, *, report: Report
) -> Decoded:
    features, count = builder.info.features, builder.info.splits[options.split].num_examples
    shape = features["image"].shape
    space = options.space or shape[:2]
    if None in space:
        raise UserError(f"images of tfds:{name} differ in size; set --config.data.size=64, say")
    channels = options.channels or shape[2] or 3
    images = new_array(path, np.uint8, (count, *space, channels))
    label = features["label"] if "label" in features else None
    classes = getattr(label, "names", None) or ()  # other kinds of label are no classes
    labels = np.zeros(count, np.int32) if classes else None
    caption = next((name for name in _CAPTIONS if name in features), None)
    texts = []
    for i, example in enumerate(_examples(builder, name, options.split, count)):
        if i % 10000 == 0:
            report(f"decoding tfds:{name}: {i:,} of {count:,}")
        pixels = example["image"]
        if pixels.shape != images.shape[1:]:
            mode = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
            pixels = fit(Image.fromarray(mode), space, channels)
        images[i] = pixels
        if labels is not None:
            labels[i] = example["label"]
        if caption is not None:
            texts.append(_text(example[caption], f"{caption!r} of example {i:,} of tfds:{name}"))
    images.flush()
    columns = {"label": labels, "text": np.array(texts) if texts else None}
    known = {name: column for name, column in columns.items() if column is not None}
    about = {"mirrors": _set_of(name) not in _CHARACTERS}
    return Decoded(known, classes, about=about)


def _text(value: Any, what: str) -> str:
    """A caption, as TFDS gives it."""
    if not isinstance(value, str | bytes):
        raise UserError(f"{what} is {type(value).__name__}, and captions are texts")
    return value if isinstance(value, str) else value.decode(errors="replace")


def _examples(builder: Any, name: str, split: str, count: int) -> Iterator[dict[str, Any]]:
    """Every example in its stored order; without TensorFlow where the format allows it."""
    if builder.info.file_format.value == "array_record":
        source = builder.as_data_source(split)
        for start in range(0, count, 500):
            yield from source.__getitems__(list(range(start, min(start + 500, count))))
    elif find_spec("tensorflow"):
        import tensorflow_datasets as tfds_

        yield from tfds_.as_numpy(builder.as_dataset(split, shuffle_files=False))
    else:
        raise UserError(
            f"tfds:{name} is prepared as {builder.info.file_format.value}, which only TensorFlow "
            'reads: pip install -e ".[tf]"'
        )


def _prepare(builder: Any, name: str, options: DataOptions, tfds_: Any, *, report: Report) -> None:
    where = f"tfds:{name} is not prepared in {builder.data_path}"
    if not find_spec("tensorflow"):
        raise UserError(
            f'{where}; to prepare it once: pip install -e ".[tf]", with network; or point '
            "--config.data.dir at a folder where TFDS has prepared it"
        )
    config = tfds_.download.DownloadConfig()
    if options.downloads:
        downloads = Path(options.downloads).expanduser()
        if not downloads.is_dir():
            raise UserError(f"data.downloads={downloads} is no folder")
        config.manual_dir = str(downloads.absolute())
    else:
        _require_network(builder, where)
    report(f"preparing tfds:{name} in {builder.data_path} (once)")
    try:
        builder.download_and_prepare(download_config=config, file_format="array_record")
    except Exception as error:  # TFDS raises whatever its readers and TensorFlow raise
        raise UserError(f"preparing tfds:{name} failed: {_first_line(error)}") from error


def _require_network(builder: Any, where: str) -> None:
    urls = list(getattr(builder, "url_infos", None) or {}) or ["https://storage.googleapis.com"]
    host = urllib.parse.urlparse(urls[0]).hostname
    try:
        socket.create_connection((host, 443), timeout=_PATIENCE).close()
    except OSError:
        raise UserError(
            f"{where}, and {host} cannot be reached; connect once, or put the original files in a "
            "folder for --config.data.downloads, or point --config.data.dir at prepared data"
        ) from None


def _not_found(name: str, tfds_: Any) -> UserError:
    error = unknown("TFDS data set", name, tfds_.list_builders(with_community_datasets=False))
    return UserError(error.args[0].split(" choose one of")[0].rstrip(";") + " (tfds:<name>)")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
