"""The table of deliberate errors, one or more for each row that has a formula, and their tests.

python tests/mutations.py [part of a name ...]

See mutating.py for how an error is planted. Prints `caught` or `missed` with its row, a line each.
"""

import sys

from mutating import Mutation, main

ORDERS, RANDOM, CHAINS = "test_sampler_orders", "test_sampler_distributions", "test_gaussian_chains"
STEPS, FORMS_OF = "test_sampler_steps", "test_schedules"


def order(name: str, schedule: str = "VP") -> tuple[str, str]:
    """The order of convergence of a class of samplers on one schedule."""
    return ORDERS, f"converge and {name} and {schedule}"


def chain(name: str) -> tuple[str, str]:
    """The exact mean and variance of a coarse chain."""
    return CHAINS, f"coarse_chain and {name}"


SAMPLERS = (
    Mutation(
        "ddpm", "DDPM.step", "0.5 * log_variance", "log_variance", (RANDOM, "published_algorithm")
    ),
    Mutation("ddim", "DDIM.step", "schedule.alpha(s)", "schedule.alpha(t)", order("DDIM")),
    Mutation("ddim", "DDIM.step", "self.eta**2", "self.eta", (RANDOM, "reach and DDIM")),
    Mutation(
        "consistency",
        "Consistency.step",
        "diffuse(schedule, x0_t, normal_like(key, x_t), s)",
        "diffuse(schedule, x0_t, normal_like(key, x_t), t)",
        (RANDOM, "consistency"),
    ),
    Mutation(
        "euler",
        "Euler.step",
        "exponential_step(schedule, x_t, denoise(x_t, t, s).x0, t, s)",
        "exponential_step(schedule, x_t, denoise(x_t, t, s).x0, s, t)",
        order("Euler"),
    ),
    Mutation(
        "euler_ancestral",
        "EulerAncestral.step",
        "jnp.sqrt(gap)",
        "gap",
        (RANDOM, "reach and EulerAncestral and VP"),
    ),
    Mutation(
        "heun",
        "Heun.step",
        "0.5 * alpha_s",
        "alpha_s",
        order("Heun"),
    ),
    Mutation("heun", "Heun._lift", "lifted**2 - r**2", "lifted - r", (ORDERS, "karras")),
    Mutation("heun's S_noise", "Heun._lift", "self.noise", "1.0", chain("Heun")),
    Mutation(
        "heun's S_min",
        "Heun._lift",
        "(self.low <= r) & (r <= self.high)",
        "r <= self.high",
        chain("Heun"),
    ),
    Mutation(
        "heun's S_max",
        "Heun._lift",
        "(self.low <= r) & (r <= self.high)",
        "self.low <= r",
        chain("Heun"),
    ),
    Mutation(
        "midpoint",
        "Midpoint.step",
        "-jnp.expm1(lambda_t - lambda_s)",
        "jnp.expm1(lambda_t - lambda_s)",
        order("Midpoint"),
    ),
    Mutation(
        "euler_maruyama",
        "EulerMaruyama.step",
        "jnp.sqrt(g2 * h)",
        "g2 * jnp.sqrt(h)",
        (RANDOM, "reach and EulerMaruyama and VP"),
    ),
    Mutation(
        "euler_maruyama's slopes", "EulerMaruyama.step", "0.5 * (t + s)", "s", chain("Maruyama")
    ),
    Mutation(
        "adams_bashforth",
        "AdamsBashforth.init",
        "self.order - 1",
        "self.order - 2",
        order("AdamsBashforth"),
    ),
    Mutation("pndm", "PNDM.step", "EQUAL[1:]", "EQUAL[:-1]", order("PNDM")),
    Mutation("deis", "DEIS.init", "self.order - 1", "self.order - 2", order("DEIS")),
    Mutation("deis's quadrature", "nodes", "_rule(64)", "_rule(8)", (STEPS, "quadrature")),
    Mutation("dpmpp_2m", "DPMpp2M.step", "2 * h_r", "h_r", order("DPMpp2M")),
    Mutation("dpmpp_3m", "DPMpp3M.step", "2 * bend", "bend", (ORDERS, "polynomials")),
    Mutation("phi", "phi", "n - 1", "n", (ORDERS, "polynomials")),
    Mutation(
        "unipc",
        "UniPC._move",
        "0.5 * b * over(x0[1] - x0[0], u[1])",
        "b * over(x0[1] - x0[0], u[1])",
        order("UniPC"),
    ),
    Mutation(
        "predictor_corrector",
        "PredictorCorrector.step",
        "jnp.sqrt(2 * e)",
        "jnp.sqrt(e)",
        (CHAINS, "settles"),
    ),
    Mutation(
        "predictor_corrector's a",
        "PredictorCorrector.step",
        "(schedule.alpha(t) / schedule.alpha(s)) ** 2",
        "schedule.alpha(s) ** 0",
        (CHAINS, "settles"),
    ),
    Mutation(
        "predictor_corrector in few dimensions",
        "PredictorCorrector.step",
        "x_s[0].size < FEW",
        "x_s[0].size < 0",
        (CHAINS, "two_dimensions"),
    ),
    Mutation(
        "adaptive",
        "Adaptive.step",
        "x_t / scale_t",
        "x_t / scale_s",
        (ORDERS, "adaptive_samplers and VE"),
    ),
    Mutation(
        "times of each example's own",
        "rates",
        "expand(half, x)",
        "half",
        (STEPS, "alone and euler"),
    ),
    Mutation("times that come twice", "_walk", "s == t", "s > t", (STEPS, "twice and dpmpp_2m")),
    Mutation(
        "keys of times that come twice",
        "_walk",
        "jnp.cumsum(moved, 0) - moved",
        "jnp.arange(len(moved))",
        (STEPS, "twice and ddpm"),
    ),
)
CURVES = (FORMS_OF, "curves")
FORMS = (FORMS_OF, "published_form")
EQUATIONS = (FORMS_OF, "published_equations")
FIGURES = (FORMS_OF, "signal_left")
SCHEDULES = (
    Mutation("linear", "Linear.betas", "1000 / self.num_timesteps", "1.0", (FORMS_OF, "scaled")),
    Mutation(
        "linear",
        "Linear.betas",
        "np.linspace(self.beta_start, self.beta_end, self.num_timesteps)",
        "np.linspace(self.beta_start, self.beta_end, self.num_timesteps + 1)[1:]",
        FORMS,
    ),
    Mutation(
        "cosine",
        "Cosine.betas",
        "np.cos(np.pi / 2 * (i + self.s) / (1 + self.s)) ** 2",
        "np.cos(np.pi / 2 * (i + self.s) / (1 + self.s))",
        FIGURES,
    ),
    Mutation("scaled_linear", "_root_linear", "end**0.5", "end", FORMS),
    Mutation("quadratic", "Quadratic.betas", "self.beta_end", "self.beta_start", FORMS),
    Mutation("constant", "Constant.betas", "self.beta", "self.beta**2", FORMS),
    Mutation(
        "inverse",
        "Inverse.betas",
        "self.num_timesteps - np.arange(self.num_timesteps)",
        "self.num_timesteps + 1 - np.arange(self.num_timesteps)",
        FORMS,
    ),
    Mutation(
        "continuous_cosine",
        "ContinuousCosine.curve",
        "2 * jnp.log(jnp.sin(jnp.pi / 2 * rest) / jnp.sin(jnp.pi / 2 * u))",
        "jnp.log(jnp.sin(jnp.pi / 2 * rest) / jnp.sin(jnp.pi / 2 * u))",
        CURVES,
    ),
    Mutation("sigmoid", "Sigmoid.curve", "rest - u", "rest", CURVES),
    Mutation(
        "laplace", "Laplace.curve", "-jnp.log(2 * u)", "-jnp.log(u)", (FORMS_OF, "curves or ends")
    ),
    Mutation("vp", "VP.inverse", "-logsnr", "logsnr", (FORMS_OF, "inverts and vp")),
    Mutation("sub_vp", "SubVP.sigma", "-jnp.expm1(-self._b(t))", "jnp.exp(-self._b(t))", EQUATIONS),
    Mutation(
        "offset_cosine",
        "OffsetCosine.alpha",
        "jnp.sin(self._ends()[1] + (1 - real(t)) * self._span())",
        "jnp.cos(self._ends()[1] + (1 - real(t)) * self._span())",
        FIGURES,
    ),
    Mutation(
        "ve",
        "VE.logsnr",
        "-2 * (np.log(self.min_sigma) + real(t) * ratio)",
        "-(np.log(self.min_sigma) + real(t) * ratio)",
        EQUATIONS,
    ),
    Mutation(
        "edm",
        "EDM.sigma",
        "(start + real(t) * (end - start)) ** self.rho",
        "(start + real(t) * (end - start)) ** (self.rho - 1)",
        CURVES,
    ),
    Mutation("flow", "Flow.sigma", "1 - 2 * self.epsilon", "1.0", CURVES),
    Mutation(
        "learned",
        "Monotone.logsnr",
        "jax.nn.softplus(w.span) * (self._g(t) - start) / (end - start)",
        "jax.nn.softplus(w.span) * (self._g(t) - start) / end",
        CURVES,
    ),
    Mutation(
        "the rest from the wrong end",
        "Curve.logsnr",
        "end + (1 - t) * span",
        "1 - (start + t * span)",
        (FORMS_OF, "inverts and sigmoid or ends and sigmoid"),
    ),
    Mutation(
        "times from the clean end alone",
        "Curve.time",
        "u < rest",
        "u < 2.0",
        (FORMS_OF, "last_digits"),
    ),
    Mutation(
        "an end that is too steep",
        "check_noisy_end",
        "max(0.0, gain * float(np.log(finest / rest)))",
        "0.0",
        (FORMS_OF, "follow"),
    ),
    Mutation(
        "an end without signal",
        "check_signal",
        "logsnr > _LOWEST",
        "True",
        (FORMS_OF, "without_signal"),
    ),
)
SHARED = (
    Mutation(
        "posterior",
        "posterior",
        "schedule.alpha(t) / alpha_s",
        "alpha_s / schedule.alpha(t)",
        (RANDOM, "eta_one and linear"),
    ),
    Mutation(
        "forward_kernel",
        "forward_kernel",
        "schedule.alpha(t) / schedule.alpha(s)",
        "schedule.alpha(s) / schedule.alpha(t)",
        (FORMS_OF, "one_step_kernels"),
    ),
    Mutation("sde", "sde", "schedule.sigma(t) ** 2", "schedule.sigma(t)", EQUATIONS),
    Mutation(
        "levels", "DiscreteSchedule.logsnr", "self.num_timesteps - 1", "self.num_timesteps", FORMS
    ),
    Mutation(
        "loop",
        "_walk",
        "(times[:-1], times[1:], jnp.cumsum(moved, 0) - moved)",
        "(times[:-1], times[:-1], jnp.cumsum(moved, 0) - moved)",
        ("test_samplers", "loop"),
    ),
    Mutation(
        "uniform",
        "UniformGrid.times",
        "np.linspace(1.0, 0.0, steps, dtype=np.float32)",
        "np.linspace(1.0, 0.1, steps, dtype=np.float32)",
        ("test_grids", "even"),
    ),
    Mutation(
        "trailing",
        "TrailingGrid.times",
        "np.arange(steps)",
        "np.arange(steps) + 1",
        ("test_grids", "some and trailing"),
    ),
)
STEP = "test_whole_step"
TRAINING = (
    Mutation(
        "the average's count",
        "make_train_step",
        "state.step + 1",
        "state.step",
        (STEP, "numpy and sgd-True-1"),
    ),
    Mutation(
        "the average's count",
        "make_train_step",
        "average.update(state.ema_params, params, n)",
        "average.update(state.ema_params, params, n - 1)",
        (STEP, "numpy and sgd-True-1"),
    ),
    Mutation(
        "what a loss sees of the average",
        "make_train_step",
        "average.read(state.ema_params)",
        "state.params",
        (STEP, "sees_the_step"),
    ),
    Mutation(
        "ema",
        "Ema.update",
        "1 - d",
        "1 - d / 2",
        ("test_averages", "weights_that_do_not_move"),
    ),
    Mutation(
        "ema", "Ema.rate", "(1 + n) / (10 + n)", "n / (10 + n)", ("test_averages", "numpy and True")
    ),
    Mutation(
        "the average's own memory",
        "Ema.init",
        "jax.tree.map(jnp.copy, params)",
        "params",
        ("test_averages", "one_form"),
    ),
    Mutation(
        "the importance weight in the loss",
        "make_train_step",
        "terms.weight * terms.loss",
        "terms.loss",
        (STEP, "whole_weight"),
    ),
    Mutation(
        "the importance weight of a time",
        "diffusion_loss",
        "time_sampler.weight(t, memory)",
        "jnp.ones_like(t)",
        ("test_draws", "preference"),
    ),
    Mutation(
        "clipping before the optimiser",
        "Optim.transform",
        "optax.chain(*clip, OPTIMIZERS[self.name](self, lambda n: self.rate(n, steps)))",
        "optax.chain(OPTIMIZERS[self.name](self, lambda n: self.rate(n, steps)), *clip)",
        (STEP, "numpy and adam-True-1"),
    ),
    Mutation(
        "the decay of adamw",
        "Optim.transform",
        "OPTIMIZERS[self.name](self, lambda n: self.rate(n, steps))",
        "OPTIMIZERS[self.name](type(self)(**{**vars(self), 'weight_decay': 0.0}), "
        "lambda n: self.rate(n, steps))",
        (STEP, "numpy and adamw-False-1"),
    ),
    Mutation(
        "class dropout of its own key",
        "diffusion_loss",
        "drop(embedding, raw, of_class, draws.class_dropout)",
        "drop(embedding, raw, of_noise, draws.class_dropout)",
        ("test_draws", "of_an_example"),
    ),
    Mutation(
        "network dropout of its own key",
        "diffusion_loss",
        "NoisedBatch(batch.x0, eps, t, context, of_net, told)",
        "NoisedBatch(batch.x0, eps, t, context, of_noise, told)",
        ("test_draws", "of_an_example"),
    ),
    Mutation(
        "draws of each example",
        "diffusion_loss",
        "fold_in(rest, batch.place)",
        "fold_in(rest, batch.place // 2)",
        ("test_draws", "examples_draw"),
    ),
    Mutation(
        "draws of each step",
        "make_train_step",
        "jax.random.fold_in(key, state.step)",
        "key",
        (STEP, "numpy and sgd-False-1"),
    ),
    Mutation(
        "the scaled input",
        "predict",
        "expand(c_in, x_t) * x_t",
        "x_t",
        ("test_predictions", "scaled_input and edm"),
    ),
    Mutation(
        "p2",
        "P2.on_x0",
        "jnp.log(self.k)",
        "jnp.log(self.gamma)",
        ("test_weightings", "published and flow and p2 and 3.0"),
    ),
    Mutation(
        "guidance",
        "combine",
        "u.x0 + scale * (c.x0 - u.x0)",
        "u.x0 + (1 + scale) * (c.x0 - u.x0)",
        ("test_losses", "on_eps and 0.5"),
    ),
    Mutation(
        "the side that guidance leads to",
        "Generator.guided",
        "self.guidance.guide(model.denoiser(weights.params, raw), given)",
        "self.guidance.guide(given.null, given._replace(null=model.denoiser(weights.params, raw)))",
        ("test_guided", "towards"),
    ),
    Mutation(
        "importance",
        "Importance.probabilities",
        "jnp.sqrt((memory.loss**2).mean(axis=1))",
        "jnp.abs(memory.loss).mean(axis=1)",
        ("test_times", "unequal"),
    ),
    Mutation(
        "the decoder's level",
        "chain_term",
        "level == 0",
        "level <= 1",
        ("test_objectives", "vlb_terms and small"),
    ),
    Mutation(
        "hybrid",
        "Hybrid.loss",
        "jax.lax.stop_gradient(predicted.estimate.x0)",
        "predicted.estimate.x0",
        ("test_objectives", "hybrid_trains"),
    ),
    Mutation(
        "the decoder's mix",
        "decoder_log_variance",
        "mix_of(estimate) * expand(large - small, x0)",
        "(1 - mix_of(estimate)) * expand(large - small, x0)",
        ("test_published_bound", "three_variances and Linear and learned and published"),
    ),
    Mutation(
        "from_level",
        "from_level",
        "grid < start",
        "grid <= start",
        ("test_editing", "from_a_level and 0.5-uniform"),
    ),
    Mutation(
        "vdm",
        "VDM.loss",
        "squared_inside(diffusion)(held, inner)",
        "diffusion(held, inner)",
        ("test_objectives", "schedule_reduces"),
    ),
    Mutation(
        "squared_inside",
        "squared_inside",
        "2 * out * d",
        "out * d",
        ("test_objectives", "schedule_reduces"),
    ),
    Mutation(
        "logsnr",
        "LogSNR.__call__",
        "self.scale * schedule.logsnr(t)",
        "schedule.logsnr(t)",
        ("test_predictions", "times_their_scale and 0.5"),
    ),
    Mutation(
        "noise_variance",
        "NoiseVariance.__call__",
        "self.scale * schedule.sigma(t) ** 2",
        "schedule.sigma(t) ** 2",
        ("test_predictions", "times_their_scale and 0.5"),
    ),
    Mutation(
        "ln_sigma",
        "LnSigma.__call__",
        "self.scale * -0.125 * schedule.logsnr(t)",
        "-0.125 * schedule.logsnr(t)",
        ("test_predictions", "times_their_scale and 0.5"),
    ),
    Mutation(
        "timestep",
        "Timestep.__call__",
        "schedule.num_timesteps - 1",
        "schedule.num_timesteps",
        ("test_predictions", "index_of_the_level and 50"),
    ),
    Mutation(
        "the end of the path",
        "sample",
        "jnp.zeros_like(last)",
        "last",
        ("test_jumps", "last_call and ddim"),
    ),
    Mutation(
        "jumps",
        "DDIM.step",
        "denoise(x_t, t, s)",
        "denoise(x_t, t)",
        ("test_jumps", "exact_flow and DDIM and VP"),
    ),
)
DATA = (
    Mutation(
        "pixels of floats",
        "Spec.show",
        "(x - self.low) / (self.high - self.low) if self.levels else x",
        "x / 255",
        ("test_codecs", "undoes and floats"),
    ),
    Mutation(
        "pixels of other bytes",
        "Spec.show",
        "self.high - self.low",
        "255",
        ("test_codecs", "undoes and seventeen"),
    ),
    Mutation(
        "pixels, fitted",
        "Pixels._line",
        "(high - low) * np.array(std)",
        "np.array(std)",
        ("test_codecs", "standardised"),
    ),
    Mutation("mean of floats", "_moments", "u - mean", "u", ("test_spec", "statistics_of_floats")),
    Mutation(
        "mirrored batches",
        "Mirror.apply",
        "jnp.flip(x, axis=-2)",
        "jnp.flip(x, axis=-3)",
        ("test_pipeline", "left_and_right"),
    ),
    Mutation(
        "height and width",
        "fit",
        "ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)",
        "image.resize((width, height), Image.Resampling.LANCZOS)",
        ("test_folder", "mixed_sizes"),
    ),
    Mutation(
        "images on their side",
        "_upright",
        "image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE",
        "False",
        ("test_folder", "whatever_their_ratio"),
    ),
    Mutation(
        "the format of the cache",
        "cached",
        "{'format': _FORMAT, **key}",
        "dict(key)",
        ("test_cache", "another_format"),
    ),
    Mutation(
        "the sum of an entry",
        "_open",
        "meta.pop('sha256') != _digest(meta)",
        "not meta.pop('sha256')",
        ("test_cache", "anew and text"),
    ),
    Mutation(
        "the sums of its columns",
        "_open",
        "digests(columns) != spec.sha256",
        "False",
        ("test_cache", "one_bit"),
    ),
    Mutation(
        "images",
        "Images._light",
        "(values - self.low) / (self.high - self.low)",
        "values",
        ("test_artists", "black"),
    ),
)
BORROWED = (
    Mutation(
        "the context of the bound",
        "VDM.loss",
        "batch._replace(context=context)",
        "batch",
        ("test_objectives", "embeds and vdm"),
    ),
    Mutation(
        "classifier guidance",
        "ClassifierGuidance.guide",
        "self.scale * schedule.sigma(t) ** 2 / schedule.alpha(t)",
        "self.scale * schedule.sigma(t) / schedule.alpha(t)",
        ("test_guidance", "component_asked and cosine-flow"),
    ),
    Mutation(
        "the judge's own x_t",
        "uphill",
        "expand(ratio, x) * x",
        "x",
        ("test_guidance", "component_asked and edm-cosine"),
    ),
    Mutation(
        "noise that the judge never saw",
        "uphill",
        "jnp.where(expand(seen, x_t), push, 0.0)",
        "push",
        ("test_guidance", "beyond"),
    ),
    Mutation(
        "the reference's own x_t",
        "at_the_same_noise",
        "expand(ratio, x_t) * x_t",
        "x_t",
        ("test_guidance", "two_schedules and edm"),
    ),
    Mutation(
        "rescaled guidance",
        "rescale",
        "aim.std(axes, keepdims=True)",
        "aim.var(axes, keepdims=True)",
        ("test_guidance", "rescaling"),
    ),
    Mutation(
        "the interval of guidance",
        "within",
        "(t >= low) & (t <= high)",
        "t >= low",
        ("test_guidance", "outside_its"),
    ),
    Mutation(
        "dropping by example",
        "drop",
        "expand(away, one)",
        "away",
        ("test_conditions", "square"),
    ),
    Mutation(
        "the null class",
        "Classes.null",
        "jnp.full(count, len(self.choices), jnp.int32)",
        "jnp.full(count, len(self.choices) - 1, jnp.int32)",
        ("test_guided", "row_after"),
    ),
    Mutation(
        "the teacher's target",
        "Teacher.loss",
        "(aim - expand(skip, aim) * predicted.x_t) / expand(out, aim)",
        "aim / expand(out, aim)",
        ("test_distillation", "distance_between and eps"),
    ),
    Mutation(
        "a held teacher",
        "Teacher.loss",
        "jax.lax.stop_gradient(batch.teacher(predicted.x_t, batch.t).x0)",
        "batch.teacher(predicted.x_t, batch.t).x0",
        ("test_distillation", "held"),
    ),
    Mutation(
        "what a classifier is shown",
        "Classifier.log_probs",
        "x_t / expand(size, x_t)",
        "x_t",
        ("test_classifier", "unit_size and edm"),
    ),
    Mutation(
        "draws of a classifier's noise",
        "Classifier.loss",
        "fold_in(rest, batch.place)",
        "fold_in(rest, jnp.arange(len(batch.place)))",
        ("test_classifier", "belong"),
    ),
    Mutation(
        "the question of the pool",
        "AttentionPool.__call__",
        "h.mean(1, keepdims=True)",
        "h[:, :1]",
        ("test_unet_encoder", "positions"),
    ),
    Mutation(
        "weights that fit",
        "fitted",
        "(found.shape, found.dtype) != (leaf.shape, leaf.dtype)",
        "found.ndim != leaf.ndim",
        ("test_borrowing", "starts_from"),
    ),
    Mutation(
        "borrowed weights that changed",
        "keep_borrowed",
        "new[role]['sha256'] != was.get('sha256')",
        "False",
        ("test_borrowing", "may_move"),
    ),
    Mutation(
        "levels of accuracy",
        "by_level",
        "seen.parts.items()",
        "{'accuracy': seen.loss}.items()",
        ("test_borrowing", "logs_its_accuracy"),
    ),
)
INVERSE = ("test_null_space", "pseudo_inverse")
EDITING = (
    Mutation(
        "repaint_times",
        "repaint_times",
        "(rounds - 1) * (up + down)",
        "rounds * (up + down)",
        ("test_repaint", "as_often_as"),
    ),
    Mutation(
        "the way back up",
        "repaint_times",
        "range(bottom - 1, top - 1, -1)",
        "range(bottom - 1, top, -1)",
        ("test_repaint", "as_often_as"),
    ),
    Mutation(
        "the stretches of a walk",
        "repaint_times",
        "min(top + jump, last)",
        "min(top + 1, last)",
        ("test_repaint", "turns_after_a_stretch"),
    ),
    Mutation(
        "what is known at s",
        "Repaint.step",
        "diffuse(schedule, self.known, normal_like(of_known, x_t), below)",
        "diffuse(schedule, self.known, normal_like(of_known, x_t), above)",
        ("test_repaint", "both_ways and Cosine"),
    ),
    Mutation(
        "the noise of a step up",
        "Repaint.step",
        "jnp.sqrt(variance)",
        "variance",
        ("test_repaint", "both_ways and Cosine"),
    ),
    Mutation(
        "the signal of a step up",
        "Repaint.step",
        "kept * x_t",
        "x_t",
        ("test_repaint", "both_ways and Cosine"),
    ),
    Mutation(
        "the memory after a step up",
        "Repaint.step",
        "self.sampler.init(x_t)",
        "memory",
        ("test_repaint", "nothing_is_remembered and DPMpp2M"),
    ),
    Mutation(
        "the noise of what is known",
        "Repaint.step",
        "normal_like(of_known, x_t)",
        "normal_like(inner, x_t)",
        ("test_repaint", "noise_of_its_own"),
    ),
    Mutation(
        "times of each example's own",
        "Repaint.step",
        "jnp.minimum(s, t)",
        "s.min()",
        ("test_repaint", "each_would_give_alone and DPMpp2M"),
    ),
    Mutation(
        "pinned",
        "pinned",
        "jnp.where(mask, known, x0)",
        "jnp.where(mask, x0, known)",
        ("test_repaint", "known_elements and ddpm"),
    ),
    Mutation(
        "grey", "Grey.measure", "x.mean(-1, keepdims=True)", "x.sum(-1, keepdims=True)", INVERSE
    ),
    Mutation(
        "lower",
        "Lower.measure",
        "x.reshape(blocks).mean(axis + 1)",
        "x.reshape(blocks).max(axis + 1)",
        INVERSE,
    ),
    Mutation(
        "lower", "Lower.back", "range(1, y.ndim - 1)", "range(1, min(y.ndim - 1, 3))", INVERSE
    ),
    Mutation("masked", "Masked.back", "jnp.where(self.mask, y, 0.0)", "y", INVERSE),
    Mutation(
        "consistent",
        "consistent",
        "operator.back(y - operator.measure(x0))",
        "operator.back(y)",
        ("test_null_space", "estimates_agree and grey"),
    ),
    Mutation(
        "consistent's second time",
        "consistent",
        "denoise(x_t, t, s)",
        "denoise(x_t, t)",
        ("test_null_space", "estimates_agree and grey"),
    ),
    Mutation(
        "strength_times",
        "strength_times",
        "np.float32(strength) * grid[0]",
        "np.float32(strength)",
        ("test_editing", "full_strength_walks"),
    ),
    Mutation(
        "strength_start",
        "strength_start",
        "strength == 1",
        "strength > 1",
        ("test_editing", "to_the_bit and Cosine"),
    ),
    Mutation(
        "strength_start's prior",
        "strength_start",
        "expand(marginal_scale(schedule, t), eps) * eps",
        "eps",
        ("test_editing", "to_the_bit and VE"),
    ),
    Mutation(
        "correlated",
        "correlated",
        "x_t @ axes",
        "x_t @ axes.T",
        ("test_analytic", "correlated_gaussian"),
    ),
)


