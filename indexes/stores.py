"""The two sides of an index, whatever keeps it: a folder of segments, or a Milvus server."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.records import Filter, Nearest, Place
from indexes.sources import IndexPatch, Source
from toolkit.embedding import Embeddings
from toolkit.errors import InputError
from toolkit.model_card import ModelCard

ANY = Filter()


class NewRow(NamedTuple):  # a frozen dataclass takes three times as long to make
    """A patch on its way in.

    vector: float32 (D,) of length 1; thumbnail: a small JPEG, None where there is no
    picture; input: what `begin_input` gave for the source that it was read from.
    """

    patch: IndexPatch
    vector: NDArray[np.float32]
    thumbnail: bytes | None
    input: int


class PatchStore(Protocol):
    """An open index to read: one snapshot, whatever a writer does meanwhile."""

    @property
    def name(self) -> str:
        """What people call it: the folder, or the URI."""
        ...

    @property
    def card(self) -> ModelCard:
        """The model that made the index."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """What is damaged and was left out, for people; empty for a whole index."""
        ...

    def __len__(self) -> int:
        """The number of patches."""
        ...

    def nearest(
        self, queries: Embeddings, count: int, only: Filter = ANY, sure: int | None = None
    ) -> Nearest:
        """The `count` patches of highest cosine for each of the queries (Q, D), unit length.

        sure: how many of them, from the best, are sought as surely as the recall of the index
        says, the others as far as they turn up; None for all. Fewer where there are not so
        many; what was removed is not among them.
        """
        ...

    def places(self, patches: Sequence[int]) -> dict[int, Place]:
        """What is known of patches, by id; of those that are there."""
        ...

    def vectors_of(self, patches: Sequence[int]) -> Embeddings:
        """The vectors of patches, float32 (N, D). Raises InputError for an unknown id."""
        ...

    def thumbnails(self, patches: Sequence[int]) -> dict[int, bytes]:
        """The small JPEGs of patches, by id; of those that have one."""
        ...

    def sightings(self, patch: int) -> list[Place]:
        """The patches of its track, itself among them, by source and time; alone without one.

        Raises InputError for an unknown id.
        """
        ...

    def close(self) -> None:
        """Give the snapshot up."""
        ...


def no_patch(name: str, patch: int) -> InputError:
    """The error for an id that an index does not know."""
    return InputError(f"The index {name} has no patch {patch}.", mend="Take one from `vr search`.")


class PatchSink(Protocol):
    """An index to write: nothing is visible to readers before `commit`."""

    @property
    def uncommitted(self) -> int:
        """Rows since the last commit."""
        ...

    def is_empty(self) -> bool:
        """True where there is no patch at all."""
        ...

    def has_input(self, source: Source, sha256: str) -> bool:
        """True where the same bytes were read in the same way before, and all is there still."""
        ...

    def begin_input(self, source: Source, sha256: str) -> int:
        """Note that a source is being read; its number, larger than any before."""
        ...

    def last_input(self) -> int:
        """The number of the source that was noted last; 0 for none."""
        ...

    def holds(self, patch: IndexPatch) -> bool:
        """True where the same sighting of the same track is there already."""
        ...

    def note_left_out(self, patch: IndexPatch) -> None:
        """Note that the source being read has a sighting that is there already."""
        ...

    def add(self, rows: Sequence[NewRow]) -> None:
        """Take rows in, all or, where it raises, none of them; by rising input."""
        ...

    def drop_inputs_after(self, number: int) -> None:
        """Take the sources noted after this one, and all rows of theirs, out again."""
        ...

    def commit(self) -> None:
        """Make what came in visible, at once."""
        ...
