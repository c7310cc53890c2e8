"""A folder of your own images on a CPU: their size, classes or captions are found by looking.

python launch.py --config configs/folder.py:my_images
python launch.py --config configs/folder.py:my_images --dry_run

Network and optimiser are those of configs/fashion_mnist.py. Pairs in the sub-folders `input` and
`target` make a model that is told a picture; captions or vectors in `metadata.jsonl` one that is
told these; other sub-folders are classes; without any of them the model is unconditional. Images
are kept at the size that all of them share, or brought to the middle of their shorter sides, and
made smaller where that leaves more than 32 pixels; `--config.data.size=64` takes more, at four
times the work. On a thousand RGB tiles of 32 x 32 pixels the last 499 of 600 steps took 31.9
minutes of CPU time; what they give is shown in experiments/gallery.
"""

from statistics import median

from ml_collections import ConfigDict

from configs import fashion_mnist
from ddm_jax.data.folder import Survey, survey

LARGEST = 32  # pixels of the shorter side
LONGEST = 255  # bytes of a caption; a longer one is named, with the remedy
MULTIPLE = 4  # the network halves every side twice


def get_config(folder: str = "") -> ConfigDict:
    if not folder:
        raise ValueError("name your folder, as in --config configs/folder.py:my_images")
    found = survey(folder)
    height, width = size_of(found.spaces)
    config = fashion_mnist.get_config()
    config.data.update(name=f"folder:{folder}", size=(height, width))
    config.model.ddpm_unet.attention = (height // MULTIPLE,)
    config.train.steps = 600
    condition = condition_of(found)
    config.condition.name = condition
    if condition == "image":
        config.condition.image.factor = 0
    if condition == "text":
        config.condition.text.length = min(found.longest, LONGEST) + 1
    if condition == "nothing":
        config.loss.class_dropout = 0.0
        config.guidance.name = "none"
    return config


def size_of(spaces: list[tuple[int, int]]) -> tuple[int, int]:
    """(height, width) that images of these sizes are brought to, whole multiples of MULTIPLE."""
    side = round(median(min(space) for space in spaces))
    height, width = spaces[0] if len({*spaces}) == 1 else (side, side)
    shrink = min(1.0, LARGEST / min(height, width))
    height, width = (max(1, round(shrink * n / MULTIPLE)) * MULTIPLE for n in (height, width))
    return height, width


def condition_of(found: Survey) -> str:
    """The row of CONDITIONS for what stands beside the images."""
    if found.pairs:
        return "image"
    if found.longest:
        return "text"
    if found.embedded:
        return "embeddings"
    return "classes" if found.classes else "nothing"
