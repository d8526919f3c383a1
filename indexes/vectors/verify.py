"""Every byte of a segment, checked against what was written."""

from pathlib import Path

import numpy as np

from indexes.records import FileMark, Segment
from indexes.vectors.checks import check_vectors
from indexes.vectors.files import mark_of
from indexes.vectors.segment import open_segment
from toolkit.embedding import chunks
from toolkit.errors import InputError, MismatchError

_CHECKED = 65_536


def verify_segment(folder: Path, segment: Segment, dim: int) -> list[str]:
    """What is wrong with a segment, one text a problem; empty where nothing is.

    All files are read and hashed. Where the hashes hold, it is opened, its vectors must be of
    length 1 and its patch ids ascend. Raises MissingError where FAISS is not installed.
    """
    problems = [
        problem
        for suffix, mark in segment.files.items()
        if (problem := _hash_problem(folder / (segment.stem + suffix), mark))
    ]
    if problems:
        return problems
    try:
        opened = open_segment(folder, segment, dim)
        for part in chunks(len(opened), _CHECKED):
            check_vectors(opened.vectors[part], dim, part.start)
    except (MismatchError, InputError) as error:
        return [error.problem]
    if np.any(np.diff(opened.rows[:, 0]) <= 0):
        return [f"The patch ids of the segment {segment.stem} do not ascend."]
    return []


def _hash_problem(path: Path, mark: FileMark) -> str:
    try:
        there = mark_of(path)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."
    if there == mark:
        return ""
    if there.size_bytes != mark.size_bytes:
        return f"{path} has {there.size_bytes} bytes, {mark.size_bytes} were written."
    return f"{path} does not hold the bytes that were written."
