"""Every rule of the config check acts where it should, says the reason, and is silent elsewhere."""

import dataclasses

import pytest
from conftest import ROOT

import launch
from ddm_jax.config import validate
from ddm_jax.config.assemble import assemble
from ddm_jax.config.fits import check_fit
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete
from ddm_jax.data.dataset import Spec
from ddm_jax.errors import UserError

SPEC = Spec(
    name="digits",
    shape=(8, 8, 1),
    count=10,
    classes=tuple("0123456789"),
    captioned=False,
    mean=(0.3,),
    std=(0.4,),
)
TIMES = ("--config.time_sampler.name=discrete",)
SHORT = ("--config.schedule.name=linear", "--config.schedule.linear.num_timesteps=200", *TIMES)
ZERO = ("--config.schedule.cosine.zero_terminal=True", "--config.timesteps.name=trailing")

# Settings, whether they are refused, the reason that must be given; and the remedy that it names.
FINDINGS = [
    ("guidance", ("sample.guidance=2",), True, "class_dropout=0.1", ("loss.class_dropout=0.1",)),
    (
        "guidance",
        ("sample.guidance=2", "model.ddpm_unet.conditional=False"),
        True,
        "conditional=True",
        ("sample.guidance=1",),
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
        "only a distilled network gives",
        ("sampler.name=ddim",),
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
        "noise_cond_in_half_precision",
        ("model.ddpm_unet.dtype=bfloat16", "noise_cond.name=noise_variance"),
        False,
        "cannot tell apart",
        ("noise_cond.name=logsnr",),
    ),
    (
        "average_longer_than_the_run",
        ("ema.warmup=False", "ema.decay=0.9999", "train.steps=1000"),
        False,
        "half-life of 6,9",
        ("ema.decay=0.99",),
    ),
    (
        "average_longer_than_the_run",
        ("optim.warmup=500",),
        False,
        "never reaches",
        ("optim.warmup=50",),
    ),
    ("mirrored_text", ("data.flip=True",), False, "mirrors the characters", ("data.flip=False",)),
]


def recipe_of(*settings):
    config = complete(load_config(str(ROOT / "configs/quickstart.py")))
    plain = ("sample.guidance=1", "loss.class_dropout=0", "sample.steps=20")
    arguments = [s if s.startswith("--") else "--config." + s for s in (*plain, *settings)]
    return assemble(override(config, arguments), SPEC)


def warnings_of(*settings):
    return recipe_of(*settings).warnings


def test_a_budget_of_evaluations_sets_the_steps():
    assert recipe_of("sample.evaluations=35", "sampler.name=heun").grid_steps == 18
    assert recipe_of("sample.evaluations=35", "sampler.name=dpmpp_2m").grid_steps == 35
    assert recipe_of("sample.steps=7").grid_steps == 7


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


def test_every_rule_is_tried():
    rules = {rule.__name__ for rule in (*validate.RULES, check_fit)}
    assert {name for name, *_ in FINDINGS} == rules


# Published with signal left where sampling starts from noise, and so in our configs of them.
PUBLISHED = {"fashion_mlp": "13.2% of the variance", "single_image": "0.2% of the variance"}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.stem)
def test_no_config_of_ours_is_dangerous_but_as_published(path):
    config = complete(load_config(str(path)))
    size = config.data.size or SPEC.shape[0]
    spec = dataclasses.replace(SPEC, name=config.data.name, shape=(size, size, 1))
    warnings = assemble(config, spec).warnings
    known = [PUBLISHED[path.stem]] if path.stem in PUBLISHED else []
    assert len(warnings) == len(known)
    assert all(flaw in text for flaw, text in zip(known, warnings, strict=True))


def test_scaled_betas_mend_the_published_mlp():
    config = complete(load_config(str(ROOT / "configs/fashion_mlp.py:x0")))
    assert assemble(config, SPEC).warnings == ()


def test_warnings_are_printed_once_each_and_the_command_goes_on(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    arguments = ["--config", "configs/quickstart.py", "--dry_run", "--config.data.flip=True"]
    assert launch.main([*arguments, "--workdir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("warning: data.flip=True mirrors") and err.count("\n") == 1
    assert "parameters:" in out
