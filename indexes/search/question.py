"""What is looked for as a whole: examples and negative ones, as pictures and as patches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.records import Filter, Place
from indexes.search.pictures import Example
from indexes.search.queries import Combine, make_queries
from indexes.sources import printable
from indexes.stores import PatchStore
from toolkit.embedding import Embedder, Embeddings, embed_images
from toolkit.errors import UsageError
from toolkit.records import Box

# What was seen so soon before or after, and lies so much in the same place, is the same thing.
_NEAR_S = 1.0
_SAME_IOU = 0.3
_MOST_OF_ONE = 4096  # patches of one picture that are looked through


@dataclass(frozen=True, slots=True)
class Side:
    """Pictures, and ids of indexed patches."""

    pictures: tuple[Example, ...] = ()
    patches: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures) + len(self.patches)

    @property
    def names(self) -> list[str]:
        """Each as people know it."""
        return [picture.name for picture in self.pictures] + [f"patch {p}" for p in self.patches]


@dataclass(frozen=True, slots=True)
class Question:
    """Examples, of which there must be one, and what the hits should not be like."""

    wanted: Side
    unwanted: Side = Side()
    combine: Combine = "mean"

    def __post_init__(self) -> None:
        if not len(self.wanted):
            raise UsageError(
                "Nothing is looked for.", mend="Give an image, VIDEO@SECONDS, or --id of a patch."
            )

    @property
    def has_pictures(self) -> bool:
        """True where an embedder is needed."""
        return bool(self.wanted.pictures or self.unwanted.pictures)


def query_vectors(store: PatchStore, question: Question, embedder: Embedder | None) -> Embeddings:
    """What the store is asked, float32 (Q, D), unit length; patches give their own vectors.

    embedder: of the index's model; None where there are no pictures. Raises InputError for an
    unknown patch, and where the examples leave nothing.
    """
    wanted, unwanted = (
        np.concatenate(
            [_embedded(side.pictures, store.card.dim, embedder), store.vectors_of(side.patches)]
        )
        for side in (question.wanted, question.unwanted)
    )
    return make_queries(wanted, unwanted, question.combine)


def _embedded(pictures: Sequence[Example], dim: int, embedder: Embedder | None) -> Embeddings:
    if not pictures:
        return np.empty((0, dim), np.float32)
    assert embedder is not None
    return embed_images(embedder, [picture.image for picture in pictures])


def own_patches(store: PatchStore, side: Side, queries: Embeddings) -> set[int]:
    """The indexed patches that show the examples themselves, with all of their tracks.

    Of a picture these are the patches of the same file, at the same moment, that lie where
    its box is. queries: float32 (Q, D), of unit length, by which they are found.
    """
    own = set(side.patches)
    for picture in side.pictures:
        own |= {place.id for place in _of_file(store, picture, queries) if _is_same(picture, place)}
    tracks: set[str] = set()
    for patch in sorted(own):
        (place,) = store.places([patch]).values()
        if place.track is not None and place.track not in tracks:
            tracks.add(place.track)
            own |= {sighting.id for sighting in store.sightings(patch)}
    return own


def _of_file(store: PatchStore, picture: Example, queries: Embeddings) -> list[Place]:
    names = {printable(picture.path), printable(picture.path.absolute())}
    times_s = None
    if picture.time_s is not None:
        times_s = picture.time_s - _NEAR_S, picture.time_s + _NEAR_S
    only = Filter(sources=tuple(sorted(names)), times_s=times_s)
    found = store.nearest(queries, _MOST_OF_ONE, only).patches
    patches = np.unique(found[found >= 0]).tolist()
    return [place for place in store.places(patches).values() if place.source in names]


def _is_same(picture: Example, place: Place) -> bool:
    if picture.box is None or place.box[2] <= place.box[0] or place.box[3] <= place.box[1]:
        return True
    return Box(*place.box).iou(picture.box) >= _SAME_IOU
