"""What a model makes of all photos of a split, and how good that is."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from world import StopRequest, World

EVALUATION_BATCH = 32

Inputs = Callable[[Sequence[Tensor]], Iterator[Tensor]]  # from batches of indices to batches of inputs, in order


@torch.inference_mode()
def outputs(model: Callable[[Tensor], Tensor], inputs: Inputs, samples: int, world: World, stop: StopRequest) -> Tensor:
    """model(input) of every sample, in order, on every rank; each rank computes its share. Raises Stopped, on all.

    The shares are disjoint, and the sum of disjoint shares is the whole: nothing is padded, dropped or counted twice.
    """
    mine = torch.arange(samples)[world.rank :: world.size]
    batches = [mine[start : start + EVALUATION_BATCH] for start in range(0, len(mine), EVALUATION_BATCH)]
    ready, parts = inputs(batches), []
    for number in range(math.ceil(math.ceil(samples / world.size) / EVALUATION_BATCH)):
        if number < len(batches):  # the last round may be the others' alone
            parts.append(model(next(ready)).float().cpu())
        world.check(stop)
    width = max(world.gather(parts[0].shape[1] if parts else 0))
    whole = torch.zeros(samples, width)
    if parts:
        whole[mine] = torch.cat(parts)
    return world.sum(whole)


def tally(logits: Tensor, labels: Tensor) -> Tensor:
    """Sums over samples: loss, correct, correct among the top five, samples. Sums can be added up; means cannot."""
    logits, labels = logits.detach().cpu().double(), labels.cpu()
    loss = F.cross_entropy(logits, labels, reduction="sum")
    correct = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return torch.stack([loss, correct[:, 0].sum(), correct.sum(), torch.tensor(len(labels))])


def metrics(sums: Tensor) -> dict[str, float]:
    """Per sample, from a tally."""
    loss, top1, top5 = (sums[:3] / sums[3]).tolist()
    return {"loss": loss, "top1": top1, "top5": top5}


def scores(name: str, values: dict[str, float]) -> str:
    """As the metric definitions read it: valid:loss=0.5012 valid:top1=0.8511 valid:top5=0.9800"""
    return " ".join(f"{name}:{key}={value:.4f}" for key, value in values.items())
