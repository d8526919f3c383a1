"""What --store may name."""

from pathlib import Path

import pytest

from indexes.milvus.address import parse_address
from toolkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "folder", "server", "database", "prefix"),
    [
        ("milvus:index.milvus", Path("index.milvus"), "", "", "vr"),
        ("milvus:/a b/'ü\"", Path("/a b/'ü\""), "", "", "vr"),
        ("milvus:here?prefix=second", Path("here"), "", "", "second"),
        ("milvus:odd?name", Path("odd?name"), "", "", "vr"),
        ("milvus:http://localhost:19530", None, "http://localhost:19530", "", "vr"),
        ("milvus:https://m.example/db", None, "https://m.example", "db", "vr"),
        ("milvus:http://[::1]:1/d?prefix=p_1", None, "http://[::1]:1", "d", "p_1"),
    ],
)
def test_an_address(text, folder, server, database, prefix) -> None:
    read = parse_address(text)
    assert (read.folder, read.server, read.database, read.prefix) == (
        folder,
        server,
        database,
        prefix,
    )
    assert read.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "milvus:",
        "index",
        "qdrant:http://localhost",
        "milvus:ftp://host/db",
        "milvus:http://",
        "milvus:http://host:99999/db",
        "milvus:http://host/two/parts",
        "milvus:http://host/db?prefix=",
        "milvus:http://host/db?prefix=1a",
        "milvus:http://host/db?prefix=a&prefix=b",
        "milvus:http://host/db?other=1",
        "milvus:http://host/db#part",
        "milvus:http://host/db;drop",
        "milvus:folder?prefix=a-b",
        "milvus:?prefix=a",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "milvus:http://root:SECRET@host:19530/db",
        "milvus:http://SECRET@host",
        "milvus:http://a:SECRET@host:999999/db",
    ],
)
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert "SECRET" not in str(caught.value)
