"""parity.json: how near each runtime comes to the trained network, and whether that will do."""

import sys
from collections.abc import Mapping
from typing import Any

from deploy.bundle import Bundle
from deploy.proof.parity import GATES, Gate, Parity, Precision
from toolkit.errors import MismatchError, QualityGateError
from toolkit.machine.cpu import read_cpu
from toolkit.workspace import read_json, write_json

_MEND = {
    "fp32": "Report this with the run's model.json and the output of `pip freeze`.",
    "fp16": "Export it with --precision fp32, whose numbers do not overflow.",
    "int8": "Export it with --precision fp16, or train on more patches: the ranges of int8 are "
    "measured on those.",
}
_NO_DENSE = (
    "Export it without --dense: of a mean image, which is made for one window, the dense graph "
    "can take off no more than the mean of each channel."
)


def is_dense(runtime: str) -> bool:
    """Whether a runtime, as its embedder names itself, ran the dense graph."""
    return runtime.endswith(", dense")


def precision_of(bundle: Bundle, runtime: str) -> Precision:
    """Of the graph that a runtime ran: a dense one is float32 whatever model.onnx is."""
    return "fp32" if is_dense(runtime) else bundle.precision


def certify(
    bundle: Bundle,
    runtime: str,
    parity: Parity,
    engine: str = "",
    windows: Mapping[str, Any] | None = None,
) -> None:
    """Enter into the bundle's parity.json what was measured with one runtime.

    engine: the name of its file, where it ran one; entries of engines that are no longer
    there go. windows: of a dense graph, how far windows are from patches alone. Raises
    StorageError.
    """
    entries = _read_entries(bundle)
    measured = parity.as_json(precision_of(bundle, runtime))
    more = {} if windows is None else {"windows": dict(windows)}
    where = {"runtime": runtime, "version": _version(runtime), "processor": read_cpu().model}
    entries[engine or runtime] = {**where, "engine": engine or None, **measured, **more}
    gate = GATES[bundle.precision]
    content = {
        "version": 1,
        "precision": bundle.precision,
        "gate": gate.as_json(classes=bool(bundle.classes)),
        "onnx_sha256": bundle.onnx_sha256,
        "proof_sha256": bundle.proof_sha256,
        "runtimes": list(entries.values()),
        "passed": all(entry["passed"] is True for entry in entries.values()),
    }
    write_json(bundle.parity, content)


def _version(runtime: str) -> str:
    """Of the package that just ran; its name is the first word of the runtime's."""
    return str(getattr(sys.modules.get(runtime.split()[0]), "__version__", ""))


def _read_entries(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """The entries of this very bundle, by engine or runtime."""
    if not bundle.parity.is_file():
        return {}
    content = read_json(bundle.parity, "certificate")
    if content.get("onnx_sha256") != bundle.onnx_sha256:
        return {}
    try:
        entries = {str(e["engine"] or e["runtime"]): dict(e) for e in content["runtimes"]}
    except (KeyError, TypeError, ValueError) as error:
        raise MismatchError(
            f"{bundle.parity} is no certificate: {error!r}.",
            mend="Export the bundle again with `vr export`.",
        ) from error
    return {name: entry for name, entry in entries.items() if _is_there(bundle, entry)}


def _is_there(bundle: Bundle, entry: dict[str, Any]) -> bool:
    return entry["engine"] is None or (bundle.engines / str(entry["engine"])).is_file()


def check_gate(parity: Parity, bundle: Bundle, runtime: str, after: str) -> None:
    """Raises QualityGateError where the parity will not do; `after` says what became of it."""
    precision = precision_of(bundle, runtime)
    gate = GATES[precision]
    if parity.passes(gate):
        return
    raise QualityGateError(
        f"The export ({precision}, {runtime}) does not retrieve what the network does: "
        f"over {parity.patches} patches the least cosine is {parity.cosine_min:.6f} (at least "
        f"{gate.cosine_min} is wanted) and R@1 changes by {100 * parity.delta_recall:+.2f} "
        f"points (at most {100 * gate.delta_recall:g}).{_classes(parity, gate)}"
        f"{_few(parity, gate)} {after}",
        mend=_NO_DENSE if is_dense(runtime) else _MEND[precision],
    )


def _classes(parity: Parity, gate: Gate) -> str:
    """What a classifier names otherwise, where that is too much."""
    if parity.classes is None or parity.names_the_same(gate):
        return ""
    found = parity.classes
    return (
        f" It names {100 * (1 - found.top1_agreement):.2f} % of them otherwise (at most "
        f"{100 * (1 - gate.top1_agreement):g}) and its accuracy changes by "
        f"{100 * found.delta_accuracy:+.2f} points (at most {100 * gate.delta_accuracy:g})."
    )


def _few(parity: Parity, gate: Gate) -> str:
    """Where one answer is more than the gate allows: that it is, and what would be enough."""
    if not parity.cosine_min >= gate.cosine_min or 1 / parity.patches <= gate.delta_recall:
        return ""
    more = "Mine more video, or hold more out of training."
    if parity.classes is not None:
        more = "A transfer from more labelled pictures holds more of them out."
    return (
        f" With so few patches one answer is {100 / parity.patches:.2f} points; of "
        f"{1 / gate.delta_recall:.0f} patches, one may change. {more}"
    )
