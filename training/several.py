"""Several: one fit spread over processes that torchrun started, one a GPU (or CPU), on one machine or many.

    torchrun --nproc-per-node 2 -m training fit chest_xray_pediatric
    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m training fit chest_xray_pediatric

The recipe is the same: its batch is that of all processes together, each draws its part of it, and gradients are averaged
(Lightning Fabric over torch's DistributedDataParallel). The first process alone measures, tells and writes the checkpoint, which
all read when a fit goes on: on several machines its folder must be one they share. Started without torchrun nothing changes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

FAR = 1_000_003  # between the seeds of processes: each draws its own augmentations


class Group(Protocol):
    """The processes of one fit, as the loop needs them. ``first`` is true in one of them."""

    device: torch.device
    first: bool

    def prepare(self, net: nn.Module, optimiser: Optimizer) -> tuple[nn.Module, Any]:
        """Return what to call forward and what to step; the parameters stay those of ``net``."""
        ...

    def part(self, indices: Tensor) -> Tensor:
        """Return this process's part of a batch of the whole group."""
        ...

    def separate(self, rng: Generator, seed: int) -> None:
        """Let this process draw otherwise than the others from here on; the first draws as if it were alone."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add up gradients, averaged over the group."""
        ...

    def mean(self, value: float) -> float:
        """Return the mean of a number over the group."""
        ...

    def wait(self) -> None:
        """Wait until all are here."""
        ...


class Alone:
    """One process, as ever."""

    first = True

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def prepare(self, net: nn.Module, optimiser: Optimizer) -> tuple[nn.Module, Any]:
        return net, optimiser

    def part(self, indices: Tensor) -> Tensor:
        return indices

    def separate(self, rng: Generator, seed: int) -> None:
        """Nobody else draws."""

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def mean(self, value: float) -> float:
        return value

    def wait(self) -> None:
        """Nobody else is to come."""


class Fabric:
    """One of several processes. Raises ModuleNotFoundError without Lightning Fabric."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        try:
            import lightning_fabric  # noqa: PLC0415  an optional extra
        except ModuleNotFoundError:
            raise ModuleNotFoundError("A fit over several processes needs Lightning Fabric: pip install 'diaphane[several]'.",
                                      name="lightning_fabric") from None
        here = int(environment.get("LOCAL_WORLD_SIZE", "1"))
        self.world = int(environment["WORLD_SIZE"])
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
        self._fabric = lightning_fabric.Fabric(accelerator=accelerator, devices=here, num_nodes=self.world // here, strategy="ddp")
        self._fabric.launch()
        self.rank = int(self._fabric.global_rank)
        self.device, self.first = self._fabric.device, self.rank == 0
        torch.set_num_threads(max(1, torch.get_num_threads() // here))

    def prepare(self, net: nn.Module, optimiser: Optimizer) -> tuple[nn.Module, Any]:
        prepared, stepped = self._fabric.setup(net, optimiser)
        return prepared, stepped

    def part(self, indices: Tensor) -> Tensor:
        """Return every so-manieth index: parts of one size, so that their means average to the mean of all."""
        if len(indices) % self.world:
            raise ValueError(f"The batch must divide into {self.world} equal parts, found {len(indices)}. Change the number of "
                             "processes, or the batch in the recipe.")
        return indices[self.rank :: self.world]

    def separate(self, rng: Generator, seed: int) -> None:
        if self.rank:
            rng.manual_seed(seed + FAR * self.rank)
            torch.manual_seed(seed + FAR * self.rank)

    def backward(self, loss: Tensor) -> None:
        self._fabric.backward(loss)

    def mean(self, value: float) -> float:
        return float(self._fabric.all_reduce(torch.tensor(value, device=self.device), reduce_op="mean"))

    def wait(self) -> None:
        self._fabric.barrier()


def here(environment: Mapping[str, str] = os.environ) -> Group:
    """Return the group this process is one of: alone, unless torchrun says that there are others."""
    return Fabric(environment) if int(environment.get("WORLD_SIZE", "1") or 1) > 1 else Alone()


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this process speaks for all: for what needs no group, such as a fit of one minute on one core."""
    return int(environment.get("RANK", "0") or 0) == 0
