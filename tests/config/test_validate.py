"""Every rule of the config check acts where it should, says the reason, and is silent elsewhere."""

import dataclasses

import numpy as np
import pytest
from conftest import ROOT

import launch
from ddm_jax.config import validate
from ddm_jax.config.assemble import assemble, loans, make_task
from ddm_jax.config.fits import check_fit
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete, data_options
from ddm_jax.data import shapes, sources
from ddm_jax.data.dataset import Latents, Spec
from ddm_jax.errors import UserError
from ddm_jax.models.conditions.bpe import learnt
from ddm_jax.tasks.diffusion import Diffusion

SPEC = Spec(
    name="digits",
    shape=(8, 8, 1),
    count=10,
    classes=tuple("0123456789"),
    captioned=False,
    mean=(0.3,),
    std=(0.4,),
    mirrors=False,
)
TIMES = ("--config.time_sampler.name=discrete",)
SHORT = ("--config.schedule.name=linear", "--config.schedule.linear.num_timesteps=200", *TIMES)
JUMPS = (
    "objective.name=mean_flow",
    "schedule.name=flow",
    "prediction.name=velocity",
    "noise_cond.name=time",
)
CONTINUOUS = ("objective.name=continuous_consistency", "sampler.name=consistency")
GUIDED = (*JUMPS, "objective.mean_flow.guidance=2.0")
ZERO = ("--config.schedule.cosine.zero_terminal=True", "--config.timesteps.name=trailing")

