"""What computes the flow: OpenCV on the CPU, or torch on a GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from toolkit.mining.modern import flow
from toolkit.mining.modern.flow import FlowField, Followed, Points
from toolkit.video.frame import GrayImage


@dataclass(frozen=True, slots=True)
class FlowEngine:
    """The two functions of `toolkit.mining.modern.flow`, wherever they run."""

    follow: Callable[[GrayImage, GrayImage, Points, Points], Followed]
    dense_flow: Callable[[GrayImage, GrayImage], FlowField]


def flow_engine(device: str) -> FlowEngine:
    """The engine for "cpu", or for a device of torch."""
    if device == "cpu":
        return FlowEngine(flow.follow, flow.dense_flow)
    from toolkit.mining.modern import flow_torch

    follow = partial(flow_torch.follow, device=device)
    return FlowEngine(follow, partial(flow_torch.dense_flow, device=device))
