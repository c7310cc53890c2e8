"""Runs from networks of diffusers, and folders that diffusers loads from runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from ddm_jax import borrowing, files, runs
from ddm_jax.config.load import settled, used
from ddm_jax.config.setup import Setup
from ddm_jax.config.tables import data_options, read
from ddm_jax.data import sources
from ddm_jax.data.dataset import Spec
from ddm_jax.errors import UserError
from ddm_jax.exchange import folder as folders
from ddm_jax.exchange import network, parameters, scheduler, tensor_file
from ddm_jax.exchange.card import Card
from ddm_jax.lock import locked
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.layout import all_devices
from ddm_jax.training.processes import together
from ddm_jax.training.weights import digest_of
from ddm_jax.verbs import names
from ddm_jax.verbs.entry import describe, warn
from ddm_jax.verbs.opened import Opened, open_run

# What the command line may set otherwise than the folder: it touches no weight.
FREE = ("model.ddpm_unet.dropout", "sampler.", "timesteps.", "sample.")
ELSEWHERE = ("data.dir", "data.downloads", "data.cache")  # settings that are of one machine
ANOTHER = "give another --folder"
# What diffusers can hold of a run, beside the settings of the network and of sampling.
HELD: Mapping[str, tuple[Any, ...]] = {
    "task": ("diffusion",),
    "model.name": ("ddpm_unet",),
    "codec.name": ("pixels",),
    "codec.pixels.scaling": ("unit",),
    "condition.name": ("nothing", "classes"),
    "noise_cond.name": ("timestep",),
    "noise_cond.timestep.scale": (1.0,),
}
VERSION = "0.35.0"  # of diffusers, the first whose settings these are


def import_run(
    path: str, folder: Path, *, workdir: Path, overrides: Sequence[str], dry_run: bool
) -> int:
    """Make a run in `workdir` of the network in `folder`; the exit code.

    Data and training are those of the config at `path`; network, schedule, prediction and sampler
    those of the folder, as far as it tells them. The weights are those of step 0 and the average.
    """
    layout = all_devices()
    another = "give another --workdir"
    with together(layout):
        files.check_free(workdir, another)
        config = read(path, overrides)
        found = folders.find(folder)
        data = sources.load(data_options(config), layout.say)
        told, values = _settings(found, data.spec)
        config = settled(config, values, overrides, FREE)
        data = borrowing.taught(config, data, workdir)
        setup, _ = borrowing.assembled(config, data.spec, workdir, training=True)
        params = _params(setup, found, told)
    warn(setup, layout)
    if dry_run:
        describe(config, setup, layout, workdir)
        return 0
    digest = digest_of(params)
    with together(layout):
        if layout.first:
            with files.new_folder(workdir, another) as part, locked(part):
                checkpoints = Checkpoints(part / "checkpoints", setup.train.keep)
                bad = checkpoints.save(0, jax.jit(setup.init_state)(params))
                checkpoints.close()
                if bad:
                    raise UserError(f"{found.weights} holds numbers that are not finite")
                origin = {"run": folder.resolve().name, "sha256": digest}
                files.write_json(part / "imported.json", origin)
                runs.record(config, data, part)
    if not found.scheduler:
        layout.say(f"{folder} has no scheduler; schedule, prediction and sampler are the config's")
    layout.say(f"imported {setup.parameter_count():,} parameters; {workdir} is a run at step 0")
    return 0


def _settings(found: folders.Found, spec: Spec) -> tuple[network.Network, dict[str, Any]]:
    """The network in our words, and the settings of a config that follow from a folder."""
    if len(spec.shape) != 3:
        raise UserError(f"networks of diffusers are for images, which {spec.name} are not")
    told = network.read(*found.network, spec.shape[:-1])
    path = found.network[0]
    if told.in_channels != spec.shape[-1]:
        raise UserError(
            f"{path}: in_channels={told.in_channels}, and {spec.name} has {spec.shape[-1]}; set "
            f"data.channels={told.in_channels}, or take other data"
        )
    if told.classes and told.classes != len(spec.classes) + 1:
        raise UserError(
            f"{path}: num_class_embeds={told.classes}, and the {len(spec.classes)} classes of "
            f"{spec.name} and one for none are {len(spec.classes) + 1}; take other data"
        )
    values = {f"model.ddpm_unet.{key}": value for key, value in told.settings.items()}
    values |= {"model.name": "ddpm_unet", "codec.name": "pixels", "codec.pixels.scaling": "unit"}
    values["condition.name"] = "classes" if told.classes else "nothing"
    return told, values | (scheduler.read(*found.scheduler) if found.scheduler else {})


def _params(setup: Setup, found: folders.Found, told: network.Network) -> Any:
    """The parameters of a task with the weights of the folder; what it has beside starts afresh."""
    wanted = setup.task.model.net.out_channels
    if told.out_channels != wanted:
        raise UserError(
            f"{found.network[0]}: out_channels={told.out_channels}, and the config makes {wanted}; "
            "twice the channels are those of a network that learns its variance, as under "
            "objective.name=hybrid"
        )
    shapes = jax.eval_shape(setup.init_params)
    like, levels = parameters.joined(shapes), len(setup.task.model.net.multipliers)
    tensors = tensor_file.read(found.weights, parameters.shapes(like, levels), parameters.todays)
    taken = parameters.parted(parameters.taken(tensors, like, levels, told.cosines_first))
    rest = shapes.schedule, shapes.objective
    if jax.tree.leaves(rest):
        fresh = setup.init_params()
        rest = fresh.schedule, fresh.objective
    return taken._replace(schedule=rest[0], objective=rest[1])


def export_run(workdir: Path, folder: Path, overrides: Sequence[str], dry_run: bool) -> int:
    """Write the averaged weights of a run into a new folder that diffusers loads; the exit code."""
    layout = all_devices()
    with together(layout):
        files.check_free(folder, ANOTHER)
        opened = open_run(workdir, overrides)
        chosen = used(opened.run.config)
        for key, valid in HELD.items():
            if chosen[key] not in valid:
                named = " or ".join(map(repr, valid))
                raise UserError(
                    f"{workdir} cannot be exported: {key}={chosen[key]!r}, and diffusers holds "
                    f"{named} alone"
                )
        if opened.setup.task.model.two_times:
            raise UserError(
                f"{workdir} cannot be exported: its network is told of two times, and diffusers "
                "holds networks of one alone"
            )
        if layout.first:
            _write(opened, chosen, folder, dry_run)
    return 0


def _write(opened: Opened, chosen: Mapping[str, Any], folder: Path, dry_run: bool) -> None:
    """chosen: the settings that matter, by dotted key."""
    saved, task = opened.run.saved(), opened.setup.task
    net, generator = task.model.net, task.generator
    tensors = parameters.tensors(parameters.joined(saved.params), len(net.multipliers))
    rows = len(saved.params.cond["embedding"]) if saved.params.cond else 0
    try:
        unet = network.write(net, task.model.shape, saved.params.net, rows)
        steering = scheduler.write(generator, task.objective.learns_variance)
    except ValueError as error:
        raise UserError(f"{opened.folder} cannot be exported: {error}") from error
    kind = steering["_class_name"]
    pipeline = kind.replace("Scheduler", "Pipeline")
    card = Card(
        name=opened.folder.resolve().name,
        spec=task.spec,
        step=saved.step,
        sha256=saved.sha256,
        parameters=sum(tensor.size for tensor in tensors.values()),
        origin=files.read_json(opened.folder / "imported.json"),
        config={key: value for key, value in chosen.items() if key not in ELSEWHERE},
        pipeline=pipeline,
        steps=generator.grid_steps,
        eta=names.chosen("sampler", generator.sampler).get("eta", 0.0),
        classes=max(rows - 1, 0),
    )
    if dry_run:
        print(card.text())
        return
    index = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", kind]}
    with files.new_folder(folder, ANOTHER) as part:
        tensor_file.write(part / "unet" / folders.WEIGHTS, tensors)
        for name, settings in (
            ("model_index.json", {"_class_name": pipeline, **index}),
            (f"unet/{folders.NETWORK}", unet),
            (f"scheduler/{folders.SCHEDULER}", steering),
        ):
            files.write_json(part / name, {**settings, "_diffusers_version": VERSION})
        files.write_text(part / "README.md", card.text())
    print(f"wrote {folder}: the averaged weights of step {saved.step:,}, for {pipeline}")
