"""What is known to be wrong in the task of a classifier."""

from collections.abc import Iterator

from ddm_jax.config.findings import Finding, wrong
from ddm_jax.tasks.classifier import Classifier


def classes(task: Classifier) -> Iterator[Finding]:
    if len(task.spec.classes) < 2:
        yield wrong(
            f"a classifier needs data with at least two classes, and {task.spec.name} has "
            f"{len(task.spec.classes)}; take other data"
        )


def augment_labels(task: Classifier) -> Iterator[Finding]:
    if task.augment.label_size:
        yield wrong(
            "a classifier is not told how its examples were changed, as this augmentation needs; "
            "take augment.name=none"
        )


RULES = (classes, augment_labels)
