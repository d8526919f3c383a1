"""Searching stays light: seen from a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

from indexes.build.build import build

ROOT = Path(__file__).parents[2]
HEAVY = ["torch", "faiss", "cv2", "av", "onnx", "onnxruntime", "jinja2", "sqlalchemy"]

SEARCH = """
from pathlib import Path
import numpy
from indexes.search.index import open_index
with open_index(Path(sys.argv[1])) as index:
    hits = index.search(numpy.ones(16, numpy.float32), 3)
    assert len(hits) == 3
"""


def loaded_after(code, *arguments):
    """Which heavy packages a fresh interpreter holds after the code."""
    script = f"import json, sys\n{code}\n"
    script += f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_importing_search_page_and_build_loads_nothing_heavy():
    assert loaded_after("import indexes.search.index, indexes.search.page") == []
    assert loaded_after("import indexes.build.build, indexes.info, indexes.sources") == []
    code = "import indexes.build.remove, indexes.build.compact, indexes.build.verify"
    assert loaded_after(code) == []


def test_a_search_loads_faiss_and_nothing_else(tmp_path, pictures, embedder):
    build(tmp_path / "index", pictures(3), embedder)
    assert loaded_after(SEARCH, tmp_path / "index") == ["faiss"]


def test_without_faiss_the_install_line_is_named(tmp_path, pictures, embedder):
    build(tmp_path / "index", pictures(3), embedder)
    code = (
        "from pathlib import Path\nsys.modules['faiss'] = None\n"
        "from indexes.search.index import open_index\nfrom toolkit.errors import MissingError\n"
        "try: open_index(Path(sys.argv[1]))\n"
        "except MissingError as error: assert 'vr-toolkit[cpu]' in error.mend\n"
        "else: raise SystemExit('it opened')"
    )
    assert "faiss" in loaded_after(code, tmp_path / "index")  # the None that blocks it
