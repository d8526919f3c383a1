"""Amounts as people write them on a command line: "2G", "10ms"."""

import re

from toolkit.errors import UsageError

_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MILLISECONDS = {"ms": 1.0, "s": 1000.0, "us": 0.001}


def parse_bytes(text: str, flag: str) -> int:
    """Bytes of "500M" or "2G", by the 1024; a megabyte at least. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = round(float(match[1]) * _BYTES[match[2].upper()]) if match else 0
    if not 1 << 20 <= size <= 1 << 50:
        raise UsageError(
            f"{flag} {text} is no amount of memory of at least a megabyte.",
            mend="Give bytes, or a number with K, M or G behind it, such as 2G.",
        )
    return size


def parse_milliseconds(text: str, flag: str) -> float:
    """Milliseconds of "10ms", "0.5s" or "10", which are milliseconds. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|us|s)?", text.strip(), re.IGNORECASE)
    value = float(match[1]) * _MILLISECONDS[(match[2] or "ms").lower()] if match else 0.0
    if not value:
        raise UsageError(
            f"{flag} {text} is no time.", mend="Give a number with ms or s behind it, such as 10ms."
        )
    return value
