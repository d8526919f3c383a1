"""`vr export`: flags that do not go together, other forms, and the proof repeated."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REFUSED = [
    (["--opset", "17"], ["--opset 17", "18 to 25"]),
    (["--batch", "0"], ["--batch 0"]),
    (["--batch", "-3"], ["--batch -3"]),
    (["--size", "15"], ["--size 15"]),
    (["--size", "5000"], ["--size 5000"]),
    (["--precision", "fp8"], ["--precision", "fp16"]),
    (["--trt", "--profile", "8/4/1"], ["--profile", "8/4/1"]),
    (["--trt", "--profile", "1,2,4"], ["--profile", "1,2,4"]),
    (["--trt", "--batch", "4", "--profile", "1/2/4"], ["--profile", "1/2/4", "4"]),
    (["--profile", "1/2/4"], ["--profile", "--trt"]),
    (["--workspace", "2G"], ["--workspace", "--trt-rtx"]),
    (["--trt-rtx", "--workspace", "much"], ["--workspace much"]),
    (["--trt-rtx", "--workspace", "5"], ["--workspace 5"]),
    (["--runtime", "onnx"], ["--runtime", "--verify"]),
    (["--device", "cpu"], ["--device", "--verify"]),
    (["--verify", "exported", "--precision", "fp16"], ["--verify", "--precision"]),
    (["--verify", "exported", "--out", "there"], ["--verify", "--out"]),
    (["--verify", "exported", "--trt"], ["--verify", "--trt"]),
    (["runs/latest", "--verify", "exported"], ["--verify", "a run"]),
    (["--verify", "exported", "--runtime", "torch"], ["--runtime", "torch"]),
]


@pytest.mark.parametrize(("flags", "words"), REFUSED)
def test_flags_that_cannot_be(refuses, empty, flags, words):
    refuses(2, ["export", *flags], *words)
    assert list(empty.iterdir()) == []


def test_they_are_refused_before_anything_heavy_is_loaded(empty):
    """All in one fresh process: neither torch nor ONNX may have come by the end."""
    code = (
        "import json, sys; from cli.main import main\n"
        "codes = [main(['export', *flags]) for flags in json.loads(sys.argv[1])]\n"
        "heavy = ('torch', 'onnx', 'onnxruntime', 'tensorrt_rtx', 'cv2')\n"
        "print(set(codes), [name for name in heavy if name in sys.modules])"
    )
    flags = json.dumps([flags for flags, _ in REFUSED])
    done = subprocess.run(
        [sys.executable, "-c", code, flags], capture_output=True, text=True, check=True
    )
    assert done.stdout == "{2} []\n"


def test_another_size_and_batch(vr, workspace):
    made = vr("export", "--size", "48", "--batch", "2", "--out", "other", "--json")
    assert made.code == 0, made.err
    card = json.loads(Path("other/model.json").read_text())
    run = json.loads(Path("runs/latest/model.json").read_text())
    assert (card["preprocessing"]["height"], card["batch"]) == (48, 2)
    assert card["lineage"]["resized_from"] == run["fingerprint"] != card["fingerprint"]
    told = vr("export", "--verify", "other", "--json")
    assert told.code == 0
    assert told.json["parity"] == made.json["parity"]
    assert told.json["runtime"] == "onnxruntime cpu"


def test_verify_says_that_it_holds(vr, workspace):
    shutil.rmtree("runs")
    shutil.rmtree("patches")
    held = vr("export", "--verify", "exported", "--runtime", "onnx", "--device", "cpu")
    assert (held.code, held.out) == (0, "exported\n")
    assert "verified exported with onnxruntime cpu" in held.err


def test_verify_refuses_what_does_not_belong_together(refuses, workspace):
    verify = ["export", "--verify", "exported"]
    Path("exported/proof.safetensors").rename("proof")
    refuses(5, verify, "proof.safetensors", "missing")
    Path("exported/proof.safetensors").write_bytes(b"something else")
    refuses(5, verify, "proof.safetensors", "replaced")
    Path("proof").replace("exported/proof.safetensors")
    certificate = Path("exported/parity.json")
    failed = {**json.loads(certificate.read_text()), "passed": False}
    certificate.write_text(json.dumps(failed))
    refuses(4, verify, "parity.json", "vr export")
    certificate.write_text("{")
    refuses(5, verify, "parity.json")
    refuses(1, ["export", "--verify", "nowhere"], "nowhere", "no model.onnx")
    refuses(1, ["export", "--verify", "runs/latest"], "no bundle")


def test_a_name_that_is_not_utf8_is_refused(refuses, workspace):
    name = os.fsdecode(b"bad\xff")
    refuses(2, ["export", "--out", name], "not UTF-8", "--out")
    Path("exported").rename(name)
    refuses(1, ["export", "--verify", name], "not UTF-8")


def test_a_run_of_an_unknown_version(refuses, workspace):
    path = Path("runs/first/model.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 9}))
    before = Path("exported/model.json").read_bytes()
    refuses(5, ["export"], "version 9", "version 1")
    assert Path("exported/model.json").read_bytes() == before
