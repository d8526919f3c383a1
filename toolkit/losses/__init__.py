"""Losses over a batch of pairs: rows 2i and 2i+1 are the anchor and the positive of pair i.

A loss is found by the name of its module here, `rank-hard` being `rank_hard.py`. The module
has `build(settings)`, which returns a `PairLoss` (`toolkit.losses.base`); nothing else needs
to know of it. Reading the names imports no torch.
"""

import difflib
import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.losses.base import PairLoss
    from toolkit.training.settings import TrainSettings

_NO_LOSSES = {"base"}


def loss_names() -> list[str]:
    """The names that `--loss` takes."""
    modules = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(name.replace("_", "-") for name in modules - _NO_LOSSES)


def build_loss(name: str, settings: "TrainSettings") -> "PairLoss":
    """The loss of that name with the settings of a run. Raises UsageError for another name."""
    if name not in loss_names():
        near = difflib.get_close_matches(name, loss_names(), n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"There is no loss {name!r}.{guess}", mend=f"Use one of: {', '.join(loss_names())}."
        )
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast("PairLoss", module.build(settings))
