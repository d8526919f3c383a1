"""What `--store` names: a Milvus server, or a folder for the embedded engine."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from toolkit.errors import InputError, UsageError

SCHEME = "milvus:"
DEFAULT_PREFIX = "vr"
TOKEN_VARIABLE = "VR_MILVUS_TOKEN"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MEND = "Give milvus:FOLDER, or milvus:http://HOST:19530/DATABASE?prefix=NAME."


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """Where an index is.

    text: as it was given; folder: of the embedded engine, None for a server; server: its
    URL without database and prefix, empty for the engine; database: empty for the server's
    default; prefix: what the names of this index's collections begin with.
    """

    text: str
    folder: Path | None
    server: str
    database: str
    prefix: str


def parse_address(text: str) -> MilvusAddress:
    """Read "milvus:FOLDER" or "milvus:http(s)://HOST[:PORT][/DATABASE][?prefix=NAME]".

    A folder may be followed by ?prefix=NAME too. Raises UsageError for anything else, and
    for a password in it: a command line is seen by others.
    """
    if not text.startswith(SCHEME) or not text[len(SCHEME) :]:
        raise UsageError(f"{text!r} names no store.", mend=_MEND)
    rest = text[len(SCHEME) :]
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", rest):
        return _server(text, rest)
    path, mark, query = rest.rpartition("?prefix=")
    if not mark:
        return MilvusAddress(text, Path(rest), "", "", DEFAULT_PREFIX)
    if not path:
        raise UsageError(f"{text!r} names no folder.", mend=_MEND)
    return MilvusAddress(text, Path(path), "", "", _name(query, "prefix", text))


def no_index(name: str) -> InputError:
    """The error for an address that holds no index."""
    return InputError(f"There is no index in {name}.", mend="Make one: vr index build.")


def _server(text: str, url: str) -> MilvusAddress:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{_shown(text)} is no address: {error}.", mend=_MEND) from error
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "The address holds a user or a password, which others on this machine can see.",
            mend=f"Leave it out and set {TOKEN_VARIABLE}, as user:password or as a token.",
        )
    if parts.scheme not in ("http", "https") or not host or parts.fragment:
        raise UsageError(f"{text!r} is no address of a Milvus server.", mend=_MEND)
    database = parts.path.strip("/")
    if database:
        _name(database, "database", text)
    given = parse_qs(parts.query, keep_blank_values=True)
    prefixes = given.pop("prefix", [DEFAULT_PREFIX])
    if given or len(prefixes) != 1:
        raise UsageError(f"{text!r} has a setting that is not known: only prefix is.", mend=_MEND)
    bracketed = f"[{host}]" if ":" in host else host
    server = f"{parts.scheme}://{bracketed}" + (f":{port}" if port else "")
    return MilvusAddress(text, None, server, database, _name(prefixes[0], "prefix", text))


def _name(value: str, what: str, text: str) -> str:
    if not _NAME.fullmatch(value):
        raise UsageError(
            f"The {what} {value!r} in {text!r} is no name that Milvus takes.",
            mend="Use letters, digits and _, 64 at most, and no digit first.",
        )
    return value


def _shown(text: str) -> str:
    """An address that could not be read, without what may be a password."""
    return repr(re.sub(r"//[^/]*@", "//...@", text))