# Settings, whether they are refused, the reason that must be given; and the remedy that it names.
FINDINGS = [
    (
        "guidance",
        ("guidance.name=classifier_free",),
        True,
        "class_dropout=0.1",
        ("loss.class_dropout=0.1",),
    ),
    (
        "guidance",
        ("guidance.name=classifier_free", "condition.name=nothing", "loss.class_dropout=0.1"),
        True,
        "condition.name=classes",
        ("guidance.name=none",),
    ),
    (
        "guidance",
        ("guidance.name=classifier",),
        True,
        "--config.guidance.classifier.run=runs/",
        ("guidance.name=none",),
    ),
    (
        "features",
        ("features.name=classifier",),
        True,
        "--config.features.classifier.run=runs/",
        ("features.name=pixels",),
    ),
    (
        "teacher",
        ("objective.name=teacher",),
        True,
        "--config.teacher.run=runs/",
        ("objective.name=weighted",),
    ),
    (
        "teacher",
        ("teacher.run=runs/x",),
        True,
        "objective.name=teacher",
        ("teacher.run=",),
    ),
    (
        "check_fit",
        ("sampler.name=heun", "sample.evaluations=18"),
        True,
        "take sample.evaluations=17 or 19",
        ("sample.evaluations=19",),
    ),
    (
        "check_fit",
        ("sampler.name=adaptive", "sample.evaluations=18"),
        True,
        "as many evaluations as it needs",
        ("sample.evaluations=0",),
    ),
    (
        "ends_of_paths",
        ("sampler.name=consistency",),
        False,
        "drawn to the mean of the data",
        ("sampler.name=ddim",),
    ),
    (
        "ends_of_paths",
        ("objective.name=consistency", "schedule.name=flow"),
        False,
        "this sampler takes it for the mean",
        ("sampler.name=consistency",),
    ),
    (
        "check_fit",
        (*JUMPS, "model.name=ddm_unet", "condition.name=nothing"),
        True,
        "this network is told of one",
        ("model.name=mlp",),
    ),
    (
        "carried",
        (*JUMPS, "schedule.name=linear"),
        True,
        "magnify 31 times",
        ("schedule.name=flow",),
    ),
    (
        "carried",
        (*JUMPS, "prediction.name=v"),
        True,
        "prediction.name=velocity",
        ("prediction.name=velocity",),
    ),
    (
        "turning",
        (*JUMPS, "noise_cond.name=timestep"),
        False,
        "moves by 999 over all times",
        ("noise_cond.name=time",),
    ),
    (
        "fixed_end",
        (*JUMPS, *CONTINUOUS, "prediction.name=x0"),
        True,
        "nothing fixes it at the path's end",
        ("prediction.name=velocity",),
    ),
    (
        "noise_left",
        (*JUMPS, "schedule.name=offset_cosine"),
        False,
        "0.329 times as much noise as signal",
        ("schedule.name=flow",),
    ),
    (
        "guidance_of_training",
        (*GUIDED, "condition.name=nothing"),
        True,
        "condition.name=classes",
        ("objective.mean_flow.guidance=1.0",),
    ),
    (
        "guidance_of_training",
        GUIDED,
        True,
        "never trains",
        ("loss.class_dropout=0.1",),
    ),
    (
        "guidance_of_training",
        (*GUIDED, "loss.class_dropout=0.1", "guidance.name=classifier_free"),
        False,
        "once more",
        ("guidance.name=none",),
    ),
    (
        "learned_variance",
        ("sampler.name=ddpm", "sampler.ddpm.variance=learned"),
        True,
        "objective.name=hybrid",
        ("objective.name=hybrid", "time_sampler.name=discrete"),
    ),
    (
        "chain_of_levels",
        ("objective.name=hybrid", "time_sampler.name=uniform"),
        True,
        "chain of 1000 levels",
        ("time_sampler.name=importance",),
    ),
    (
        "learned_schedule",
        ("schedule.name=learned", "schedule.learned.min_logsnr=-9.0"),
        True,
        "objective.name=vdm",
        ("objective.name=vdm",),
    ),
    (
        "learned_schedule",
        ("objective.name=vdm", "time_sampler.name=logit_normal"),
        True,
        "uniform times",
        ("time_sampler.name=uniform",),
    ),
    (
        "division_by_alpha",
        ("prediction.name=eps", *ZERO),
        True,
        "divides by alpha",
        ("prediction.name=v",),
    ),
    (
        "division_by_alpha",
        ("prediction.name=eps", "sample.clip=none"),
        False,
        "error times 20,29",
        ("sample.clip=static",),
    ),
    (
        "untrained_end",
        ("weighting.name=min_snr", *ZERO),
        True,
        "no weight to t = 1",
        ("weighting.name=simple",),
    ),
    (
        "untrained_end",
        ("weighting.name=p2", *ZERO),
        True,
        "no weight to t = 1",
        ("weighting.name=edm",),
    ),
    (
        "signal_at_the_start",
        SHORT,
        False,
        "13.2% of the variance is still signal",
        ("schedule.linear.scaled=True",),
    ),
    (
        "signal_at_the_start",
        ("schedule.name=linear", "timesteps.name=leading", "sample.steps=5"),
        False,
        "t = 0.8",
        ("timesteps.name=trailing",),
    ),
    (
        "signal_at_the_start",
        (ZERO[0], "timesteps.name=leading", "sample.steps=200"),
        False,
        "never asks the level without signal",
        ("timesteps.name=trailing",),
    ),
    (
        "scale_of_the_input",
        ("schedule.name=ve", "prediction.name=v"),
        False,
        "deviation of up to 50",
        ("prediction.name=edm",),
    ),
    (
        "noise_through_a_narrow_network",
        ("model.name=residual_mlp", "model.residual_mlp.channels=32"),
        False,
        "have 32 degrees of freedom and this prediction asks them for noise of 64",
        ("prediction.name=x0", "weighting.simple.space=v"),
    ),
    (
        "noise_cond_in_half_precision",
        ("model.ddpm_unet.dtype=bfloat16", "noise_cond.name=noise_variance"),
        False,
        "cannot tell apart",
        ("noise_cond.name=logsnr",),
    ),
    (
        "average_longer_than_the_run",
        ("average.ema.warmup=False", "average.ema.decay=0.9999", "train.steps=1000"),
        False,
        "half-life of 6,9",
        ("average.ema.decay=0.99",),
    ),
    (
        "average_longer_than_the_run",
        ("optim.warmup=1600",),
        False,
        "never reaches",
        ("optim.warmup=50",),
    ),
    (
        "spoilt_data",
        ("augment.name=mirror",),
        False,
        "digits are no such data when mirrored",
        ("augment.name=none",),
    ),
]


