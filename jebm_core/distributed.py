"""Several processes train one model: each computes its share of every batch, and all take the same step.

torchrun starts the processes; `join` finds the others. Every process holds the whole model and all rows, and sees the
batches in the same order. A batch is cut into `PARTS` parts however many processes there are, and process r takes the
parts r, r + size, …. Each part has random numbers of its own, draws and dropout alike, from a seed that counts: a hash
of (seed of the run, epoch, step, part). So a part gives the same gradient, bit for bit, whoever computes it. Gradients
of parts, times their rows, are added in float64, one sum over all processes: products with whole numbers are exact, and
so, but for rare last bits of a float64, is the sum, in whatever order its terms come. That matters: draws are decisions
(u < p), and one that falls the other way because of a last bit makes two runs part for good. Two other ways were left
aside: drawing for the whole batch everywhere and keeping a share repeats the dearest half of a step in each process,
and a generator a row is a loop over rows.

What it costs: small parts, which a process computes one after the other. Batches of 512 rows and more gain; those of a
hundred are faster in one process without torchrun, which keeps its one running generator and whole batches, and
therefore other, equally good, numbers. ``torchrun --nproc-per-node=1`` computes in parts as more processes do, and
agrees with them.

A model without features has one context, with one set of draws for all rows: there every process computes all of it,
and more processes gain nothing.

No wrapper around the model takes part: torch's DistributedDataParallel lets processes drift apart without a word where
a loss goes round its ``forward``. What is left to go wrong is caught by `Group.require_same` after every epoch.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jebm_core.errors import ProcessError, SpecError
from jebm_core.ranks import launched

PARTS = 8
"""Parts of a batch, and the most processes that can share one."""
PATIENCE = timedelta(minutes=10)
"""How long a process waits for others that should be computing the same."""
_FOREVER = timedelta(days=365)

Result = TypeVar("Result")


@final
@dataclass(frozen=True)
class Group:
    """The processes that train together, seen from one of them. One that is ``ALONE`` joined nothing: every method
    gives back what it was given.

    Attributes:
        rank: of this process; 0 decides, speaks and writes.
        joined: whether torchrun started the processes, one of them though it may be.
    """

    rank: int = 0
    size: int = 1
    joined: bool = False
    _signals: Any = None  # a store of torch.distributed beside that of the collectives: who waits in it blocks it
    _calls: Iterator[int] = field(default_factory=count)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks and writes."""
        return self.rank == 0

    # ---- shares of a batch ------------------------------------------------------------------------------------------

    def parts(self, rows: int, *, whole: bool = False) -> Iterator[tuple[int, slice]]:
        """The parts of a batch that are this process's, each with its number.

        Args:
            whole: every process takes all rows, as one part.

        >>> list(Group(1, 2).parts(5)), list(Group(1, 2).parts(5, whole=True))
        ([(1, slice(0, 1, None)), (3, slice(1, 2, None)), (7, slice(4, 5, None))], [(0, slice(0, 5, None))])
        """
        if whole:
            yield 0, slice(0, rows)
            return
        for number in range(self.rank, PARTS, self.size):
            start, stop = number * rows // PARTS, (number + 1) * rows // PARTS
            if stop > start:
                yield number, slice(start, stop)

    def seed(self, generator: torch.Generator | None, *key: int) -> None:
        """Begin the random numbers of one piece of work, the same whoever does it."""
        if self.joined and generator is not None:
            generator.manual_seed(counted_seed(*key))

    # ---- words between processes ------------------------------------------------------------------------------------

    def sum_(self, values: Float[Tensor, "..."]) -> None:
        """Add up the values of all processes, in place; what is not finite in one is so in all."""
        if self.joined:
            with _hearing():
                torch.distributed.all_reduce(values)

    def first(self, value: float) -> float:
        """The number that the first process has."""
        if not self.joined:
            return value
        with _hearing():
            told = torch.tensor([value], dtype=torch.float64)
            torch.distributed.broadcast(told, 0)
        return told.item()

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if not self.joined:
            return flag
        votes = torch.tensor([float(flag)])
        self.sum_(votes)
        return votes.item() > 0

    def from_first(self, work: Callable[[], Result], device: torch.device | str = "cpu") -> Result:
        """What the first process makes, on the device of each. The others wait for as long as it takes; torchrun ends
        them if it fails."""
        if not self.joined:
            return work()
        name = f"jebm/{next(self._calls)}"
        buffer = io.BytesIO()
        if self.is_first:
            torch.save(work(), buffer)
            self._signals.set(name, "ready")
        with _hearing():
            self._signals.wait([name], _FOREVER)
            size = int(self.first(float(buffer.tell())))
            content = torch.frombuffer(bytearray(buffer.getvalue() or bytes(size)), dtype=torch.uint8)
            torch.distributed.broadcast(content, 0)
        # Written a moment ago by a process of the same command.
        return torch.load(io.BytesIO(content.numpy().tobytes()), map_location=device, weights_only=False)

    def led_by_first(self, module: nn.Module, work: Callable[[], object]) -> None:
        """Let the first process change the module, and the others take over its numbers."""
        if not self.joined:
            work()
            return
        device = next(module.parameters()).device

        def changed() -> dict[str, Tensor]:
            work()
            return module.state_dict()

        module.load_state_dict(self.from_first(changed, device))

    def copy_first_(self, module: nn.Module) -> None:
        """Take over the first process's numbers, which may differ in a last bit on GPUs."""
        if self.joined:
            with torch.no_grad(), _hearing():
                for values in module.parameters():
                    torch.distributed.broadcast(values, 0)

    def require_same(self, parameters: Iterable[Tensor], epoch: int) -> None:
        """Compare a checksum of all bits of the parameters between the processes.

        Raises:
            ProcessError: they are no longer the same.
        """
        if not self.joined:
            return
        own = checksum(parameters)
        bounds = torch.stack([own, ~own])  # −x does not exist for every x
        with _hearing():
            torch.distributed.all_reduce(bounds, torch.distributed.ReduceOp.MAX)
        high, low = bounds[0].item(), (~bounds[1]).item()
        if high != low:
            raise ProcessError(
                "After epoch {epoch} the {size} processes expected to hold the same parameters, found checksums from "
                "{low} to {high}; the model was not written. Start again, in one process if it recurs.",
                epoch=epoch,
                size=self.size,
                low=low,
                high=high,
            )

    def has_last_word(self) -> bool:
        """Whether this is the first process that fails: the one that says why."""
        if not self.joined:
            return True
        try:
            return self._signals.add("jebm/failed", 1) == 1
        except RuntimeError:  # torchrun has gone, and the store with it
            return self.is_first

    def leave(self) -> None:
        """The work is done."""
        if self.joined:
            torch.distributed.destroy_process_group()


