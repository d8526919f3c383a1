"""Does a prototxt describe the published network? Everything that differs is listed.

Compared is the chain from conv1 to the ReLU behind fc7: order, kinds and parameters. What
only training needs (data, fillers, rates, dropout, losses, copies on other blobs) is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.caffe.prototxt import TextMessage
from toolkit.caffe.weights import INPUT, refuse

_INERT = ("DROPOUT", "SILENCE", "ACCURACY")  # nothing to a network that is used


@dataclass(frozen=True, slots=True)
class _Step:
    """A layer of the chain; name: only where it has weights; wanted: parameters by name."""

    kind: str
    name: str
    wanted: Mapping[str, str]


def _convolution(name: str, outputs: int, kernel: int, **other: int) -> _Step:
    numbers = {"num_output": outputs, "kernel_size": kernel, **other}
    return _Step("CONVOLUTION", name, {key: str(value) for key, value in numbers.items()})


_RELU = _Step("RELU", "", {})
_POOL = _Step("POOLING", "", {"kernel_size": "3", "stride": "2"})
_LRN = _Step("LRN", "", {"alpha": "1e-4"})
_CHAIN = (
    _convolution("conv1", 96, 11, stride=4), _RELU, _POOL, _LRN,
    _convolution("conv2", 256, 5, pad=2, group=2), _RELU, _POOL, _LRN,
    _convolution("conv3", 384, 3, pad=1), _RELU,
    _convolution("conv4", 384, 3, pad=1, group=2), _RELU,
    _convolution("conv5", 256, 3, pad=1, group=2), _RELU, _POOL,
    _Step("INNERPRODUCT", "fc6", {"num_output": "4096"}), _RELU,
    _Step("INNERPRODUCT", "fc7", {"num_output": "1024"}), _RELU,
)  # fmt: skip

# Where the parameters of a kind stand, and Caffe's defaults: whatever is not wanted to be
# something else has to be these.
_PARAMETERS: dict[str, tuple[str, dict[str, str]]] = {
    "CONVOLUTION": (
        "convolution_param",
        {"num_output": "", "kernel_size": "", "stride": "1", "pad": "0", "group": "1",
         "dilation": "1", "bias_term": "true", "axis": "1"},
    ),
    "POOLING": (
        "pooling_param",
        {"pool": "MAX", "kernel_size": "", "stride": "1", "pad": "0",
         "global_pooling": "false", "round_mode": "CEIL"},
    ),
    "LRN": (
        "lrn_param",
        {"local_size": "5", "alpha": "1", "beta": "0.75", "k": "1",
         "norm_region": "ACROSS_CHANNELS"},
    ),
    "INNERPRODUCT": (
        "inner_product_param",
        {"num_output": "", "bias_term": "true", "axis": "1", "transpose": "false"},
    ),
    "RELU": ("relu_param", {"negative_slope": "0"}),
}  # fmt: skip
_BY_AXIS = {
    "kernel_size": ("kernel_h", "kernel_w"),
    "stride": ("stride_h", "stride_w"),
    "pad": ("pad_h", "pad_w"),
}
_ENUMS = {"pool": ("MAX", "AVE", "STOCHASTIC"), "round_mode": ("CEIL", "FLOOR"),
          "norm_region": ("ACROSS_CHANNELS", "WITHIN_CHANNEL")}  # fmt: skip


def check_description(network: TextMessage, source: str) -> None:
    """Compare a prototxt with the published network. Raises MismatchError that lists all."""
    layers = network.messages.get("layer", []) + network.messages.get("layers", [])
    problems = _input_problems(network, layers)
    trunk = _trunk(layers)
    for place, step in enumerate(_CHAIN):
        if place == len(trunk):
            problems.append(f"{_said(step)} is missing, and all behind it")
            break
        layer = trunk[place]
        if _kind(layer) != step.kind or (step.name and layer.first("name") != step.name):
            problems.append(f"{layer.first('name')!r} stands where {_said(step)} is expected")
            break
        problems += _parameter_problems(layer, step)
    refuse(source, problems)


def _trunk(layers: Sequence[TextMessage]) -> list[TextMessage]:
    """The layers that conv1's input passes through, one after the other."""
    start = next((i for i, layer in enumerate(layers) if layer.first("name") == "conv1"), None)
    if start is None:
        return []
    blob = layers[start].first("bottom")
    trunk: list[TextMessage] = []
    for layer in layers[start:]:
        kind = _kind(layer)
        if blob not in layer.scalars.get("bottom", []) or kind.endswith("LOSS"):
            continue
        if kind not in _INERT:
            trunk.append(layer)
        if kind not in ("SILENCE", "ACCURACY"):
            blob = layer.first("top", blob)
        if len(trunk) == len(_CHAIN):
            break
    return trunk


def _kind(layer: TextMessage) -> str:
    """Convolution and CONVOLUTION, InnerProduct and INNER_PRODUCT are the same."""
    return layer.first("type").upper().replace("_", "")


def _said(step: _Step) -> str:
    return step.name or {"RELU": "a ReLU", "POOLING": "a pooling", "LRN": "an LRN"}[step.kind]


def _parameter_problems(layer: TextMessage, step: _Step) -> list[str]:
    where, defaults = _PARAMETERS[step.kind]
    given = layer.inner(where)
    problems = []
    for name, default in defaults.items():
        wanted = step.wanted.get(name, default)
        values = _values(given, name) or [default]
        wrong = [value for value in values if not _equal(value, wanted)]
        if wrong:
            said = wrong[0] or "missing"
            problems.append(f"{layer.first('name')}: {name} is {said}, not {wanted}")
    return problems


def _values(given: TextMessage, name: str) -> list[str]:
    """All values of a parameter, also those for one axis; numbers of an enum become names."""
    values = list(given.scalars.get(name, []))
    for axis in _BY_AXIS.get(name, ()):
        values += given.scalars.get(axis, [])
    names = _ENUMS.get(name, ())
    return [names[int(v)] if v in map(str, range(len(names))) else v for v in values]


def _equal(value: str, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except ValueError:
        return value.lower() == wanted.lower()


def _input_problems(network: TextMessage, layers: Sequence[TextMessage]) -> list[str]:
    """The size and the scale of the input, where they are said. A crop of training is not it."""
    sides = network.scalars.get("input_dim", [])[:4]
    shapes = network.messages.get("input_shape", [])[:1]
    for layer in layers:
        if _kind(layer) == "INPUT":
            shapes += layer.inner("input_param").messages.get("shape", [])[:1]
    all_sides = [sides] if sides else []
    all_sides += [shape.scalars.get("dim", []) for shape in shapes]
    wanted = [str(side) for side in INPUT]
    problems = [
        f"the input is {'x'.join(given[1:])}, not {'x'.join(wanted)}"
        for given in all_sides
        if given[1:] != wanted
    ]
    for layer in layers:
        scale = layer.inner("transform_param").first("scale", "1")
        if not _equal(scale, "1"):
            problems.append(f"{layer.first('name')}: pixels are multiplied by {scale}")
    return problems
