"""Several processes of one run, started by torchrun: who they are, and the mean of their tensors.

Gradients are averaged in one message per step rather than by DistributedDataParallel: MobileNets are small, the code
is short, and batch-norm statistics, loss and gradients travel together, so that all processes hold the same weights
and the same numbers at every step. Each process makes its own part of each batch.

What equals what, to rounding: W processes with frozen batch-norm statistics equal one process with the same global
batch; with live ones, one process that takes the batch as W micro-batches (`Recipe.micro_batches`), whose running
statistics move by the mean of the parts' too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

from ..errors import MissingRuntime, UsageError


@dataclass(frozen=True, slots=True)
class World:
    """This process among those of the run. device: where it computes."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files, decides and reports."""
        return self.rank == 0

    def average(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over the processes; in place, one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def told(self, text: str) -> str:
        """The leader's `text`, in every process."""
        if self.size == 1:
            return text
        raw = torch.tensor(list(text.encode()), dtype=torch.uint8, device=self.device)
        length = torch.tensor([len(raw)], device=self.device)
        dist.broadcast(length, 0)
        if not self.leads:
            raw = torch.empty(int(length), dtype=torch.uint8, device=self.device)
        dist.broadcast(raw, 0)
        return bytes(raw.tolist()).decode()

    def agreed(self, claim: bool) -> bool:
        """Whether any process claims it."""
        if self.size == 1:
            return claim
        votes = torch.tensor([float(claim)], device=self.device)
        dist.all_reduce(votes)
        return bool(votes.item() > 0)

    def gathered(self, mine: Tensor) -> Tensor:
        """The rows of all processes, one process after the other: (n_0 + n_1 + ..., ...). The n may differ."""
        if self.size == 1:
            return mine
        counts = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(mine)], device=self.device))
        longest = max(int(count) for count in counts)
        padded = torch.zeros((longest, *mine.shape[1:]), dtype=mine.dtype, device=self.device)
        padded[: len(mine)] = mine
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])

    def same_start(self, tensors: list[Tensor]) -> None:
        """Give every process the leader's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


def leads() -> bool:
    """Whether this process is the leading one of those that torchrun started, or alone; known before they join."""
    return os.environ.get("RANK", "0") == "0"


def pick_device(name: str) -> str:
    """ "auto" is CUDA, then Apple's MPS, then the CPU, as the machine has them; "cpu", "cuda" and "mps" are themselves.

    Raises: MissingRuntime for a device that is not here, UsageError for another word.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in here.items() if there)
    if name not in here:
        raise UsageError(f"no device called {name!r}; there are auto, {', '.join(here)}")
    if not here[name]:
        raise MissingRuntime(f"no {name.upper()} device is here", hint="leave the device out, or use cpu")
    return name


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world that torchrun's environment speaks of; alone where there is none. Leaves the group that it opened."""
    name = pick_device(device)
    chosen = torch.device(name, int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else torch.device(name)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, chosen)
        return
    opened = not dist.is_initialized()
    if opened:
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        if opened:
            dist.destroy_process_group()
