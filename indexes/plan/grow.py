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
    if not together:
        return False
    return tail > _TAIL_SHARE * together or removed > _REMOVED_SHARE * together
