"""Write an index anew without what was removed, as one segment of the kind that suits it."""

from dataclasses import dataclass
from pathlib import Path

from indexes.build.budget import (
    Wish,
    check_wish,
    plan_now,
    remember,
    remembered,
    this_machine,
)
from indexes.build.merge import OnStep, merge, whole
from indexes.build.shadows import prune_shadows
from indexes.catalog.schema import FILE_NAME, SEGMENTS, catalog_errors
from indexes.folder.sink import editing
from indexes.plan.choose import IndexPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactSettings:
    """wish: what the index may take from now on, None for what was said before; device: where
    FAISS trains and fills; wait_s: for another writer.
    """  # noqa: D205

    wish: Wish | None = None
    device: str = "cpu"
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did: removed vectors that are gone now, segments and bytes."""

    index: str
    removed: int
    segments_before: int
    bytes_before: int
    bytes_after: int
    plan: IndexPlan


def compact(
    index: Path, settings: CompactSettings | None = None, on_step: OnStep | None = None
) -> Compaction:
    """Make one segment of all, leave out what was removed, and give the space back.

    Readers go on, and after a kill at any point the index is the old or the new one. Raises
    InputError where there is no index or none fits, UsageError for a key that cannot be made,
    MismatchError where a segment is
    damaged, StorageError where it cannot be written or another process is writing it.
    """
    settings = settings or CompactSettings()
    before = size_bytes(index)
    with (
        editing(index, settings.wait_s) as catalog,
        catalog_errors(index / FILE_NAME),
    ):
        wish = remembered(catalog, settings.wish)
        vectors, dim = catalog.count(), catalog.card().dim
        machine = this_machine(index, settings.device)
        plan = plan_now(wish, vectors, dim, machine, asked=settings.wish is not None)
        check_wish(settings.wish, vectors, dim)
        remember(catalog, settings.wish)
        segments, removed = catalog.segments(), catalog.tombstones()
        merging = whole(segments, removed, plan, by_key=wish.key is not None)
        if merging is not None:
            merge(catalog, merging, settings.device, on_step)
        catalog.commit()
        catalog.give_back_space()
        prune_shadows(index)
    return Compaction(str(index), len(removed), len(segments), before, size_bytes(index), plan)


def size_bytes(index: Path) -> int:
    """Bytes of the catalog and of all files of segments, 0 where there is none."""
    files = [index / FILE_NAME, index / (FILE_NAME + "-wal")]
    folder = index / SEGMENTS
    files += folder.iterdir() if folder.is_dir() else ()
    return sum(path.stat().st_size for path in files if path.is_file())
