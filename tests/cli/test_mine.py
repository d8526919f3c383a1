"""The flags of `vr mine`: workers, cameras, what is forgotten, and Ctrl-C with workers."""

import json
import os
import shutil
import signal
import sys
import time
import types
from contextlib import suppress
from pathlib import Path

import pytest

from toolkit.patches.shards import read_pairs


@pytest.fixture
def footage(moving_clip, still_clip, empty):
    """A folder footage/gate/ and footage/yard/, each with a video, as the current one."""
    for camera, clip in (("gate", moving_clip), ("yard", still_clip)):
        Path("footage", camera).mkdir(parents=True)
        shutil.copy(clip, Path("footage", camera, "one.mp4"))


def test_workers_give_the_same_pairs_and_an_audit(vr, footage):
    told = [vr("mine", "--workers", n, "--out", f"p{n}", "--json") for n in (0, 2)]
    assert [result.code for result in told] == [0, 0], told[1].err
    shards = [sorted(Path(f"p{n}").glob("*.tar")) for n in (0, 2)]
    assert len(shards[0]) == 1
    assert shards[0][0].read_bytes() == shards[1][0].read_bytes()
    for result, n in zip(told, (0, 2), strict=True):
        assert result.json["audit"]["pairs"] == result.json["total_pairs"] > 0
        assert json.loads(Path(f"p{n}/audit.json").read_text())["pairs"] == result.json["pairs"]
        assert f"p{n}/contact_sheet.html" in result.err
    assert told[0].json["audit"] == told[1].json["audit"]
    again = vr("mine", "--out", "p0", "--json")
    assert again.json["audit"] is None
    Path("p0/audit.json").unlink()  # as a kill after the ledger leaves it
    assert vr("mine", "--out", "p0", "--json").json["audit"] == told[0].json["audit"]


def test_the_camera_is_a_part_of_the_path_or_a_name(vr, footage):
    flags = ["--workers", "0", "--camera-pattern", "footage/{camera}/*"]
    assert vr("mine", *flags).code == 0
    assert {stored.pair.camera for stored in read_pairs(Path("patches"))} == {"gate"}
    assert "other settings" not in vr("mine", *flags).err
    assert "other settings" in vr("mine", "--workers", "0", "--camera", "west").err


def test_camera_flags_that_make_no_sense(refuses, footage):
    both = ["mine", "--camera", "a", "--camera-pattern", "{camera}/*"]
    refuses(2, both, "--camera and --camera-pattern")
    refuses(2, ["mine", "--camera-pattern", "yard/{camera}.mp4"], "does not fit")
    assert not Path("patches").exists()


def test_forget_takes_the_pairs_out_and_tells(vr, refuses, workspace):
    before = vr("mine", "--json").json["total_pairs"]
    refuses(1, ["mine", "--forget", "other.mp4"], "other.mp4", "clip.mp4")
    refuses(2, ["mine", "clip.mp4", "--forget", "clip.mp4"], "--forget")
    told = vr("mine", "--forget", "clip.mp4", "--json")
    assert told.code == 0
    [gone] = told.json["forgotten"]
    assert (gone["video"], gone["pairs"]) == ("clip.mp4", before)
    assert (told.json["out"], told.json["total_pairs"]) == ("patches", 0)
    assert not list(Path("patches").glob("*.tar"))
    assert not Path("patches/contact_sheet.png").exists()
    assert json.loads(Path("patches/audit.json").read_text())["pairs"] == 0
    assert "vr index build --overwrite" in told.err
    again = vr("mine", "--json")
    assert (again.json["videos"], again.json["forgotten"], again.json["pairs"]) == (0, 1, 0)
    assert "1 video forgotten" in again.err
    assert vr("mine", "--remine", "clip.mp4", "--json").json["total_pairs"] == before


def test_forget_where_nothing_was_mined(refuses, empty):
    refuses(1, ["mine", "--forget", "clip.mp4"], "Nothing was mined into patches", "--out")


def test_the_recipe_is_a_flag(vr, refuses, workspace):
    refuses(2, ["mine", "--recipe", "wang2014"], "wang2014")
    refuses(2, ["mine", "--recipe", "wang2015", "--gap", "2"], "gap_s")
    assert "mined before with other settings" in vr("mine", "--recipe", "wang2015").err


def test_a_cluster_that_is_not_there(refuses, footage, monkeypatch):
    refuses(2, ["mine", "--ray", "auto", "--workers", "2"], "--ray", "--workers")
    monkeypatch.setitem(sys.modules, "ray", None)
    refuses(6, ["mine", "--ray", "auto"], "ray", "vr-toolkit[scale]")
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    refuses(2, ["mine", "--ray", "ray://127.0.0.1:10001"], "remote client")
    refuses(2, ["mine", "--ray", "somewhere"], "no address", "HOST:PORT")
    refuses(1, ["mine", "--ray", "127.0.0.1:1"], "127.0.0.1:1 cannot be reached", "ray start")


def living(group):
    """The processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(path.parent.name)
    return found


def test_ctrl_c_ends_all_workers_and_keeps_what_was_finished(vr, vr_process, moving_clip, empty):
    for number in range(5):  # four bytes that a player passes over
        Path(f"{number}.mp4").write_bytes(moving_clip.read_bytes() + number.to_bytes(4, "big"))
    process = vr_process("mine", "--workers", "2", "--json", start_new_session=True)
    end = time.monotonic() + 60
    while not any(Path("patches").glob("ledger/*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert json.loads(out)["exit_code"] == 130
    assert "Traceback" not in err
    while living(process.pid):
        assert time.monotonic() < end
        time.sleep(0.05)
    kept = {path: path.stat().st_mtime_ns for path in Path("patches").glob("*.tar")}
    assert kept
    told = vr("mine", "--workers", "0", "--json")
    assert told.json["skipped"] >= 1
    assert told.json["skipped"] + told.json["videos"] == 5
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not Path("patches/.parts").exists()
