"""What is wrong with how a run samples: rules that look at its Checkup."""

from collections.abc import Iterator

import numpy as np

from ddm_jax.evaluation.health import Checkup, Finding

SIGNAL, MUCH_SIGNAL = 1e-3, 0.02  # SNR where sampling starts from noise: noted, and wrong
UNLIKE = 0.3  # of the deviation that sampling should start with
FAR = 1.5  # times the deviation of the data, or a part of it


def wrong_schedule_at_sampling(seen: Checkup) -> Iterator[Finding]:
    time, snr, apart, noise = seen.start
    if apart > 0.1:
        yield Finding(
            True,
            "wrong schedule at sampling",
            f"Sampling runs on another schedule than training: their log-SNR are up to {apart:.3g} "
            "apart at the same time. Sample with the schedule of the weights",
        )
    elif abs(noise - 1) > UNLIKE:
        yield Finding(
            True,
            "wrong schedule at sampling",
            f"Sampling starts from x with {noise:.2g} times the deviation that the schedule has at "
            f"t = {time:.3g}. Start from noise that is drawn and scaled for the schedule",
        )
    elif snr > SIGNAL:
        yield Finding(
            snr > MUCH_SIGNAL,
            "wrong schedule at sampling",
            f"Sampling starts from pure noise at t = {time:.3g}, where in training "
            f"{snr / (1 + snr):.1%} of the variance is still signal. Take a timesteps that starts "
            "at t = 1, or a schedule that ends lower (scaled=True, more steps, zero_terminal)",
        )


def samples_not_finite(seen: Checkup) -> Iterator[Finding]:
    if seen.data is not None and seen.samples is None:
        yield Finding(
            True,
            "samples not finite",
            "Some samples hold values that are not finite. Take another sampler, more sample.steps "
            "or sample.clip=static, or train at a lower optim.lr",
        )


def samples_unlike_the_data(seen: Checkup) -> Iterator[Finding]:
    """Moments alone, and only where the losses are fine, so that it is sampling that they judge."""
    data, samples = seen.data, seen.samples
    if data is None or samples is None or not seen.usual or not seen.learnt(seen.averaged):
        return
    std = np.maximum(data.std, 1e-3)
    shift = float((abs(samples.mean - data.mean) / std).max())
    wider = samples.std / std
    off = [f"their mean lies {shift:.2g} deviations away"] if shift > 0.5 else []
    if wider.max() > FAR or wider.min() < 1 / FAR:
        worst = float(max(wider, key=lambda r: abs(np.log(max(r, 1e-6)))))
        off.append(f"their deviation is {worst:.2g} times that of the data")
    if samples.spread < 0.1 * data.spread:
        off.append("they are all but equal to each other")
    if off:
        yield Finding(
            True,
            "wrong schedule at sampling",
            f"Losses are fine and samples are not: {', and '.join(off)}. Sampling does not fit "
            "training: look at the schedule, the grid, the noise and the scaling that it uses, and "
            "at sample.steps, sampler and sample.clip",
        )
