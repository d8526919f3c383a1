"""Targets that cannot be written: said plainly, and nothing that was there is lost."""

import os
import resource
from pathlib import Path

import pytest


def target_commands(target, tiny):
    """Every command that writes, with the target in question."""
    return [
        ["mine", "clip.mp4", "--out", target],
        ["train", *tiny, "--out", target, "--name", "x"],
        ["export", "--out", target],
        ["index", "build", "--index", target],
        ["search", "image.jpg", "--html", target],
    ]


def test_a_file_is_in_the_way_of_a_folder(refuses, workspace, tiny):
    Path("file").write_text("precious")
    for command in target_commands("file/below", tiny):
        refuses(1, command, "file")
    assert Path("file").read_text() == "precious"


def test_a_file_is_where_the_folder_should_be(refuses, workspace, tiny):
    Path("file").write_text("precious")
    for command in target_commands("file", tiny)[:-1]:
        refuses(1, command, "file")
    assert Path("file").read_text() == "precious"


def test_a_folder_is_where_the_page_should_be(refuses, workspace):
    refuses(1, ["search", "image.jpg", "--html", "exported"], "exported", "folder")
    assert Path("exported/model.onnx").is_file()


def test_a_folder_that_takes_no_files(refuses, workspace, tiny):
    """As root every folder can be written, but for those of the kernel."""
    for command in target_commands("/proc/vr-test", tiny):
        refuses(1, command, "/proc/vr-test")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(refuses, workspace, tiny):
    Path("locked").mkdir(mode=0o500)
    for command in target_commands("locked/below", tiny):
        refuses(1, command, "permission")


def test_a_name_that_is_too_long(refuses, workspace):
    refuses(1, ["search", "image.jpg", "--html", "x" * 300], "too long")


def test_export_replaces_nothing_but_a_bundle(refuses, workspace):
    Path("album").mkdir()
    Path("album/photo.jpg").write_bytes(b"precious")
    refuses(1, ["export", "--out", "album"], "album", "no bundle")
    assert Path("album/photo.jpg").read_bytes() == b"precious"


def test_a_pipe_is_not_replaced_by_a_file(refuses, workspace):
    """/dev/full and /dev/stdout were once, by a rename."""
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    for target in ("pipe", "link"):
        refuses(1, ["search", "image.jpg", "--html", target], "no plain file")
    assert Path("pipe").is_fifo()
    assert Path("link").is_symlink()


def test_a_link_is_written_through(vr, workspace):
    Path("page.html").symlink_to("real.html")
    assert vr("search", "image.jpg", "--html", "page.html").code == 0
    assert Path("page.html").is_symlink()
    assert Path("real.html").read_text(encoding="utf-8").startswith("<!")


@pytest.mark.parametrize(
    "arguments",
    [
        ["mine", "--out", "new"],
        ["export", "--out", "new"],
        ["index", "build", "--index", "new"],
        ["search", "image.jpg", "--html", "new/page.html"],
    ],
)
def test_a_full_target(vr_process, workspace, arguments):
    """A limit on file sizes stands for a full disk: the write itself fails, in the middle."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (32768, 32768))

    process = vr_process(*arguments, "--json", preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert out.count("\n") == 1
    assert '"exit_code": 1' in out
    left = {path.name for path in Path("new").rglob("*") if path.suffix in {".tar", ".html"}}
    assert left == set()
    assert not Path("new/model.onnx").exists()
