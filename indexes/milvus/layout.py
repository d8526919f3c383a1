"""The collections of an index in Milvus.

    PREFIX_state           the row that makes changes visible, and who is writing
    PREFIX_N_patches       a vector each, with thing, input, source, PTS seconds, box, track
    PREFIX_N_thumbnails    a small JPEG of each patch, apart: they are not searched
    PREFIX_N_notes         inputs, sources, labels (see `notes`)

N is the generation: `--overwrite` makes new collections and switches to them at the end.
Milvus wants a vector in each collection; where there is none, `nothing` is one of zeros.
"""

from collections.abc import Mapping
from typing import Any

PATCHES, THUMBNAILS, NOTES = "patches", "thumbnails", "notes"
KINDS = (PATCHES, THUMBNAILS, NOTES)
TEXT_BYTES = 65_535  # the longest text that Milvus takes
NOTHING = [0.0, 0.0]

# Of a server: pictures stay on its disk until they are asked for.
PROPERTIES = {THUMBNAILS: {"mmap.enabled": "true"}}

_INTEGERS = {
    PATCHES: ("thing", "input", "source"),
    THUMBNAILS: ("input", "source"),
    NOTES: ("kind", "number", "input", "content"),
}
_REALS = {PATCHES: ("time_s", "x0", "y0", "x1", "y1")}
_TEXTS = {PATCHES: ("track",), THUMBNAILS: ("jpeg",), NOTES: ("text",)}

PLACE_FIELDS = ["id", "thing", "source", *_REALS[PATCHES], "track"]


def state_name(prefix: str) -> str:
    """The collection that says what is visible."""
    return f"{prefix}_state"


def collection_name(prefix: str, generation: int, kind: str) -> str:
    """A collection of one generation."""
    return f"{prefix}_{generation}_{kind}"


def generation_of(name: str, prefix: str) -> int | None:
    """The generation of a collection of this index; None where it is none."""
    head, _, kind = name.rpartition("_")
    start, _, number = head.rpartition("_")
    if start != prefix or kind not in KINDS or not number.isdecimal():
        return None
    return int(number)


def state_schema(pymilvus: Any) -> Any:
    """The two rows of the state collection."""
    schema = pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", pymilvus.DataType.INT64, is_primary=True)
    schema.add_field("text", pymilvus.DataType.VARCHAR, max_length=TEXT_BYTES)
    schema.add_field("nothing", pymilvus.DataType.FLOAT_VECTOR, dim=len(NOTHING))
    return schema


def schema_of(pymilvus: Any, kind: str, dim: int) -> Any:
    """The fields of a collection; vectors of patches have `dim` numbers."""
    types = pymilvus.DataType
    schema = pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", types.INT64, is_primary=True)
    for name in _INTEGERS[kind]:
        schema.add_field(name, types.INT64)
    for name in _REALS.get(kind, ()):
        schema.add_field(name, types.DOUBLE)
    for name in _TEXTS[kind]:
        schema.add_field(name, types.VARCHAR, max_length=TEXT_BYTES)
    vector, size = ("vector", dim) if kind == PATCHES else ("nothing", len(NOTHING))
    schema.add_field(vector, types.FLOAT_VECTOR, dim=size)
    return schema


def index_params(pymilvus: Any, field: str, kind: str, params: Mapping[str, int]) -> Any:
    """An index over a field of vectors; scores are inner products."""
    chosen = pymilvus.MilvusClient.prepare_index_params()
    chosen.add_index(
        field, index_name=field, index_type=kind, metric_type="IP", params=dict(params)
    )
    return chosen
