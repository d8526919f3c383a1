"""From a published list and its patches to pair shards.

The shards come to be beside their place and are moved there at the end, so that a list whose
import was killed leaves nothing that could be trained on.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from toolkit.drafts import close_draft, new_draft, sweep
from toolkit.errors import InputError, UsageError
from toolkit.lock import writing
from toolkit.patches.list_samples import (
    ListImport,
    ListProgress,
    ListReport,
    ListSamples,
    OnProgress,
)
from toolkit.patches.roots import PatchRoots, check_roots, table_errors
from toolkit.patches.shards import PairSample, write_shard
from toolkit.patches.trainlist import check_list
from toolkit.workspace import sha256_file, storage_errors

MOST_SHARD_PAIRS = 10_000
MOST_SHARD_BYTES = 1024**3
DEFAULTS = ListImport()


def import_list(
    source: Path,
    roots: Sequence[Path],
    out: Path,
    settings: ListImport = DEFAULTS,
    on_progress: OnProgress = lambda _: None,
) -> ListReport:
    """Turn a list and its patches into shards in the folder `out`; memory does not grow with it.

    roots: folders and tar archives (plain or gzipped, whatever their names) in which the
    paths are looked up. The same files give the same bytes. Raises InputError (no list, no
    root, no usable pair), UsageError (imported before), StorageError.
    """
    check_list(source)
    check_roots(roots)
    digest = sha256_file(source)
    report = ListReport(out, source)
    with writing(out, f"the patches {out}"), table_errors(out), _draft(out, digest) as draft:
        old = sorted(out.glob(f"{digest[:16]}-*.tar"))
        if old and not settings.overwrite:
            raise UsageError(
                f"{source} was imported into {out} before.",
                mend="Use --overwrite to import it again, or another --out.",
            )
        with closing(PatchRoots(roots, draft)) as patches:
            patches.list_archives(
                lambda archive, at, of: on_progress(ListProgress(archive.name, at, of, 0))
            )
            samples = ListSamples(source, digest, settings, patches, report)
            report.shards = _write_shards(draft, digest, samples.all(draft, on_progress))
            report.damaged = patches.damaged
        if not report.pairs:
            raise _nothing(report)
        with storage_errors(out):
            report.shards = [shard.replace(out / shard.name) for shard in report.shards]
            for shard in set(old) - set(report.shards):
                shard.unlink()
    return report


@contextmanager
def _draft(out: Path, digest: str) -> Iterator[Path]:
    """A folder for what is on its way, removed in the end."""
    target = out / f"import-{digest[:16]}"
    with storage_errors(out):
        sweep(target)
        draft = new_draft(target, folder=True)
    try:
        yield draft
    finally:
        close_draft(draft)


def _nothing(report: ListReport) -> InputError:
    shown = "; ".join(f"line {p.line}: {p.reason}" for p in report.problems[:3])
    faults = "".join(f" {item.path}: {item.reason}." for item in report.damaged)
    return InputError(
        f"{report.source} gives no pair that can be used ({shown or 'it has no lines'}).{faults}",
        mend="A list has `path label` a line, pairs on consecutive lines, paths below a --root.",
    )


def _write_shards(folder: Path, digest: str, samples: Iterator[PairSample]) -> list[Path]:
    """Shards of bounded size, HASH-NNNN.tar; none for no samples."""
    shards: list[Path] = []
    following = next(samples, None)
    while following is not None:
        part = _Part(following, samples)
        shards.append(folder / f"{digest[:16]}-{len(shards):04d}.tar")
        write_shard(shards[-1], part)
        following = part.following
    return shards


class _Part:
    """The samples of one shard; `following` is the first of the next, None at the end."""

    def __init__(self, first: PairSample, samples: Iterator[PairSample]) -> None:
        self.following: PairSample | None = first
        self._samples = samples

    def __iter__(self) -> Iterator[PairSample]:
        pairs, size = 0, 0
        while self.following is not None:
            pairs += 1
            size += len(self.following.query_jpeg) + len(self.following.positive_jpeg)
            if pairs > 1 and (pairs > MOST_SHARD_PAIRS or size > MOST_SHARD_BYTES):
                return
            yield self.following
            self.following = next(self._samples, None)
