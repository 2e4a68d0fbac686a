"""One optimisation step, as lean as torch allows: what the loop calls, what timing.py times, what benchmarks compare.

Precision, with what was measured on a CPU with bf16 (one thread, batch 32, 128 px, MobileNetV3-Large): autocast to
bfloat16 slows the step by 40 %, because the backward of its depthwise convolutions is up to 22 times slower; with
these kept in float32 it is 1.25 to 1.65 times faster than float32. So "bfloat16_dw32" exists; which one is used is
measured (timing.py).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from .recipe import MemoryFormat, Precision

Loss = Callable[[Any, Tensor], Tensor]
TORCH_FORMAT = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
AUTOCAST = {"bfloat16": torch.bfloat16, "bfloat16_dw32": torch.bfloat16, "float16": torch.float16}


class TrainStep:
    """Forward, backward, clipping, update of one batch: `step(images, targets) -> loss`.

    The network is moved to `memory_format` here and stays there. The caller puts it into training mode, and sets the
    optimizer's learning rate.

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
        memory_format: MemoryFormat = "channels_last",
        precision: Precision = "float32",
        micro_batches: int = 1,
        clip_norm: float | None = None,
        share: Callable[[list[Tensor]], None] | None = None,
        statistics: Sequence[Tensor] = (),
    ) -> None:
        self.network = network.to(memory_format=TORCH_FORMAT[memory_format])  # type: ignore[call-overload]
        self.loss, self.optimizer = loss, optimizer
        self.memory_format, self.precision, self.micro_batches = memory_format, precision, micro_batches
        self.clip_norm, self.share, self.statistics = clip_norm, share, list(statistics)
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.device = self.parameters[0].device
        self.scaler = GradScaler(self.device.type) if precision == "float16" else None
        self.outputs: Tensor = torch.empty(0)

    def __call__(self, images: Tensor, targets: Tensor, *, seeds: Sequence[int] = ()) -> Tensor:
        """One step. seeds: one per micro-batch, set before its forward pass (dropout, drop path)."""
        images = images.to(self.device, memory_format=TORCH_FORMAT[self.memory_format], non_blocking=True)
        targets = targets.to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
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
        self.outputs = outputs.detach()
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
        self.outputs = torch.cat(outputs)
        return torch.stack(losses).sum()

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        if self.precision == "float32":
            yield
            return
        with ExitStack() as stack:
            if self.precision == "bfloat16_dw32":
                stack.enter_context(float32_depthwise(self.network))
            stack.enter_context(torch.autocast(self.device.type, dtype=AUTOCAST[self.precision]))
            yield


@contextmanager
def float32_depthwise(network: nn.Module) -> Iterator[None]:
    """Depthwise convolutions leave autocast: float32 weights on inputs cast up, whatever surrounds them."""
    changed = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1 and m.groups == m.in_channels]
    for module in changed:
        # An attribute of the instance hides the class's forward; names and parameters stay as they are.
        module.__dict__["forward"] = _in_float32(module)
    try:
        yield
    finally:
        for module in changed:
            del module.__dict__["forward"]


def _in_float32(module: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = module._conv_forward(x.float(), module.weight, module.bias)
        return y

    return forward
