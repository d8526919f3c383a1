"""The text format of protocol buffers, as far as a prototxt of Caffe needs it.

Values stay text; what a word means is for the caller to say. Nesting is followed with a
list, not by recursion, and only so far.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.caffe.files import read_file
from toolkit.errors import InputError

MOST_BYTES = 4 * 1024 * 1024
MOST_LEVELS = 32
_CLOSING = {"{": "}", "<": ">"}
_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>[{}<>\[\]:;,])
    |(?P<word>[^\s{}<>\[\]:;,"'\#]+)""",
    re.VERBOSE,
)


@dataclass(slots=True)
class TextMessage:
    """A message: every field with its values in their order."""

    scalars: dict[str, list[str]] = field(default_factory=dict)
    messages: dict[str, list["TextMessage"]] = field(default_factory=dict)

    def first(self, name: str, default: str = "") -> str:
        """The first value of a field, or the default."""
        return self.scalars.get(name, [default])[0]

    def inner(self, name: str) -> "TextMessage":
        """The first message of a field, or an empty one."""
        return self.messages.get(name, [TextMessage()])[0]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


class _Tokens:
    """The tokens of a text, one looked at ahead; behind the last come empty ones."""

    def __init__(self, text: str) -> None:
        self._tokens = _split(text)
        self.next = next(self._tokens)

    def take(self) -> _Token:
        token = self.next
        self.next = next(self._tokens, token)
        return token


def read_prototxt(path: Path) -> TextMessage:
    """Read a prototxt. Raises InputError that names the line."""
    content = read_file(path, "prototxt", MOST_BYTES)
    try:
        return parse_text(content.decode("utf-8-sig"))
    except ValueError as error:  # a UnicodeDecodeError is one
        raise InputError(
            f"{path} is no prototxt: {error}.", mend="Give the description of the network."
        ) from error


def parse_text(text: str) -> TextMessage:
    """Parse the text format. Raises ValueError that names the line."""
    root = TextMessage()
    open_messages: list[tuple[TextMessage, str]] = [(root, "")]
    tokens = _Tokens(text)
    while True:
        token = tokens.take()
        message, closing = open_messages[-1]
        if token.kind == "end":
            if closing:
                raise ValueError(f"it ends before the {closing} of line {token.line}")
            return root
        if token.text in (",", ";") and token.kind == "mark":
            continue
        if token.kind == "mark" and token.text == closing:
            open_messages.pop()
        elif token.kind == "word":
            inner = _read_field(message, token, tokens)
            if inner is not None:
                open_messages.append(inner)
                if len(open_messages) > MOST_LEVELS:
                    raise ValueError(f"line {token.line} is nested deeper than {MOST_LEVELS}")
        else:
            raise ValueError(f"line {token.line} has {token.text!r} where a field is expected")


def _read_field(
    message: TextMessage, name: _Token, tokens: _Tokens
) -> tuple[TextMessage, str] | None:
    """Read a field's value; for a message, the message (its fields follow) and its bracket."""
    colon = tokens.next.text == ":" and tokens.next.kind == "mark"
    if colon:
        tokens.take()
    value = tokens.take()
    if value.kind == "mark" and value.text in _CLOSING:
        inner = TextMessage()
        message.messages.setdefault(name.text, []).append(inner)
        return inner, _CLOSING[value.text]
    if not colon:
        raise ValueError(f"line {name.line} has {name.text!r} without a colon")
    values = message.scalars.setdefault(name.text, [])
    if value.kind == "mark" and value.text == "[":
        while tokens.next.text != "]" or tokens.next.kind != "mark":
            item = tokens.take()
            if item.kind not in ("word", "string") and item.text != ",":
                raise ValueError(f"line {item.line} has no value of {name.text!r}")
            if item.text != "," or item.kind != "mark":
                values.append(_plain(item))
        tokens.take()
    elif value.kind in ("word", "string"):
        values.append(_plain(value))
    else:
        raise ValueError(f"line {name.line} has no value of {name.text!r}")
    return None


def _plain(token: _Token) -> str:
    return token.text[1:-1] if token.kind == "string" else token.text


def _split(text: str) -> Iterator[_Token]:
    place, line = 0, 1
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"line {line} has {text[place]!r}, which ends nowhere")
        kind = str(match.lastgroup)
        if kind != "blank":
            yield _Token(kind, match[0], line)
        line += match[0].count("\n")
        place = match.end()
    yield _Token("end", "", line)
