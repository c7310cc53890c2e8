"""Networks of diffusers from files: their outputs, and what their settings become."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.errors import UserError
from ddm_jax.exchange import folder, network, parameters, tensor_file
from ddm_jax.models.ddpm_unet import DDPMUNet

HERE = Path(__file__).resolve().parent
FILE = Path("config.json")
pytestmark = pytest.mark.usefixtures("quick_compilation")


def opened(name):
    """(our network, its parameters, what the file says, what diffusers made of x)."""
    found = folder.find(HERE / name)
    with np.load(HERE / name / "told.npz") as arrays:
        told = dict(arrays)
    space = told["x"].shape[1:-1]
    read = network.read(*found.network, space)
    net = DDPMUNet(read.out_channels, **read.settings)
    x = jax.ShapeDtypeStruct(told["x"].shape, jnp.float32)
    noise = jax.ShapeDtypeStruct((len(told["x"]),), jnp.float32)
    like = jax.eval_shape(net.init, jax.random.key(0), x, noise)["params"]
    if read.classes:
        table = jax.ShapeDtypeStruct((read.classes, net.width), jnp.float32)
        like = {**like, "class_embedding": {"embedding": table}}
    levels = len(net.multipliers)
    shapes = parameters.shapes(like, levels)
    tensors = tensor_file.read(found.weights, shapes, parameters.todays)
    tree = parameters.taken(tensors, like, levels, read.cosines_first)
    return net, parameters.parted(tree), read, told


@pytest.mark.parametrize("name", ["pipeline", "network"])
def test_outputs_are_those_of_diffusers(name):
    """Of every example to 8e-6 of its norm, at the first, a middle and the last timestep."""
    net, params, read, told = opened(name)
    context = NO_CONTEXT
    if read.classes:
        context = Context(params.cond["embedding"][told["class_labels"]])
    noise = jnp.asarray(told["timesteps"], jnp.float32)
    ours = jax.jit(net.apply)({"params": params.net}, told["x"], noise, context)
    for a, b in zip(np.asarray(ours), told["out"], strict=True):
        assert np.linalg.norm(a - b) < 8e-6 * np.linalg.norm(b)


def test_what_is_written_is_what_was_read(tmp_path):
    """Settings and, bit by bit, tensors; the file of sines first has its cosines second."""
    for name in ("pipeline", "network"):
        net, params, read, told = opened(name)
        levels, shape = len(net.multipliers), told["x"].shape[1:]
        settings = network.write(net, shape, params.net, read.classes)
        again = network.read(FILE, json.loads(json.dumps(settings)), shape[:-1])
        assert again == read._replace(cosines_first=False)
        tree = parameters.joined(params)
        tensor_file.write(tmp_path / name / "file", parameters.tensors(tree, levels))
        shapes = parameters.shapes(tree, levels)
        tensors = tensor_file.read(tmp_path / name / "file", shapes, parameters.todays)
        back = parameters.parted(parameters.taken(tensors, tree, levels))
        assert jax.tree.structure(back) == jax.tree.structure(params)
        for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    "settings",
    [
        {"channels": 12, "heads": 2, "groups": 3, "multipliers": (1, 1, 1), "attention": (8, 2)},
        {"channels": 128, "multipliers": (1, 3), "blocks": 3, "attention": (), "dropout": 0.0},
        {"channels": 8, "groups": 2, "multipliers": (1,), "attention": (8,), "scale_shift": True},
        {"channels": 8, "groups": 4, "multipliers": (1, 2), "resample": "block", "attention": (4,)},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 16, 1)])
def test_settings_come_back(settings, shape):
    net = DDPMUNet(shape[-1], **settings)
    scales = {f"norm{k}": {"scale": np.ones(k * net.channels)} for k in (1, 2)}
    written = json.loads(json.dumps(network.write(net, shape, scales, 7)))
    read = network.read(FILE, written, shape[:-1])
    own = {key: getattr(net, key) for key in read.settings}
    assert read.settings == {**own, "groups": net.groups or 32}
    assert read[1:] == (shape[-1], shape[-1], 7, False)


# Of every setting, another value than that of the small network of the pipeline; the first ones
# are mapped, the others refused.
MAPPED = {
    "in_channels": 2,
    "out_channels": 2,
    "flip_sin_to_cos": True,
    "down_block_types": (["ResnetDownsampleBlock2D"] * 2, ["ResnetUpsampleBlock2D"] * 2),
    "block_out_channels": [4, 12],
    "layers_per_block": 3,
    "dropout": 0.25,
    "attention_head_dim": (2, [4, 4]),
    "norm_num_groups": 4,
    "resnet_time_scale_shift": ("scale_shift", 2),
    "num_class_embeds": 11,
}
REFUSED = {
    "sample_size": [16, [8, 4], "8", {}],
    "center_input_sample": [True, 0],
    "time_embedding_type": ["fourier", "learned"],
    "time_embedding_dim": [17],
    "freq_shift": [0, True],
    "down_block_types": [
        ["DownBlock2D"],
        ["UpBlock2D"] * 2,
        ["SkipDownBlock2D"] * 2,
        "x",
        [],
        [[]],
    ],
    "mid_block_type": [None, "UNetMidBlock2DCrossAttn"],
    "up_block_types": [["UpBlock2D"] * 2, ["DownBlock2D", "AttnUpBlock2D"]],
    "block_out_channels": [[4, 6], [4.0, 8], [], 4, [True, 8], [10**12, 10**12], [4, 8, 8]],
    "layers_per_block": [0, [1, 1], 10**6],
    "mid_block_scale_factor": [2**0.5],
    "downsample_padding": [1, None],
    "downsample_type": ["resnet", "fir"],
    "upsample_type": ["fir", None],  # the one way up there has no attention, so has a convolution
    "dropout": ["none", float("nan")],
    "act_fn": ["gelu"],
    "attention_head_dim": [3, 4, 16, "8"],
    "norm_num_groups": [None, 0],
    "attn_norm_num_groups": [1],
    "norm_eps": [1e-5],
    "resnet_time_scale_shift": ["spatial", "scale_shift"],
    "add_attention": [False],
    "class_embed_type": ["timestep", "identity"],
    "num_class_embeds": ["10", -1],
    "in_channels": [None],
    "out_channels": [0],
    "flip_sin_to_cos": ["no", 1],
    "cross_attention_dim": [8],
}


def small():
    return json.loads((HERE / "pipeline/unet/config.json").read_text())


def test_every_setting_is_mapped_or_refused():
    """By its name, or that of the setting that it contradicts, in one line."""
    said = network.read(FILE, small(), (8, 8))
    assert network.DEFAULTS.keys() - {"num_train_timesteps"} == MAPPED.keys() | (
        REFUSED.keys() - {"cross_attention_dim"}
    )
    other = {"down_block_types": "up_block_types", "attention_head_dim": "block_out_channels"}
    other["resnet_time_scale_shift"] = "attn_norm_num_groups"
    for key, value in MAPPED.items():
        changed = {key: value}
        if isinstance(value, tuple):
            changed = {key: value[0], other[key]: value[1]}
        assert network.read(FILE, {**small(), **changed}, (8, 8)) != said, key
    for key, values in REFUSED.items():
        for value in values:
            with pytest.raises(UserError) as error:
                network.read(FILE, {**small(), key: value}, (8, 8))
            text = str(error.value)
            named = key if key != "block_out_channels" else "_"
            named = other[key] if key == "resnet_time_scale_shift" and "scale" in value else named
            assert named in text and "\n" not in text and len(text) < 400, text


def test_what_a_file_lacks_has_the_value_that_diffusers_gives_it():
    """So the head size of 8, which cannot divide 4 channels; and the dropout is the config's."""
    lacking = small()
    for key in ("class_embed_type", "mid_block_type", "add_attention", "num_class_embeds"):
        del lacking[key]
    assert network.read(FILE, lacking, (8, 8)) == network.read(FILE, small(), (8, 8))
    del lacking["dropout"]
    assert "dropout" not in network.read(FILE, lacking, (8, 8)).settings
    del lacking["attention_head_dim"]
    with pytest.raises(UserError, match="attention_head_dim=8"):
        network.read(FILE, lacking, (8, 8))


@pytest.mark.parametrize(
    "settings, shape, reason",
    [
        ({"patch": 2}, (8, 8, 1), "patch=2"),
        ({"space_time": "factorised"}, (8, 8, 1), "no axis is time"),
        ({"channels": 16}, (8, 8, 1), "4, 8 groups"),
        ({"heads": 2, "multipliers": (1, 2), "groups": 2, "attention": (8,)}, (8, 8, 1), "heads=2"),
        ({"groups": 2}, (8, 1), "images"),
    ],
    ids=str,
)
def test_what_diffusers_cannot_hold_is_refused(settings, shape, reason):
    net = DDPMUNet(1, **{"channels": 4, "multipliers": (1, 1), **settings})
    scales = {f"norm{k}": {"scale": np.ones(k * net.channels)} for k in (1, 2)}
    with pytest.raises(ValueError, match=reason):
        network.write(net, shape, scales)
