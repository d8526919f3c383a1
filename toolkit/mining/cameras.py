"""Which camera filmed a video: one name for all, a part of its path, or the file itself.

Training and measuring take things of two cameras for different things, so a folder of many
files of one camera should say so.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import UsageError

_WHERE = "{camera}"
# Each piece of a pattern and what it stands for; the order matters, ** before *.
_PIECES = {
    r"\*\*/": "(?:[^/]+/)*",
    r"\*\*$": ".+",
    r"\*": "[^/]*",
    r"\?": "[^/]",
    re.escape(_WHERE): "(?P<camera>[^/]+?)",
}
_PIECE = re.compile("|".join(_PIECES))


@dataclass(frozen=True, slots=True)
class CameraRule:
    """Gives each video its camera. Raises UsageError for a rule that makes no sense.

    name (`--camera`): one camera for all videos. pattern (`--camera-pattern`): where in a
    path the camera stands, such as `footage/{camera}/*`; `*` and `?` stay within a folder,
    `**` goes down through folders, `{camera}` is at least one character of one name, and as
    short as it can be. Neither: each video is a camera of its own, by its name without
    suffix.
    """

    name: str | None = None
    pattern: str | None = None
    _matcher: re.Pattern[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name is not None and self.pattern is not None:
            raise UsageError(
                "Both --camera and --camera-pattern are given.", mend="Give one of the two."
            )
        if self.name is not None and not self.name.strip():
            raise UsageError("The name of the camera is empty.", mend="Give --camera a name.")
        if self.pattern is not None:
            object.__setattr__(self, "_matcher", _compiled(self.pattern))

    def camera_of(self, path: Path) -> str:
        """The camera of a video; the pattern has to fit the end of the path as it was given.

        Raises UsageError for a path that the pattern does not fit: to take another name in
        its place would make one camera into two, and so things into "surely different" ones.
        """
        if self.name is not None:
            return self.name
        if self._matcher is None:
            return path.stem
        match = self._matcher.fullmatch(path.as_posix())
        if match is None:
            raise UsageError(
                f"The path {path} does not fit --camera-pattern {self.pattern}.",
                mend="Mine it in a run of its own, or give a pattern that fits every video.",
            )
        return match["camera"]


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern.count(_WHERE) != 1 or re.search(r"[{}]", pattern.replace(_WHERE, "")):
        raise UsageError(
            f"The --camera-pattern {pattern!r} does not hold {_WHERE} once, and no other braces.",
            mend=f"Write {_WHERE} where the camera's name stands: footage/{_WHERE}/*",
        )
    if re.search(r"(?<!^)(?<!/)\*\*|\*\*(?!/|$)", pattern):
        raise UsageError(
            f"In the --camera-pattern {pattern!r}, ** does not stand for whole folders.",
            mend=f"Put ** between slashes, or at the end: footage/{_WHERE}/**",
        )
    # The outermost place where the pattern fits: it may begin at any folder of the path.
    start = "" if pattern.startswith("/") else "(?:.*?/)??"
    text, end = "", 0
    for piece in _PIECE.finditer(pattern):
        text += re.escape(pattern[end : piece.start()]) + _meaning(piece[0])
        end = piece.end()
    return re.compile(start + text + re.escape(pattern[end:]), re.DOTALL)


def _meaning(piece: str) -> str:
    return next(meaning for name, meaning in _PIECES.items() if re.fullmatch(name, piece))
