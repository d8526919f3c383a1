"""What the HTML pages share: their colours, and times, names and pictures as text."""

import base64
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def page_template(package: str, name: str, **filters: Callable[..., Any]) -> "Template":
    """A page of a package's folder templates/, which may include those of toolkit.

    What comes from outside is escaped, and a name that is not given is an error. filters: of
    the page, beside `clock` and `file_name`.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("toolkit")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock, "file_name": file_name, **filters}
    return environment.get_template(name)


def clock(time_s: float) -> str:
    """Seconds as a player shows them: 83.46 -> "1:23.5", 3723.0 -> "1:02:03.0"."""
    tenths = round(time_s * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{sign}{start}:{rest // 10:02d}.{rest % 10}"


def file_name(path: str) -> str:
    """The last part of a path."""
    return PurePath(path).name or path


def data_uri(picture: bytes, kind: str = "jpeg") -> str:
    """A picture file inside a page; kind: "jpeg" or "png"."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
