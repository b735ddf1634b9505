"""Layers that act on the whole batch, though each process has only some of its rows.

Most layers treat each sample by itself, and then it does not matter who has which. Two kinds do not: batch-norm takes
its mean and variance over a batch, and dropout draws at random. Left alone, two processes would train another network
than one. Here they exchange their sums (a few kilobytes a layer) and take their rows of one common draw, so that the
gradients are those of one process, up to the rounding of sums that are added in another order.
"""

import copy
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchvision.ops import StochasticDepth


@dataclass
class Rows:
    """Which rows of the current batch this process has: `first` and so on, of `total`."""

    total: int = 0
    first: int = 0


def twin_for_training(model: nn.Module, rows: Rows, sync_batch_norm: bool) -> nn.Module:
    """A second model of the very same tensors, whose layers act on the whole batch that `rows` says they see part of.

    The first stays as it is, to be saved, validated and served.
    """
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    twin: nn.Module = copy.deepcopy(model, shared)
    for module in twin.modules():
        if isinstance(module, nn.Dropout):
            module.__class__, module.rows = WholeBatchDropout, rows  # type: ignore[assignment]
        elif isinstance(module, StochasticDepth) and module.mode == "row":
            module.__class__, module.rows = WholeBatchDepth, rows
    return _synchronised(twin) if sync_batch_norm else twin


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The layers whose statistics are those of a batch."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def _synchronised(model: nn.Module) -> nn.Module:
    """With batch-norm over all processes. torch's own is for GPUs only."""
    if any(parameter.is_cuda for parameter in model.parameters()):
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in batch_norms(model):
        module.__class__ = WholeBatchNorm
    return model


# ---------------------------------------------------------------------------------------------------------------------
# Dropout


class WholeBatchDropout(nn.Dropout):
    """Dropout whose mask is drawn for the whole batch. All processes must have the same random state."""

    rows: Rows

    def forward(self, input: Tensor) -> Tensor:
        """Same shape; like nn.Dropout."""
        return _drop(input, self.p, self.rows, list(input.shape[1:])) if self.training else input


class WholeBatchDepth(StochasticDepth):  # type: ignore[misc]
    """Stochastic depth whose samples are drawn for the whole batch."""

    rows: Rows

    def forward(self, input: Tensor) -> Tensor:
        """Same shape; like torchvision's in its mode "row"."""
        return _drop(input, self.p, self.rows, [1] * (input.ndim - 1)) if self.training else input


def _drop(input: Tensor, probability: float, rows: Rows, shape: list[int]) -> Tensor:
    if probability == 0:
        return input
    kept = 1 - probability
    mask = torch.empty([rows.total, *shape], dtype=input.dtype, device=input.device).bernoulli_(kept)
    return input * mask[rows.first : rows.first + len(input)].div_(kept or 1)


# ---------------------------------------------------------------------------------------------------------------------
# Batch-norm


class WholeBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch-norm over the batches of all processes, for CPUs; in evaluation it is batch-norm as ever."""

    def forward(self, input: Tensor) -> Tensor:
        """Same shape as the input, (n, channels, ...)."""
        if not self.training:
            return super().forward(input)
        mean, variance, count = _statistics(input)
        self._keep(mean, variance * (count / (count - 1)))
        output: Tensor = _Normalise.apply(input, self.weight, self.bias, mean, variance, count, self.eps)
        return output

    def _check_input_dim(self, input: Tensor) -> None:
        """Of any dimension: the layer it replaces has had its say about that."""

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Note the running statistics as nn.BatchNorm does."""
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


@torch.no_grad()
def _statistics(input: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and (biased) variance of each channel over all processes' inputs, and over how many numbers that is."""
    wide = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
    mean, variance = torch.batch_norm_update_stats(wide, None, None, 0.0)
    numbers = mean.new_tensor([input.numel() // input.shape[1]])
    everybody = mean.new_zeros(dist.get_world_size(), 2 * len(mean) + 1)
    everybody[dist.get_rank()] = torch.cat([mean, variance, numbers])
    dist.all_reduce(everybody)
    counts, means, variances = everybody[:, -1:], everybody[:, : len(mean)], everybody[:, len(mean) : -1]
    count = counts.sum()
    mean = (means * counts).sum(0) / count
    # Chan's formula: squares of differences, since a difference of squares would cancel.
    variance = ((variances + (means - mean) ** 2) * counts).sum(0) / count
    return mean, variance, int(count)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, for statistics that depend on all processes' inputs."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: int, eps: float
    ) -> Tensor:
        context.save_for_backward(x, weight, mean, variance)
        context.count, context.eps = count, eps
        return torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """d loss / d (x, weight, bias). The latter two are this process's: whoever averages gradients does them."""
        x, weight, mean, variance = context.saved_tensors
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, context.eps, [False, True, True]
        )
        sums = torch.stack([by_bias, by_weight])
        dist.all_reduce(sums)
        # dx = scale · (dy - mean(dy) - x̂ · mean(dy · x̂)) with x̂ = (x - mean) / deviation: linear in dy, x and 1.
        by_all_bias, by_all_weight = sums / context.count
        deviation = (variance + context.eps).sqrt()
        of_gradient = weight / deviation
        of_x = -of_gradient * by_all_weight / deviation
        of_one = -of_gradient * by_all_bias - of_x * mean
        shape = (1, -1) + (1,) * (x.ndim - 2)
        of_gradient, of_x, of_one = (each.view(shape) for each in (of_gradient, of_x, of_one))
        by_x = torch.addcmul(of_one, x, of_x).addcmul_(gradient, of_gradient)
        return by_x.to(x.dtype), by_weight, by_bias, None, None, None, None
