"""Several processes, one run: who this one is, and what they have to tell each other.

Each process is started with its place in the environment, as torchrun does it. It computes the
embeddings of its share of a batch; the loss is one over the rows of all. On one process there
is no group, nothing is sent, and every function here costs nothing.
"""

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from toolkit.errors import Interrupted, MissingError, UsageError
from toolkit.training.batches import Share
from toolkit.training.launch import PARENT, PeerLostError

if TYPE_CHECKING:
    import torch.distributed as dist

_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
# How long a process waits for the first one to measure. That a process has died is noticed
# by its closed connections, not by this.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Process:
    """Which of the processes of a run this one is. local_rank: its number on this machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0


def current() -> Process:
    """Which process the environment (torchrun's) says this is; the only one where it does not.

    Raises UsageError when only some of the variables are there, or are no sensible numbers.
    """
    given = {name: os.environ[name] for name in _PLACE + _ADDRESS if name in os.environ}
    if not any(name in given for name in _PLACE):
        return Process()
    missing = [name for name in _PLACE + _ADDRESS if name not in given]
    if missing:
        raise UsageError(
            f"The environment has {', '.join(given)} but not {', '.join(missing)}: it is not "
            "clear how many processes train together.",
            mend="Start them with vr train --gpus N or torchrun, or unset these variables.",
        )
    try:
        rank, world, local_rank = (int(given[name]) for name in _PLACE)
    except ValueError:
        rank, world, local_rank = -1, 0, 0
    if not 0 <= rank < world or local_rank < 0:
        said = ", ".join(f"{name}={given[name]}" for name in _PLACE)
        raise UsageError(
            f"The environment has {said}: that is no place among processes.",
            mend="Start them with vr train --gpus N or torchrun, or unset these variables.",
        )
    return Process(rank, world, local_rank)


class Team:
    """The processes that train one run together, seen from one of them.

    `host` is their group for what the processors, not the GPUs, tell each other.
    """

    def __init__(self, process: Process, host: "dist.ProcessGroup | None" = None) -> None:
        self.rank = process.rank
        self.world = process.world
        self._host = host
        self._vote: tuple[Tensor, dist.Work] | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that measures, writes and speaks."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """Which part of every batch this process reads."""
        return Share(self.rank, self.world)

    def wait(self) -> None:
        """Until all processes are here, however long it takes, without keeping a GPU busy."""
        if self._host is not None:
            import torch.distributed as dist

            dist.barrier(group=self._host)

    def gather_rows(self, local: Tensor, total: int) -> Tensor:
        """The embeddings of all processes, (total, D), in the order of the batch.

        local: this process's rows, (2L, D). They keep their gradient, the others have none:
        when each process differentiates the whole loss times the number of processes, the
        average of their gradients is that of one process on the whole batch.
        """
        if self.world == 1:
            return local
        import torch.distributed as dist

        sizes = rows_of_each(total, self.world)
        # gloo gathers only equal shapes, so short shares are filled up.
        padded = local.new_zeros((max(sizes), *local.shape[1:]))
        padded[: len(local)] = local.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        parts = [part[:size] for part, size in zip(parts, sizes, strict=True)]
        parts[self.rank] = local
        return torch.cat(parts)

    def wrap(self, model: nn.Module, *, unused: bool = False) -> nn.Module:
        """The model with its gradients averaged over the processes in the backward pass.

        All begin with the weights and buffers of the first process. unused: whether it has
        parameters that no output depends on, as published networks sometimes do.
        """
        if self.world == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        # Buffers stay equal by themselves: BatchNorm takes its statistics over all processes.
        return DistributedDataParallel(
            model, forward_sync_buffers=False, find_unused_parameters=unused
        )

    def stop_asked(self, here: bool) -> bool:
        """Whether any process was asked to stop; after one step, all hear the same.

        What is said at a step is answered at the next, when the answer has long arrived: so
        it costs no waiting. Call it once a step in every process.
        """
        if self.world == 1:
            return here
        import torch.distributed as dist

        before = self._vote
        flag = torch.tensor([int(here)])
        work = dist.all_reduce(flag, dist.ReduceOp.MAX, group=self._host, async_op=True)
        assert work is not None
        self._vote = (flag, work)
        if before is None:
            return False
        before[1].wait()
        return bool(before[0].item())


ALONE = Team(Process())


def check_batch(batch_pairs: int, world: int) -> None:
    """Raise UsageError unless every process gets at least one pair of a batch."""
    if batch_pairs < world:
        raise UsageError(
            f"The setting batch_pairs is {batch_pairs}, too few for {world} processes: each "
            "needs at least one pair.",
            mend=f"Use --batch-pairs {world} or more, or fewer processes.",
        )


def rows_of_each(total: int, world: int) -> list[int]:
    """How many of the `total` rows (two a pair) each process has, as np.array_split cuts."""
    pairs = total // 2
    return [2 * (pairs // world + (rank < pairs % world)) for rank in range(world)]


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """Join the other processes of the run; the team of one where there are none.

    device: "cpu" or "cuda", where each process takes the GPU of its local rank. Raises
    UsageError (a half-set environment), MissingError (fewer GPUs than processes) and, when
    another process ends too early, PeerLostError.
    """
    process = current()
    if process.world == 1:
        yield ALONE
        return
    import torch.distributed as dist

    if device == "cuda":
        _take_gpu(process)
    _end_with_launcher()
    with warnings.catch_warnings():
        # On 1x1 convolutions in channels_last it is raised for strides that mean the same;
        # and that a published network does use all its parameters is no news.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        warnings.filterwarnings("ignore", "find_unused_parameters=True was specified")
        with _peers_lost():
            dist.init_process_group("nccl" if device == "cuda" else "gloo")
            team = Team(process, dist.new_group(backend="gloo", timeout=_PATIENCE))
            try:
                yield team
            except Interrupted:
                dist.destroy_process_group()
                raise
            # After any other error the group is left as it is: what the others have sent
            # will never be answered, and to wait for it would hang.
            team.wait()
            dist.destroy_process_group()


@contextmanager
def _peers_lost() -> Iterator[None]:
    """Errors of the connection are the traces of an error in another process."""
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
        if isinstance(error, dist.DistError) or any(word in str(error) for word in words):
            raise PeerLostError(
                "Another process of this run has ended.",
                mend="Its own message says why. Go on with vr train --resume.",
            ) from error
        raise


def _take_gpu(process: Process) -> None:
    count = torch.cuda.device_count()
    if process.local_rank >= count:
        raise MissingError(
            f"Process {process.local_rank + 1} of this machine has no GPU: there are {count}.",
            mend=f"Start at most {count} processes here.",
        )
    torch.cuda.set_device(process.local_rank)


def _end_with_launcher() -> None:
    """A process whose launcher was killed would go on unseen, or wait for ever."""
    launcher = int(os.environ.get(PARENT, "0"))
    if not launcher:
        return

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="vr-launcher-watch").start()
