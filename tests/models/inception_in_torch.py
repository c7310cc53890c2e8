"""The InceptionV3 of the Frechet Inception distance by PyTorch's own functions, from its tensors.

One function a kind of block, so that it shares nothing with the network that it is compared to but
the names of tensors.
"""

from torch_side import torch

F = torch.nn.functional
ROW, COLUMN = (0, 3), (3, 0)  # padding of (1, 7) and (7, 1)


def unit(tensors, name, x, padding=0, stride=1):
    h = F.conv2d(x, tensors[f"{name}.conv.weight"], None, stride, padding)
    norm = [tensors[f"{name}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
    return F.relu(F.batch_norm(h, *norm, eps=0.001))


def chain(tensors, name, x, *steps):
    """Units one after the other; a step is (the end of its name, padding, stride)."""
    for end, padding, stride in steps:
        x = unit(tensors, name + end, x, padding, stride)
    return x


def mean(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def block_a(tensors, name, x):
    parts = [
        unit(tensors, f"{name}.branch1x1", x),
        chain(tensors, f"{name}.branch5x5_", x, ("1", 0, 1), ("2", 2, 1)),
        chain(tensors, f"{name}.branch3x3dbl_", x, ("1", 0, 1), ("2", 1, 1), ("3", 1, 1)),
        unit(tensors, f"{name}.branch_pool", mean(x)),
    ]
    return torch.cat(parts, 1)


def block_b(tensors, name, x):
    parts = [
        unit(tensors, f"{name}.branch3x3", x, 0, 2),
        chain(tensors, f"{name}.branch3x3dbl_", x, ("1", 0, 1), ("2", 1, 1), ("3", 0, 2)),
        F.max_pool2d(x, 3, 2),
    ]
    return torch.cat(parts, 1)


def block_c(tensors, name, x):
    twice = [("1", 0, 1), ("2", COLUMN, 1), ("3", ROW, 1), ("4", COLUMN, 1), ("5", ROW, 1)]
    parts = [
        unit(tensors, f"{name}.branch1x1", x),
        chain(tensors, f"{name}.branch7x7_", x, ("1", 0, 1), ("2", ROW, 1), ("3", COLUMN, 1)),
        chain(tensors, f"{name}.branch7x7dbl_", x, *twice),
        unit(tensors, f"{name}.branch_pool", mean(x)),
    ]
    return torch.cat(parts, 1)


def block_d(tensors, name, x):
    other = [("1", 0, 1), ("2", ROW, 1), ("3", COLUMN, 1), ("4", 0, 2)]
    parts = [
        chain(tensors, f"{name}.branch3x3_", x, ("1", 0, 1), ("2", 0, 2)),
        chain(tensors, f"{name}.branch7x7x3_", x, *other),
        F.max_pool2d(x, 3, 2),
    ]
    return torch.cat(parts, 1)


def block_e(tensors, name, x, pool):
    once = unit(tensors, f"{name}.branch3x3_1", x)
    twice = chain(tensors, f"{name}.branch3x3dbl_", x, ("1", 0, 1), ("2", 1, 1))
    parts = [
        unit(tensors, f"{name}.branch1x1", x),
        unit(tensors, f"{name}.branch3x3_2a", once, (0, 1)),
        unit(tensors, f"{name}.branch3x3_2b", once, (1, 0)),
        unit(tensors, f"{name}.branch3x3dbl_3a", twice, (0, 1)),
        unit(tensors, f"{name}.branch3x3dbl_3b", twice, (1, 0)),
        unit(tensors, f"{name}.branch_pool", pool),
    ]
    return torch.cat(parts, 1)


def inception(tensors, x):
    """(pool3 (B, 2048), logits (B, 1008)) of x (B, 3, 299, 299), from -1 to 1."""
    h = chain(tensors, "Conv2d_", x, ("1a_3x3", 0, 2), ("2a_3x3", 0, 1), ("2b_3x3", 1, 1))
    h = chain(tensors, "Conv2d_", F.max_pool2d(h, 3, 2), ("3b_1x1", 0, 1), ("4a_3x3", 0, 1))
    h = F.max_pool2d(h, 3, 2)
    blocks = [block_a] * 3 + [block_b] + [block_c] * 4 + [block_d]
    names = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a")
    for block, name in zip(blocks, names, strict=True):
        h = block(tensors, f"Mixed_{name}", h)
    h = block_e(tensors, "Mixed_7b", h, mean(h))
    h = block_e(tensors, "Mixed_7c", h, F.max_pool2d(h, 3, 1, 1))
    pooled = h.mean((2, 3))
    return pooled, F.linear(pooled, tensors["fc.weight"], tensors["fc.bias"])
