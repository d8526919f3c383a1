"""Names for the nodes and values of a graph, after the modules that they came from.

The exporter numbers what it makes: `node_conv2d_3` gives `conv2d_3` with `val_17`. Whoever
looks at the graph, or reads an error of a runtime, is helped by `conv4` and `conv4.weight`.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter notes the modules of a node
_BACKBONE = "backbone."
_ROOT = "normalise"  # what the embedding network does itself, outside its two parts
_WEIGHTS = {"Conv": ("weight", "bias"), "Gemm": ("weight", "bias"), "MatMul": ("weight",)}


@dataclass(frozen=True, slots=True)
class _Modules:
    """Which kinds of nodes each module holds, and which modules lie inside others."""

    kinds: dict[str, set[str]]
    parents: frozenset[str]

    @classmethod
    def of(cls, nodes: Iterable["NodeProto"]) -> "_Modules":
        kinds: dict[str, set[str]] = defaultdict(set)
        parents: set[str] = set()
        for node in nodes:
            scopes = _scopes(node)
            kinds[scopes[-1]].add(node.op_type)
            parents.update(scopes[:-1])
        return cls(dict(kinds), frozenset(parents))


def name_graph(model: "ModelProto") -> None:
    """Rename nodes, weights and what flows between them, in place.

    A node is named by its module (`conv1`), with its kind behind where the module holds
    several (`blocks.0.add`), and numbered where the name comes more than once (`relu1`,
    `relu2`). It gives its name to its output. Reads the notes of torch's exporter.
    """
    graph = model.graph
    fixed = [value.name for value in (*graph.input, *graph.output)]
    weights = {tensor.name for tensor in graph.initializer}
    modules = _Modules.of(graph.node)
    names = _number([_base(node, weights, modules) for node in graph.node], taken=fixed)
    new = {name: name for name in fixed} | {"": ""}
    for node, name in zip(graph.node, names, strict=True):
        node.name = name
        for place, output in enumerate(node.output):
            new.setdefault(output, name if place == 0 else f"{name}.{place}")
    new |= _constants(graph.node, weights, taken=new.values())
    for node in graph.node:
        node.input[:] = [new[value] for value in node.input]
        node.output[:] = [new[value] for value in node.output]
    for tensor in graph.initializer:
        tensor.name = new[tensor.name]


def _scopes(node: "NodeProto") -> list[str]:
    """The modules around a node from the outermost, "", to its own."""
    for note in node.metadata_props:
        if note.key == _SCOPES:
            return list(ast.literal_eval(note.value))[:-1]  # the last is the node itself
    return [""]


def _base(node: Any, weights: set[str], modules: _Modules) -> str:
    """The name of a node before it is told from others of the same name."""
    if node.op_type in _WEIGHTS and node.input[1] in weights:
        # A BatchNorm that was folded into a convolution has left its own scope on it.
        owner, _, part = node.input[1].rpartition(".")
        if part == "weight":
            return str(owner.removeprefix(_BACKBONE))
    scope = _scopes(node)[-1]
    kind = str(node.op_type).lower()
    if scope + "." == _BACKBONE:
        return kind
    module = scope.removeprefix(_BACKBONE) or _ROOT
    is_plain = len(modules.kinds[scope]) == 1 and scope not in modules.parents
    return module if is_plain else f"{module}.{kind}"


def _number(names: Sequence[str], taken: Iterable[str]) -> list[str]:
    """Each name once: those that come more often are numbered from 1, in their order."""
    often = Counter(names)
    used = {*taken, *(name for name, times in often.items() if times == 1)}
    counts: Counter[str] = Counter()
    numbered = []
    for name in names:
        made = name
        while often[name] > 1 and (made == name or made in used):
            counts[name] += 1
            made = f"{name}_{counts[name]}" if name[-1].isdigit() else f"{name}{counts[name]}"
        used.add(made)
        numbered.append(made)
    return numbered


def _constants(
    nodes: Sequence["NodeProto"], weights: set[str], taken: Iterable[str]
) -> dict[str, str]:
    """Names of the weights: their own, or where they have none, whose input they are."""
    wanted: dict[str, str] = {}
    for node in nodes:
        for place, value in enumerate(node.input):
            if value in weights and value not in wanted:
                wanted[value] = _constant(node, place, value)
    return dict(zip(wanted, _number(list(wanted.values()), taken), strict=True))


def _constant(node: "NodeProto", place: int, value: str) -> str:
    if value.startswith((_BACKBONE, "preprocess.")):
        # What is left of a BatchNorm that was folded into a convolution without a bias.
        return value.removeprefix(_BACKBONE).replace(".weight_bias", ".bias")
    parts = _WEIGHTS.get(node.op_type, ())
    part = parts[place - 1] if 1 <= place <= len(parts) else _formal(node, place)
    return f"{node.name}.{part}"


def _formal(node: "NodeProto", place: int) -> str:
    """What ONNX calls an input: `axes` of a ReduceL2; `constant` of plain arithmetic."""
    import onnx

    inputs: Any = onnx.defs.get_schema(node.op_type, domain=node.domain).inputs
    name = str(inputs[min(place, len(inputs) - 1)].name)
    return name if len(name) > 1 else "constant"
