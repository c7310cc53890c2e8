"""What is wrong with a run: rules that look at its Checkup, and say it with the remedy.

Rules of the data come first, since where these are spoilt no loss can be judged.
"""

from collections.abc import Iterator

import numpy as np

from ddm_jax.evaluation.diagnosis_of_sampling import (
    samples_not_finite,
    samples_unlike_the_data,
    wrong_schedule_at_sampling,
)
from ddm_jax.evaluation.health import Checkup, Finding

PART = 0.6  # of the range of their values, that many examples fill
FAR = 1.5  # times an error that it is compared with
AWAY = 3.0  # times their own length that no healthy run moves its weights
CERTAIN = 3.5  # standard errors


def images_all_equal(seen: Checkup) -> Iterator[Finding]:
    x = seen.x
    if x.examples == 1:
        yield Finding(False, "one example", "The data are one example, so losses have no yardstick")
    elif x.alike:
        yield Finding(
            True,
            "images all equal",
            f"The {x.examples:,} examples are all but equal: between them lies a variance of "
            f"{x.spread:.2g}, of {float((x.std**2).mean()):.2g} in all. Look at what the source "
            "reads; it may give the same file, or a blank one, every time",
        )


def data_scaled_twice(seen: Checkup) -> Iterator[Finding]:
    x = seen.x
    if seen.returned > 0.1:
        yield Finding(
            True,
            "data scaled twice",
            f"Examples that are scaled for the network and back come {seen.returned:.0%} of their "
            "range away from where they were: the scaling is done twice, or undone otherwise than "
            "it was done. Look at encode and decode of the codec",
        )
    if seen.limits is None or x.alike or x.examples == 1:
        return
    low, high = seen.limits
    width = high - low
    over = float((np.maximum(low - x.low, x.high - high) / width).max())
    if over > 0.02:
        yield Finding(
            True,
            "data scaled twice",
            f"Values lie up to {over:.0%} of their range beyond its ends, as if they were scaled "
            "twice. Look at the range that the source declares",
        )
    elif seen.used < PART and seen.levels and x.examples >= 100:
        yield Finding(
            True,
            "data scaled twice",
            f"All {x.examples:,} examples lie within {seen.used:.1%} of the range of their "
            "values, as if they were scaled twice, and schedules expect data that fill it. Mend "
            "the source; if the pictures are so, take codec.pixels.scaling=fitted",
        )
    elif float(x.std.max()) < 0.05:
        yield Finding(
            True,
            "data scaled twice",
            f"What the network is given has a deviation of {float(x.std.max()):.2g}, and schedules "
            "expect about 1: it drowns in noise at nearly all levels. Take "
            "codec.pixels.scaling=fitted",
        )


def average_never_updated(seen: Checkup) -> Iterator[Finding]:
    raw, averaged, count = seen.raw, seen.averaged, len(seen.times)
    worse = int((averaged.mean > 1.25 * raw.mean).sum())
    if seen.moved.raw > 0 and seen.moved.averaged < 1e-6 * seen.moved.raw:
        yield Finding(
            True,
            "EMA never updated",
            f"The averaged weights, that samples are drawn with, are the first ones after "
            f"{seen.step:,} steps, and the raw ones are not: the EMA was never updated. Call the "
            "average's update after each step and keep what it gives, with a decay below 1",
        )
    elif 2 * worse > count:
        share = seen.moved.averaged / max(seen.moved.raw, 1e-12)
        yield Finding(
            seen.finished,
            "EMA too slow",
            f"The averaged weights, that samples are drawn with, have a higher loss than the raw "
            f"ones at {worse} of {count} levels and have gone {share:.0%} of their way: the EMA is "
            "hardly updated" + ("" if seen.finished else " so far") + ". Lower average.ema.decay, "
            "or set average.ema.warmup=True",
        )


def rate_too_high(seen: Checkup) -> Iterator[Finding]:
    """Or hardly learnt, where no sign of too long strides is there."""
    count, raw = len(seen.times), seen.raw
    if not seen.usual or seen.learnt(raw):
        return
    constant, first = seen.above(raw, seen.x.spread, 1.1), seen.above(raw, seen.first)
    far = seen.above(raw, seen.gaussian, FAR)
    if 3 * constant < count and 2 * first < count and 2 * far < count:
        return
    signs = list(_strides(seen))
    losses = (
        f"The loss of the raw weights is above that of the best constant image at {constant} of "
        f"{count} levels and far above the Gaussian denoiser's at {far}"
    )
    if signs:
        yield Finding(
            True,
            "learning rate too high",
            f"{losses}; {', and '.join(signs)}: optim.lr={seen.lr:g} is too high. Lower it ten to "
            "a hundred times",
        )
    elif seen.finished:
        yield Finding(
            True,
            "hardly learnt",
            f"{losses} at the last of {seen.steps:,} steps. Train longer (train.steps), raise "
            "optim.lr, or give model more channels",
        )
    else:
        done = f"{seen.step:,} of {seen.steps:,} steps"
        yield Finding(False, "still learning", f"{losses}, after {done}; it may still be learning")


