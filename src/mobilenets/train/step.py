"""One optimisation step, as lean as torch allows: what the loop calls, what timing.py times, what benchmarks compare.

Precision, with what was measured on a CPU with bf16 (one thread, batch 32, 128 px, MobileNetV3-Large): autocast to
bfloat16 slows the step by 40 %, because the backward of its depthwise convolutions is up to 22 times slower; with
these kept in float32 it is 1.25 to 1.65 times faster than float32. So "bfloat16_dw32" exists; which one is used is
measured (timing.py).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from .depthwise import depthwise_forwards, replaced
from .recipe import MemoryFormat, Precision

Loss = Callable[[Any, Tensor], Tensor]
TORCH_FORMAT = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
AUTOCAST = {"bfloat16": torch.bfloat16, "bfloat16_dw32": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Compute:
    """How steps are computed. by_pairs: depthwise convolutions whose weight gradient goes by pairs of positions
    (depthwise.py). timings: seconds of a step per candidate that was timed, "memory format precision"."""

    memory_format: MemoryFormat = "channels_last"
    precision: Precision = "float32"
    by_pairs: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict, hash=False)


class TrainStep:
    """Forward, backward, clipping, update of one batch: `step(images, targets) -> loss`.

    The network is moved to the memory format of `compute` here and stays there. The caller puts it into training mode,
    and sets the optimizer's learning rate.

    Args:
        loss: (what the network returns, targets) -> scalar.
        micro_batches: the batch is taken in so many equal parts; gradients and batch-norm statistics are the mean of
            the parts', as with so many processes.
        clip_norm: largest L2 norm of all gradients together; None: no clipping.
        share: called between backward and update with the tensors (loss, gradients, batch-norm statistics) that
            processes must average, in place; None for one process.
        statistics: the running means and variances, needed with several parts or processes.

    Shapes: images float32 (n, C, h, w); targets as the loss takes them, n first -> scalar float32, detached, still on
    its device. `outputs`: what the network returned, detached, parts joined.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        *,
        compute: Compute = Compute(),
        micro_batches: int = 1,
        clip_norm: float | None = None,
        share: Callable[[list[Tensor]], None] | None = None,
        statistics: Sequence[Tensor] = (),
    ) -> None:
        self.network = network.to(memory_format=TORCH_FORMAT[compute.memory_format])  # type: ignore[call-overload]
        self.loss, self.optimizer, self.compute = loss, optimizer, compute
        self.micro_batches, self.clip_norm = micro_batches, clip_norm
        self.share, self.statistics = share, list(statistics)
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.device = self.parameters[0].device
        self.scaler = GradScaler(self.device.type) if compute.precision == "float16" else None
        self.outputs: Any = torch.empty(0)
        by_pairs = compute.by_pairs if compute.precision in ("float32", "bfloat16_dw32") else ()
        self._forwards = depthwise_forwards(
            network, float32=compute.precision == "bfloat16_dw32", by_pairs=frozenset(by_pairs)
        )

    def __call__(self, images: Tensor, targets: Tensor, *, seeds: Sequence[int] = ()) -> Tensor:
        """One step. seeds: one per micro-batch, set before its forward pass (dropout, drop path)."""
        images = images.to(self.device, memory_format=TORCH_FORMAT[self.compute.memory_format], non_blocking=True)
        targets = targets.to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        with replaced(self._forwards):
            if self.micro_batches == 1:
                total = self._part(images, targets, seeds[0] if seeds else None)
            else:
                total = self._parts(images, targets, seeds)
        if self.share is not None:
            self.share([total, *(p.grad for p in self.parameters if p.grad is not None), *self.statistics])
        if self.clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm, foreach=True)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return total

    def _part(self, images: Tensor, targets: Tensor, seed: int | None) -> Tensor:
        """Forward and backward of one part, gradients weighted by its share of the batch; its loss, weighted so."""
        if seed is not None:
            torch.manual_seed(seed)
        with self._autocast():
            outputs = self.network(images)
        loss = self.loss(outputs, targets) / self.micro_batches
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        self.outputs = tuple(o.detach() for o in outputs) if isinstance(outputs, tuple) else outputs.detach()
        return loss.detach()

    def _parts(self, images: Tensor, targets: Tensor, seeds: Sequence[int]) -> Tensor:
        before = [statistic.clone() for statistic in self.statistics]
        sums = [torch.zeros_like(statistic) for statistic in self.statistics]
        losses, outputs = [], []
        for place, (part, truth) in enumerate(
            zip(images.chunk(self.micro_batches), targets.chunk(self.micro_batches), strict=True)
        ):
            if before:
                torch._foreach_copy_(self.statistics, before)
            losses.append(self._part(part, truth, seeds[place] if seeds else None))
            outputs.append(self.outputs)
            if before:
                torch._foreach_add_(sums, self.statistics)
        if before:
            torch._foreach_mul_(sums, 1.0 / self.micro_batches)
            torch._foreach_copy_(self.statistics, sums)
        if isinstance(outputs[0], tuple):
            self.outputs = tuple(torch.cat(column) for column in zip(*outputs, strict=True))
        else:
            self.outputs = torch.cat(outputs)
        return torch.stack(losses).sum()

    def _autocast(self) -> AbstractContextManager[object]:
        if self.compute.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=AUTOCAST[self.compute.precision])
