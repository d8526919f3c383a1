"""What `vr export` can be asked for, checked before anything heavy is loaded."""

from dataclasses import dataclass, field

from deploy.onnx.make import GraphOptions
from deploy.proof.parity import Precision
from toolkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """The form of a bundle.

    size: height and width of the input in pixels, None for that of the run; dense: whether
    it gets a graph that embeds every window of a large picture too.
    """

    precision: Precision = "fp32"
    size: int | None = None
    graph: GraphOptions = field(default_factory=GraphOptions)
    dense: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and not 16 <= self.size <= 4096:
            raise UsageError(f"--size {self.size} is out of range.", mend="Use 16 to 4096 pixels.")
