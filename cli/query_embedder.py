"""What embeds a query: the network, or its dense graph where the index is one of windows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.runtimes import Runtime
    from toolkit.embedding import Embedder
    from toolkit.model_card import ModelCard


@dataclass(frozen=True, slots=True)
class Running:
    """Which model, and what runs it: the flags that commands share."""

    model: Path
    runtime: "Runtime"
    device: str
    threads: int | None


def open_query_embedder(card: "ModelCard", running: Running, *, quick: bool = True) -> "Embedder":
    """Open the model as the index of this card needs it. quick: for a few pictures.

    Raises as `deploy.runtimes.open_embedder`, and InputError for a bundle without a dense
    graph where the index holds windows.
    """
    from deploy.runtimes import open_embedder
    from deploy.runtimes.windows import are_windows, open_windows

    model, runtime, device, threads = (
        running.model,
        running.runtime,
        running.device,
        running.threads,
    )
    if are_windows(card):
        return open_windows(model, runtime, device, threads)
    return open_embedder(model, runtime, device, threads, quick=quick)
