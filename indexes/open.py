"""The one place that chooses where an index is: in a folder, or in Milvus.

Everything else is written over `indexes.stores`, or is of one of the two alone.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from indexes.milvus.address import MilvusAddress, parse_address
from toolkit.model_card import ModelCard

if TYPE_CHECKING:
    from indexes.build.filling import OnProgress
    from indexes.build.merge import OnStep
    from indexes.build.planning import BuildPlan
    from indexes.build.remove import Removal
    from indexes.build.settings import BuildReport, BuildSettings
    from indexes.build.verify import Verification
    from indexes.info import IndexInfo
    from indexes.stores import PatchStore
    from toolkit.embedding import Embedder

Target = Path | MilvusAddress


def target_of(index: Path, store: str | None) -> Target:
    """The folder, or what `--store` names instead. Raises UsageError for no address."""
    return index if store is None else parse_address(store)


def open_store(target: Target, device: str = "cpu", *, allow_partial: bool = False) -> "PatchStore":
    """Open an index for reading; Milvus computes where it does, whatever the device.

    Raises InputError where there is no index, MismatchError where it is damaged or of another
    version, MissingError without the packages, StorageError where Milvus cannot be reached.
    """
    if isinstance(target, MilvusAddress):
        from indexes.milvus.store import open_milvus

        return open_milvus(target)
    from indexes.folder.store import open_folder

    return open_folder(target, device, allow_partial=allow_partial)


def card_of(target: Target) -> ModelCard:
    """The model that made an index. Raises what `open_store` raises."""
    if isinstance(target, MilvusAddress):
        with closing(open_store(target)) as store:
            return store.card
    from indexes.catalog.reader import CatalogReader

    with closing(CatalogReader(target)) as catalog:
        return catalog.card


def build(
    target: Target,
    sources: Sequence[Path],
    embedder: "Embedder",
    settings: "BuildSettings | None" = None,
    on_progress: "OnProgress | None" = None,
) -> "BuildReport":
    """Index what is new in the sources; see `indexes.build.build`."""
    if isinstance(target, MilvusAddress):
        from indexes.milvus.build import build as build_in_milvus

        return build_in_milvus(target, sources, embedder, settings, on_progress)
    from indexes.build.build import build as build_in_folder

    return build_in_folder(target, sources, embedder, settings, on_progress)


def plan(
    target: Target, sources: Sequence[Path], card: ModelCard, settings: "BuildSettings"
) -> "BuildPlan":
    """What a build would make; see `indexes.build.planning`."""
    if isinstance(target, MilvusAddress):
        from indexes.milvus.build import plan_build as plan_in_milvus

        return plan_in_milvus(target, sources, card, settings)
    from indexes.build.planning import plan_build

    return plan_build(target, sources, card, settings)


def remove(
    target: Target,
    sources: Sequence[str],
    cameras: Sequence[str] = (),
    *,
    dry_run: bool = False,
    wait_s: float = 0.0,
) -> "Removal":
    """Remove images and videos with all that came from them; see `indexes.build.remove`."""
    if isinstance(target, MilvusAddress):
        from indexes.milvus.keep import remove as remove_in_milvus

        return remove_in_milvus(target, sources, cameras, dry_run=dry_run, wait_s=wait_s)
    from indexes.build.remove import remove as remove_in_folder

    return remove_in_folder(target, sources, cameras, dry_run=dry_run, wait_s=wait_s)


def info(target: Target) -> "IndexInfo":
    """What an index holds; see `indexes.info`."""
    if isinstance(target, MilvusAddress):
        from indexes.milvus.keep import info as info_of_milvus

        return info_of_milvus(target)
    from indexes.info import info as info_of_folder

    return info_of_folder(target)


def verify(target: Target, on_step: "OnStep | None" = None) -> "Verification":
    """Whether an index is whole; see `indexes.build.verify`. on_step: told of a folder alone."""
    if isinstance(target, MilvusAddress):
        from indexes.milvus.keep import verify as verify_milvus

        return verify_milvus(target)
    from indexes.build.verify import verify as verify_folder

    return verify_folder(target, on_step)