def _strides(seen: Checkup) -> Iterator[str]:
    """Signs of a learning rate that is too high."""
    log = seen.log
    if seen.moved.raw > AWAY:
        yield f"the weights have moved {seen.moved.raw:.3g} times their first length"
    if len(log.loss) >= 5:
        last = float(np.mean(log.loss[-max(1, len(log.loss) // 5) :]))
        if last > FAR * float(log.loss.min()):
            yield f"the training loss ended at {last:.3g} after a low of {log.loss.min():.3g}"
        elif last > 0.9 * float(log.loss[0]):
            yield f"the training loss has not fallen from {log.loss[0]:.3g}"
        if seen.clip and (log.grad_norm > 3 * seen.clip).all():
            yield f"the gradient was clipped to less than a third in all {len(log.loss)} rows"


def above_the_gaussian(seen: Checkup) -> Iterator[Finding]:
    """A network that is no better than an affine map, though it has learnt."""
    if not seen.usual or seen.learnt(seen.raw) or list(rate_too_high(seen)):
        return
    count = len(seen.times)
    above = seen.above(seen.raw, seen.gaussian)
    kind = "Gaussian" if seen.full else "Gaussian (of independent elements)"
    yield Finding(
        False,
        "still learning",
        f"The loss is above that of the data's own {kind} denoiser at {above} of {count} levels, "
        "which a well trained network is below: "
        + ("train longer, or take a larger network" if seen.finished else "it is still learning"),
    )


def below_the_reference(seen: Checkup) -> Iterator[Finding]:
    curve, best = seen.reference, min(seen.averaged, seen.raw, key=lambda of: of.mean.sum())
    if curve is None or seen.step < curve.step or not seen.learnt(best):
        return
    count, above = len(seen.times), seen.above(best, curve.at(seen.times), 1.25)
    if 2 * above >= count:
        yield Finding(
            True,
            "worse than the reference",
            f"The loss is more than a quarter above the reference curve of this config "
            f"({curve.name}, step {curve.step:,}) at {above} of {count} levels. Something of the "
            "code or of the data has changed since it was made; compare with an earlier version",
        )


def labels_shuffled(seen: Checkup) -> Iterator[Finding]:
    if seen.told is None or not seen.usual:
        return
    gain = seen.told.gain
    certain = gain.mean > CERTAIN * gain.error
    if (certain & (gain.mean > 0.005 * seen.gaussian)).any():
        return
    if not seen.learnt(seen.raw):
        yield Finding(
            False,
            "condition not used yet",
            "The loss is as low under the condition of another example; it is too early to say why",
        )
        return
    unrelated = seen.told.share is not None and seen.told.share[0] < 2 * seen.told.share[1]
    why = (
        "in the data the means of classes lie no further apart than by chance, so the labels are "
        "shuffled. Look at how the source pairs examples with labels"
        if unrelated
        else "labels may be shuffled on the way to the network, or never reach it. Look at "
        "condition, and at loss.class_dropout"
    )
    yield Finding(
        seen.finished or unrelated,
        "labels shuffled",
        "The condition carries nothing: at no level is the loss lower with an example's own than "
        f"with that of another, and {why}",
    )


DATA = (images_all_equal, data_scaled_twice)
REST = (
    wrong_schedule_at_sampling,
    average_never_updated,
    rate_too_high,
    above_the_gaussian,
    labels_shuffled,
    samples_not_finite,
    samples_unlike_the_data,
    below_the_reference,
)


def diagnose(seen: Checkup) -> list[Finding]:
    """What the rules find, faults first; of spoilt data nothing else, since all follows."""
    found = [finding for rule in DATA for finding in rule(seen)]
    if not any(finding.ill for finding in found):
        found += [finding for rule in REST for finding in rule(seen)]
    return sorted(found, key=lambda finding: not finding.ill)