ALONE = Group()


def join(device: str = "cpu", *, patience: timedelta = PATIENCE) -> Group:
    """The group that torchrun started this process for; `ALONE` where it did not.

    Processes on CPUs talk by gloo. On GPUs each takes the one of its number on the host, and sums of gradients go by
    NCCL: written by the book, and not yet tried on a machine with several GPUs.
    """
    place = launched()
    if place is None:
        return ALONE
    from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpu and place.on_host < torch.cuda.device_count():
        torch.cuda.set_device(place.on_host)
    with _hearing():
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=patience)
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        signals = TCPStore(address, port, is_master=False, timeout=patience)
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Group(place.number, place.size, True, PrefixStore(restart, signals))


def require_fitting(group: Group, device: str) -> None:
    """Raise `SpecError` where there are more processes than parts of a batch, or than GPUs."""
    most, place = PARTS, launched()
    if group.joined and place is not None and group.size <= PARTS and device in ("auto", "cuda"):
        most = torch.cuda.device_count() if torch.cuda.is_available() else PARTS
        most = PARTS if place.on_host < most else most
    if group.size > most:
        raise SpecError(
            "Option --nproc-per-node of torchrun: expected at most {most} processes ({parts} parts of a batch, one GPU "
            "for each process), found {size}; start fewer, or choose --device cpu.",
            most=most,
            parts=PARTS,
            size=group.size,
        )


def counted_seed(*key: int) -> int:
    """A seed from whole numbers that count what is done; the same on every machine.

    >>> counted_seed(0, 1) == counted_seed(0, 1), counted_seed(0, 1) == counted_seed(1, 0)
    (True, False)
    """
    # 32 bits are all that torch's generator of the CPU takes.
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=4).digest(), "little")


def checksum(parameters: Iterable[Tensor]) -> Tensor:
    """Of all bits and their places, as one whole number.

    >>> one, other = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
    >>> bool(checksum([one]) == checksum([one.clone()])), bool(checksum([one]) == checksum([other]))
    (True, False)
    """
    flat = torch.cat([w.detach().flatten() for w in parameters])
    bits = flat.view(torch.int32 if flat.dtype == torch.float32 else torch.int64).long()
    return (bits * torch.arange(1, 2 * len(bits), 2, device=bits.device)).sum()


@contextmanager
def _hearing() -> Iterator[None]:
    """Whoever stops answering ends the work of all in one sentence."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(
            "Another process of this fit ended, or did not answer for {minutes:.0f} minutes; if it said why, that is "
            "above. Start the command again; with --resume it goes on from the last checkpoint.",
            minutes=PATIENCE.total_seconds() / 60,
        ) from error