PLANS = (
    Mutation(
        "inversion",
        "unsample",
        "diffuse(schedule, x0, eps, last)",
        "pure",
        ("test_inversion", "last_step"),
    ),
    Mutation(
        "inversion of the grid",
        "unsample",
        "invert(denoise, schedule, sampler, times, diffuse(schedule, x0, eps, last), key)",
        "diffuse(schedule, x0, eps, last)",
        ("test_inversion", "exact_path and ddim"),
    ),
    Mutation(
        "the noise of an edit",
        "SDEdit.plan",
        "generator.noise_key(jnp.asarray(inputs.numbers))",
        "generator.sampler_key(jnp.asarray(inputs.numbers))",
        ("test_edits", "full_strength and ddim"),
    ),
    Mutation(
        "the start of an edit",
        "SDEdit.plan",
        "times[0]",
        "inputs.times[0]",
        ("test_edits", "noise_leaves"),
    ),
    Mutation(
        "what an edit asks",
        "inputs_of",
        "generator.asked(index) if generator.requested else own",
        "own",
        ("test_edits", "condition_is and asked"),
    ),
    Mutation(
        "an example's own condition",
        "inputs_of",
        "generator.asked(index) if generator.requested else own",
        "generator.asked(index)",
        ("test_edits", "condition_is and own"),
    ),
    Mutation(
        "interpolate",
        "Interpolate.plan",
        "slerp(start, end, share)",
        "slerp(end, start, share)",
        ("test_edits", "walk_begins"),
    ),
    Mutation(
        "inversion without guidance",
        "noise_behind",
        "unguided(generator, weights, inputs.own)",
        "generator.guided(weights, inputs.own)",
        ("test_edits", "walk_between"),
    ),
    Mutation(
        "known pixels",
        "Inpaint.plan",
        "pinned(decoded(x0), inputs.shown, inputs.known)",
        "decoded(x0)",
        ("test_edits", "known_of and repaint and ddim"),
    ),
    Mutation(
        "what was measured",
        "Inpaint.plan",
        "operator.measure(before)",
        "operator.measure(x)",
        ("test_edits", "measured_of and low"),
    ),
    Mutation(
        "outer",
        "read_mask",
        "~missing if text == 'outer' else missing",
        "missing",
        ("test_edit_pictures", "by_name_and_by_box and centre"),
    ),
    Mutation(
        "boxes",
        "_given_box",
        "top + height <= space[0]",
        "height <= space[0]",
        ("test_edit_pictures", "box_outside and 6"),
    ),
    Mutation(
        "strengths of old levels",
        "_edits_apart",
        "level / (count - 1)",
        "level / count",
        ("test_translate", "of_one_section"),
    ),
)
ALL = SAMPLERS + SCHEDULES + SHARED + TRAINING + DATA + BORROWED + EDITING + PLANS

if __name__ == "__main__":
    sys.exit(main(ALL, sys.argv[1:]))
