"""A reader of TensorBoard's event files that shares nothing with the writer but the messages."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def values_of(folder: Path) -> Iterator[tuple[int, Any]]:
    """(step, value message) of every record of every event file of a folder.

    A record is its length (8 bytes), a checksum (4), the message and a checksum (4).
    """
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        place = 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += 16 + length
            for value in event.summary.value:
                yield event.step, value
        assert place == len(content)
