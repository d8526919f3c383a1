"""When the small segments beside a large one are worth merging: pure arithmetic."""

_TAIL_SHARE = 0.1
_REMOVED_SHARE = 0.2


def needs_merge(indexed: int, tail: int, removed: int) -> bool:
    """Whether an index is to be made anew as a whole.

    indexed: vectors in the segment that is not flat, 0 without one; tail: in flat segments
    beside it; removed: of all these that are there no more. The tail is searched exactly, so
    it may grow to a tenth before that is felt; what was removed is still walked through.
    """
    together = indexed + tail
    return tail > _TAIL_SHARE * together or needs_pruning(together, removed)


def needs_pruning(rows: int, removed: int) -> bool:
    """Whether so many of the rows of segments stand for nothing that they are worth writing anew.

    They take place on the disk and time of every search, whatever the kind of index.
    """
    return removed > _REMOVED_SHARE * rows
