"""`vr index remove`, `compact` and `verify`: looking after an index."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.index_budget import (
    IndexKey,
    Latency,
    Memory,
    Recall,
    Wait,
    recall_note,
    say_plan,
    say_waiting,
    wish_of,
)
from cli.options import DEFAULT_INDEX, Device, DryRun, IndexFolder, Json, Store, faiss_device
from cli.output import (
    complain,
    count,
    emit,
    plain,
    progress_bar,
    say,
    show_line,
    warn,
)

if TYPE_CHECKING:
    from indexes.build.remove import Removal

_DAMAGED = 5
_NAMED = 20


def remove(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images and videos as `vr search` names them, patterns of such names in quotes, "
            "shards or tables, or files with the same content."
        ),
    ] = None,
    index: IndexFolder = DEFAULT_INDEX,
    store: Store = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="Everything that this camera filmed.")
    ] = None,
    dry_run: DryRun = False,
    wait: Wait = 0.0,
    as_json: Json = False,
) -> int:
    """Remove images and videos, with their vectors, thumbnails and labels."""
    from indexes.open import remove as remove_sources
    from indexes.open import target_of

    target = target_of(index, store)
    if store is None:
        say_waiting(index, wait)
    removal = remove_sources(target, sources or [], camera or [], dry_run=dry_run, wait_s=wait)
    _tell_removal(removal, dry_run=dry_run)
    if as_json:
        emit({**removal.as_json(), "dry_run": dry_run})
    else:
        show_line(str(removal.vectors))
    return 0


def _tell_removal(removal: "Removal", *, dry_run: bool) -> None:
    for path in removal.sources[:_NAMED]:
        say(f"  {plain(path)}")
    if len(removal.sources) > _NAMED:
        say(f"  and {len(removal.sources) - _NAMED} more")
    said = "would be removed" if dry_run else "removed"
    say(
        f"[bold]{count(len(removal.sources), 'source')}[/] {said}, with "
        f"{count(removal.vectors, 'vector')}, {count(removal.thumbnails, 'thumbnail')} and "
        f"{count(removal.labels, 'label')}"
    )
    if dry_run:
        return
    for path in removal.read_again[:_NAMED]:
        say(f"{plain(path)} would bring them back in: the next build that is given it reads it")
    if removal.waiting:
        say(
            f"{count(removal.waiting, 'removed vector')} still on the disk: vr index compact takes "
            "them off it"
        )


def compact(
    index: IndexFolder = DEFAULT_INDEX,
    memory: Memory = None,
    latency: Latency = None,
    recall: Recall = None,
    index_key: IndexKey = None,
    wait: Wait = 0.0,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Write an index anew as one segment, without what was removed, and give the space back."""
    from indexes.build.compact import CompactSettings
    from indexes.build.compact import compact as compact_index
    from indexes.info import info
    from indexes.plan.choose import size_text

    wish = wish_of(memory, latency, recall, index_key)
    say_waiting(index, wait)
    settings = CompactSettings(wish=wish, device=faiss_device(device), wait_s=wait)
    with progress_bar("compacting", None) as bar:
        done = compact_index(
            index,
            settings,
            lambda what, at, total: bar.at(at / max(total, 1), 1.0, f"{what} {total} vectors"),
        )
    say_plan(done.plan)
    say(
        f"{count(done.removed, 'removed vector')} gone, "
        f"{count(done.segments_before, 'segment')} of {size_text(done.bytes_before)} before, "
        f"{size_text(done.bytes_after)} now"
    )
    made = info(index)
    if note := recall_note(made):
        warn(note)
    if as_json:
        emit({**made.as_json(), "removed_now": done.removed, "bytes_before": done.bytes_before})
    else:
        show_line(str(index))
    return 0


def verify(index: IndexFolder = DEFAULT_INDEX, store: Store = None, as_json: Json = False) -> int:
    """Read and check every byte of an index; exit code 5 where something is damaged."""
    from indexes.open import target_of
    from indexes.open import verify as verify_index
    from toolkit.errors import MismatchError

    with progress_bar("verifying", None) as bar:
        found = verify_index(
            target_of(index, store), lambda what, at, total: bar.at(at / max(total, 1), 1.0, what)
        )
    for path in found.leftovers:
        say(f"left over, and deleted by the next write: {plain(Path(path).name)}")
    for path in found.foreign:
        warn(f"{plain(path)} is no part of an index")
    for problem in found.problems:
        complain(MismatchError(problem.what, mend=problem.mend))
    if not found.problems:
        say(
            f"sound: {count(found.vectors, 'vector')} in {count(found.segments, 'segment')}, "
            f"{found.bytes} bytes"
        )
    if as_json:
        emit(found.as_json())
    else:
        show_line("damaged" if found.problems else "sound")
    return _DAMAGED if found.problems else 0
