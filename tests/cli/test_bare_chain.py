"""The four commands as typed, in a folder with one clip: what they say, and to whom."""

import json
import re
from pathlib import Path

NUMBER = (int, float)

TRAIN = {
    "run": str, "steps": int, "loss": float, "checkpoint": str, "metrics": (dict, type(None)),
    "train_pairs": int, "held_out_pairs": int, "seconds": NUMBER,
}  # fmt: skip
EXPORT = {"bundle": str, "onnx": str, "engines": list, "precision": str, "parity": dict}
PARITY = {
    "cosine_min": float, "cosine_mean": float, "topk_overlap": float, "delta_recall@1": float,
    "passed": bool,
}  # fmt: skip
INDEX = {
    "index": str, "vectors": int, "dim": int, "kind": str, "bytes": int, "model": str,
    "segments": int, "measured_recall@10": float, "key": str, "memory_bytes": int, "removed": int,
    "mapped": int, "budget": dict, "inputs": int, "sources": int, "tracks": int, "labels": int,
}  # fmt: skip
INDEX_BUILD = INDEX | {
    "added": int, "skipped": int, "new_vectors": int, "quarantined": list, "seconds": NUMBER,
}  # fmt: skip
SEARCH = {
    "query": str, "index": str, "hits": list, "milliseconds": NUMBER, "examples": list,
    "negatives": list, "nothing": (str, type(None)), "left_out": list,
}  # fmt: skip
HIT = {
    "rank": int, "score": float, "id": int, "source": str, "time_s": NUMBER, "box": list,
    "track": str, "label": type(None), "camera": str,
}  # fmt: skip
MINE = {
    "out": str, "videos": int, "skipped": int, "frames": int, "pairs": int, "tracks": int,
    "total_pairs": int, "rejected": dict, "quarantined": list, "seconds": NUMBER,
    "frames_per_second": NUMBER, "forgotten": int, "footage_s": NUMBER,
    "audit": (dict, type(None)),
}  # fmt: skip


def agrees(content, contract, *, exactly=True):
    assert not exactly or set(content) == set(contract)
    for key, kind in contract.items():
        assert isinstance(content[key], kind), (key, content[key])
        if kind in (int, NUMBER):
            assert not isinstance(content[key], bool), key


def test_train_mines_first_and_says_so(built):
    assert built.train.code == 0, built.train.err
    assert "mining the videos of this folder first" in built.train.err
    agrees(built.train.json, TRAIN)
    assert built.train.json["run"] == "runs/first"
    assert built.train.json["steps"] == 4
    assert (built.folder / built.train.json["checkpoint"]).is_file()
    assert (built.folder / "runs/latest").resolve().name == "first"
    assert (built.folder / "patches/contact_sheet.png").is_file()


def test_export_keeps_to_its_contract(built):
    assert built.export.code == 0, built.export.err
    agrees(built.export.json, EXPORT)
    agrees(built.export.json["parity"], PARITY, exactly=False)
    assert built.export.json["parity"]["passed"] is True
    assert built.export.json["engines"] == []
    assert (built.folder / built.export.json["onnx"]).is_file()


def test_index_build_without_a_source_indexes_what_was_mined(built):
    assert built.index.code == 0, built.index.err
    agrees(built.index.json, INDEX_BUILD)
    card = json.loads((built.folder / "exported/model.json").read_bytes())
    assert built.index.json["model"] == card["fingerprint"]
    assert built.index.json["dim"] == card["dim"]
    assert built.index.json["vectors"] == built.index.json["new_vectors"] > 0


def test_search_finds_places_in_the_clip(built):
    assert built.search.code == 0, built.search.err
    agrees(built.search.json, SEARCH)
    hits = built.search.json["hits"]
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    assert len({hit["track"] for hit in hits}) == len(hits) > 1  # one hit a track
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    for hit in hits:
        agrees(hit, HIT)
        x0, y0, x1, y1 = hit["box"]
        assert 0 <= x0 < x1 <= 320
        assert 0 <= y0 < y1 <= 240
        assert hit["source"] == "clip.mp4"
        assert 0 <= hit["time_s"] <= 6


def test_mine_and_info_keep_to_their_contracts(vr, workspace):
    agrees(vr("mine", "--remine", "--json").json, MINE)
    agrees(vr("index", "info", "--json").json, INDEX)


def test_eval_says_that_nothing_was_held_out(refuses, workspace):
    refuses(1, ["eval"], "held-out")


def test_data_goes_to_stdout_and_all_else_to_stderr(vr, workspace, tiny):
    trained = vr("train", *tiny, "--name", "plain")
    assert (trained.code, trained.out) == (0, "runs/plain\n")
    assert "trained on" in trained.err
    exported = vr("export")
    assert (exported.code, exported.out) == (0, "exported\n")
    assert "cosine" in exported.err
    indexed = vr("index", "build", "--overwrite")
    assert (indexed.code, indexed.out) == (0, "index\n")
    found = vr("search", "image.jpg")
    assert found.code == 0
    assert "clip.mp4" in found.out
    assert "score" in found.out
    assert re.search(r"\d ms on onnxruntime cpu$", found.err.strip())
    mined = vr("mine")
    assert (mined.code, mined.out) == (0, "patches\n")


def test_the_page_of_a_search(vr, workspace):
    found = vr("search", "image.jpg", "--html", "deep/hits.html", "--json")
    assert found.code == 0
    page = Path("deep/hits.html").read_text(encoding="utf-8")
    # The query, and of each hit its crop and at least the frame of its moment.
    assert page.count("data:image/jpeg;base64,") >= 1 + 2 * len(found.json["hits"])
    assert "deep/hits.html" in found.err


def test_box_looks_for_a_part_of_the_image(vr, workspace):
    hit = vr("search", "image.jpg", "--json").json["hits"]
    region = vr("search", "image.jpg", "--box", "10,20,60,80", "--json").json["hits"]
    assert [h["score"] for h in hit] != [h["score"] for h in region]


def test_a_box_that_reaches_over_the_border_is_clipped(vr, workspace):
    assert vr("search", "image.jpg", "--box=-20,-20,60,80", "--json").code == 0


def test_top_and_min_score_bound_the_hits(vr, workspace):
    assert len(vr("search", "image.jpg", "-k", "1", "--json").json["hits"]) == 1
    ungrouped = vr("search", "image.jpg", "--top", "1000000", "--group", "none", "--json").json[
        "hits"
    ]
    assert len(ungrouped) == vr("index", "info", "--json").json["vectors"]
    none = vr("search", "image.jpg", "--min-score", "1", "--box", "0,0,9,9")
    assert (none.code, none.out) == (0, "")
    assert "nothing was found" in none.err


def test_a_table_in_a_pipe_is_never_cut(vr, workspace):
    name = "a-very-long-folder-name-that-is-wider-than-any-eighty-columns/" * 2
    Path(name).mkdir(parents=True)
    Path("image.jpg").rename(name + "image.jpg")
    vr("index", "build", name + "image.jpg")
    assert name + "image.jpg" in vr("search", name + "image.jpg").out
