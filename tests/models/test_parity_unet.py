"""Equality of the U-Net with that of diffusers, weights exchanged. See parity_unet.py."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_unet import awake, channels_first, channels_last, load, theirs
from torch_side import torch

from ddm_jax.diffusion.conditions import NO_CONTEXT
from ddm_jax.exchange import parameters
from ddm_jax.models.conditions import Classes
from ddm_jax.models.ddpm_unet import DDPMUNet

pytestmark = pytest.mark.usefixtures("quick_compilation")

NOISE_CONDS = jnp.array([0.0, 1.0, 37.0, 999.0])
SMALL = dict(channels=128, multipliers=(1, 1), blocks=1, attention=(4,), dropout=0.0)


def exchanged(net, size, conditional=False):
    """(our weights, the same by their names, their network, what both are given).

    Every leaf goes to a tensor of its own, and no tensor is left.
    """
    x = jnp.asarray(np.random.default_rng(1).normal(size=(len(NOISE_CONDS), *size, 3)), jnp.float32)
    count = len(NOISE_CONDS)
    table = np.random.default_rng(2).normal(size=(count, net.width)) / 10
    params = awake(net, x, NOISE_CONDS)
    tree, given = dict(params), (x, NOISE_CONDS)
    if conditional:
        tree["class_embedding"] = {"embedding": np.float32(table)}
        given = (*given, jnp.arange(count))
    tensors = parameters.tensors(tree, len(net.multipliers))
    other = theirs(net, size, 3, params, count * conditional)
    assert len(tensors) == len(jax.tree.leaves(params)) + conditional
    shapes = {name: tuple(tensor.shape) for name, tensor in other.state_dict().items()}
    assert {name: leaf.shape for name, leaf in tensors.items()} == shapes
    load(other, tensors)
    return params, tensors, other, given


def outputs_agree(net, params, other, given):
    """To 1e-5 of their norm, example by example."""
    x, noise, *classes = given
    context = NO_CONTEXT
    if classes:
        table = {"embedding": jnp.asarray(other.class_embedding.weight.detach().numpy())}
        spec = SimpleNamespace(classes=tuple(range(len(table["embedding"]) - 1)))
        context = Classes(net.width, spec).embed(table, classes[0])
    ours = jax.jit(net.apply)({"params": params}, x, noise, context)
    rest = noise, *classes
    with torch.no_grad():
        out = other(channels_first(x), *(torch.tensor(np.asarray(a)) for a in rest)).sample
    for a, b in zip(np.asarray(ours), channels_last(out), strict=True):
        assert np.linalg.norm(a - b) < 1e-5 * np.linalg.norm(b)


@pytest.mark.parametrize(
    "options, size",
    [
        ({}, (8, 8)),
        ({"multipliers": (1, 2, 1), "attention": (8, 2)}, (8, 8)),
        ({"blocks": 2, "attention": ()}, (8, 8)),
        ({"heads": 4, "attention": (8, 4)}, (8, 8)),
        ({}, (8, 12)),
        ({"resample": "block", "attention": (8, 4)}, (8, 4)),
        ({"resample": "block", "attention": ()}, (8, 8)),
        ({"scale_shift": True}, (8, 8)),
        ({"channels": 12, "groups": 3}, (8, 8)),
        ({"classes": True}, (8, 8)),
    ],
    ids=repr,
)
def test_outputs_agree(options, size):
    conditional = options.get("classes", False)
    net = DDPMUNet(3, **{**SMALL, **{k: v for k, v in options.items() if k != "classes"}})
    params, _, other, given = exchanged(net, size, conditional)
    outputs_agree(net, params, other, given)


def test_the_published_network_agrees():
    """The settings of google/ddpm-cifar10-32."""
    net = DDPMUNet(3)
    params, tensors, other, given = exchanged(net, (32, 32))
    assert sum(leaf.size for leaf in tensors.values()) == 35_746_307
    outputs_agree(net, params, other, given)


def test_gradients_agree():
    """Those of the sum of squared outputs, of every tensor to 1e-4 of its norm.

    A bias of the keys moves all logits of a query alike, so that its gradient is rounding.
    """
    net = DDPMUNet(3, **SMALL)
    params, _, other, (x, label) = exchanged(net, (8, 8))
    grad = jax.jit(jax.grad(lambda p: (net.apply({"params": p}, x, label) ** 2).sum()))(params)
    ours = parameters.tensors(grad, len(net.multipliers))
    (other(channels_first(x), torch.tensor(np.asarray(label))).sample ** 2).sum().backward()
    norms = {name: float(tensor.grad.norm()) for name, tensor in other.named_parameters()}
    for name, tensor in other.named_parameters():
        away = np.linalg.norm(ours[name] - tensor.grad.numpy())
        key_bias = name.endswith("to_k.bias")
        assert away < 1e-4 * norms[name.replace("bias", "weight") if key_bias else name], name