def setup_of(*settings):
    config = complete(load_config(str(ROOT / "configs/quickstart.py")))
    plain = ("guidance.name=none", "loss.class_dropout=0", "sample.steps=20")
    arguments = [s if s.startswith("--") else "--config." + s for s in (*plain, *settings)]
    return assemble(override(config, arguments), SPEC)


def warnings_of(*settings):
    return setup_of(*settings).warnings


def test_a_budget_of_evaluations_sets_the_steps():
    def steps(*settings):
        return setup_of(*settings).task.generator.grid_steps

    assert steps("sample.evaluations=35", "sampler.name=heun") == 18
    assert steps("sample.evaluations=35", "sampler.name=dpmpp_2m") == 35
    assert steps("sample.steps=7") == 7


@pytest.mark.parametrize(
    "rule, settings, fatal, reason, remedy",
    FINDINGS,
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_a_dangerous_combination_is_named_and_its_remedy_works(
    rule, settings, fatal, reason, remedy
):
    if fatal:
        with pytest.raises(UserError) as error:
            warnings_of(*settings)
        (text,) = error.value.args
    else:
        (text,) = warnings_of(*settings)
    assert reason in text and "\n" not in text
    assert warnings_of(*settings, *remedy) == ()


@pytest.mark.parametrize("objective", ["vlb", "hybrid", "vdm"])
def test_bounds_on_values_with_levels_are_refused_for_continuous_ones(objective):
    config = complete(load_config(str(ROOT / "configs/quickstart.py")))
    config = override(config, [f"--config.objective.name={objective}", *TIMES])
    spec = dataclasses.replace(SPEC, low=-1.0, high=1.0, levels=0)
    with pytest.raises(UserError, match="digits are continuous; take objective.name=weighted"):
        assemble(config, spec)


def test_every_rule_is_tried():
    of_tasks = [rule for rules in validate.OF_TASKS.values() for rule in rules]
    rules = {rule.__name__ for rule in (*validate.COMMON, *of_tasks, check_fit)}
    assert {name for name, *_ in FINDINGS} | APART == rules


APART = {"lent", "classes", "augment_labels"}  # rules that the tests below try


def task_of(file, spec=SPEC, *settings):
    config = complete(load_config(f"{ROOT}/configs/{file}" + ("" if ":" in file else ".py")))
    return make_task(override(config, [f"--config.{s}" for s in settings]), spec, {})


OTHER = dataclasses.replace(SPEC, classes=("a", "b"))


@pytest.mark.parametrize(
    "role, lent, reason",
    [
        ("judge", ("digits_classifier", SPEC, "codec.pixels.scaling=fitted"), "the same codec"),
        ("judge", ("digits_classifier", OTHER), "other classes"),
        ("features", ("digits_classifier", dataclasses.replace(SPEC, low=-1.0)), "other data"),
        ("reference", ("quickstart", OTHER), "another condition"),
        ("reference", ("quickstart", SPEC, "condition.name=nothing"), "another condition"),
        ("teacher", ("quickstart", SPEC, "codec.pixels.scaling=fitted"), "the same codec"),
    ],
)
def test_a_run_that_does_not_fit_is_not_borrowed(role, lent, reason):
    settings = {
        "judge": ("guidance.name=classifier", "guidance.classifier.run=runs/x"),
        "features": (
            *("features.name=classifier", "features.classifier.run=runs/x"),
            "guidance.name=none",
        ),
        "reference": ("guidance.name=auto", "guidance.auto.run=runs/x"),
        "teacher": ("guidance.name=none", "objective.name=teacher", "teacher.run=runs/x"),
    }[role]
    config = complete(load_config(f"{ROOT}/configs/quickstart.py"))
    config = override(config, [f"--config.{s}" for s in settings])
    assert loans(config) == {role: "runs/x"}
    with pytest.raises(UserError) as error:
        assemble(config, SPEC, {role: task_of(*lent)})
    text = str(error.value)
    assert reason in text and "\n" not in text and Diffusion.borrows[role].key in text
    same = "digits_classifier" if role in ("judge", "features") else "quickstart"
    assert assemble(config, SPEC, {role: task_of(same)}).warnings == ()


def test_a_classifier_of_other_classes_and_another_codec_may_be_what_samples_are_compared_by():
    config = complete(load_config(f"{ROOT}/configs/quickstart.py"))
    settings = ("features.name=classifier", "features.classifier.run=runs/x", "guidance.name=none")
    config = override(config, [f"--config.{s}" for s in settings])
    lent = task_of("digits_classifier", OTHER, "codec.pixels.scaling=fitted")
    task = assemble(config, SPEC, {"features": lent}).task
    assert task.features.classes(task.lent) == ("a", "b")


LATENTS = Latents((4, 4, 2), (0.0, 0.0), (1.0, 1.0), "digest")


@pytest.mark.parametrize(
    "role, latents, reason",
    [
        ("judge", LATENTS, ""),
        ("judge", None, "the same codec"),
        ("judge", dataclasses.replace(LATENTS, std=(1.0, 2.0)), "the same codec"),
        ("judge", dataclasses.replace(LATENTS, sha256="other"), "the same codec"),
        ("features", None, ""),
        ("features", LATENTS, "that run sees latents"),
        ("autoencoder", None, ""),
    ],
)
def test_runs_that_are_borrowed_beside_an_autoencoder_see_its_latents(role, latents, reason):
    settings = [
        *("codec.latent.run=runs/y", "features.name=pixels"),
        *(
            ("guidance.name=classifier", "guidance.classifier.run=runs/x")
            if role == "judge"
            else ()
        ),
    ]
    if role == "features":
        settings += ["features.name=classifier", "features.classifier.run=runs/x"]
    config = complete(load_config(f"{ROOT}/configs/digits_latent.py"))
    config = override(config, [f"--config.{s}" for s in settings])
    other = "codec.name=latent" if latents else "codec.name=pixels"
    lent = {"autoencoder": task_of("digits_latent.py:autoencoder")}
    if role != "autoencoder":
        spec = dataclasses.replace(SPEC, latents=latents)
        lent[role] = task_of("digits_classifier", spec, other)
    spec = dataclasses.replace(SPEC, latents=LATENTS)
    if not reason:
        assert assemble(config, spec, lent).warnings == ()
        return
    with pytest.raises(UserError, match=reason):
        assemble(config, spec, lent)


def test_augment_labels_need_a_network_that_is_told_them():
    config = complete(load_config(f"{ROOT}/configs/digits_classifier.py"))
    with pytest.raises(UserError, match="a classifier is not told .* take augment.name=none"):
        assemble(override(config, ["--config.augment.name=geometric"]), SPEC)
    settings = ("objective.name=teacher", "teacher.run=runs/x", "guidance.name=none")
    config = complete(load_config(f"{ROOT}/configs/quickstart.py"))
    config = override(config, [f"--config.{s}" for s in (*settings, "augment.name=geometric")])
    (text,) = assemble(config, SPEC, {"teacher": task_of("quickstart", SPEC)}).warnings
    assert "the teacher is not told" in text


def test_features_that_cannot_see_the_data_are_refused():
    config = complete(load_config(str(ROOT / "configs/quickstart.py")))
    config = override(config, ["--config.features.name=efficientnet_lite0"])
    with pytest.raises(UserError, match="features: digits are no pictures .*features.name=pixels"):
        assemble(config, dataclasses.replace(SPEC, kind="wave"))


def test_a_run_that_is_told_pictures_of_another_size_is_not_borrowed():
    told = ("condition.name=image", "guidance.name=none", "condition.image.factor=")
    settings = (*told[:2], f"{told[2]}2", "objective.name=teacher", "teacher.run=runs/x")
    config = complete(load_config(f"{ROOT}/configs/quickstart.py"))
    config = override(config, [f"--config.{s}" for s in settings])
    with pytest.raises(UserError, match="teacher.run: that run has another condition"):
        assemble(config, SPEC, {"teacher": task_of("quickstart", SPEC, *told[:2], f"{told[2]}4")})
    same = task_of("quickstart", SPEC, *told[:2], f"{told[2]}2")
    assert assemble(config, SPEC, {"teacher": same}).warnings == ()


def test_a_classifier_does_not_guide_a_model_that_is_told_pictures():
    """Nothing says what its classes look like."""
    settings = ("condition.name=image", "condition.image.factor=2", "guidance.name=classifier")
    config = complete(load_config(f"{ROOT}/configs/quickstart.py"))
    config = override(config, [f"--config.{s}" for s in settings])
    config = override(config, ["--config.guidance.classifier.run=runs/x"])
    with pytest.raises(UserError, match="sample.ask: '0' is no picture that can be read"):
        assemble(config, SPEC, {"judge": task_of("digits_classifier")})


def test_a_classifier_needs_classes():
    config = complete(load_config(f"{ROOT}/configs/digits_classifier.py"))
    assert assemble(config, SPEC).warnings == ()
    with pytest.raises(UserError, match="at least two classes, and digits has 1"):
        assemble(config, dataclasses.replace(SPEC, classes=("only",)))


# Published with signal left where sampling starts from noise, and so in our configs of them.
PUBLISHED = {"fashion_mlp": "13.2% of the variance", "single_image": "0.2% of the variance"}


SHIPPED = [p for p in sorted((ROOT / "configs").glob("*.py")) if p.stem != "folder"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_no_config_of_ours_is_dangerous_but_as_published(path):
    config = complete(load_config(str(path)))
    options = data_options(config)
    if config.data.name in ("tones", "moving_shapes", "solids"):
        shape = sources.load(dataclasses.replace(options, count=20)).spec.shape
    else:
        shape = *(options.space or SPEC.shape[:2]), 1
    about = {"mirrors": config.data.name != "digits", "captioned": config.data.name == "shapes"}
    about["learnt"] = learnt(shapes.captions(shapes.attributes(np.arange(500))), 512)
    spec = dataclasses.replace(SPEC, name=config.data.name, shape=shape, **about)
    lenders = {
        "judge": "digits_classifier",
        "autoencoder": "digits_latent.py:autoencoder",
        "teacher": "quickstart",
    }
    lent = {role: task_of(lenders[role], spec) for role in loans(config)}
    if "autoencoder" in lent:
        spec = dataclasses.replace(spec, latents=Latents((8, 8, 4), (0.0,) * 4, (1.0,) * 4, ""))
    warnings = assemble(config, spec, lent).warnings
    known = [PUBLISHED[path.stem]] if path.stem in PUBLISHED else []
    assert len(warnings) == len(known)
    assert all(flaw in text for flaw, text in zip(known, warnings, strict=True))


def test_scaled_betas_mend_the_published_mlp():
    config = complete(load_config(str(ROOT / "configs/fashion_mlp.py:x0")))
    assert assemble(config, SPEC).warnings == ()


def test_warnings_are_printed_once_each_and_the_command_goes_on(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    arguments = ["--config", "configs/quickstart.py", "--dry_run", "--config.augment.name=mirror"]
    assert launch.main([*arguments, "--workdir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("warning: the augmentation spoils the data") and err.count("\n") == 1
    assert "parameters:" in out
