"""Mistyped commands, flags, settings and vr.toml: exit 2, with the nearest name."""

from pathlib import Path

import pytest

from cli.main import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["trian", "train"]),
        (["index", "bulid"], ["bulid", "build"]),
        (["train", "--lss", "infonce"], ["--lss", "--loss"]),
        (["train", "--batch-pair", "3", "--stepz", "3"], ["--batch-pair"]),
        (["search", "image.jpg", "--modle", "x"], ["--modle", "--model"]),
        (["train", "--backbone", "smal"], ["smal", "small"]),
        (["train", "--recipe", "modren"], ["modren", "modern"]),
        (["train", "--loss", "rankhard"], ["rankhard", "rank-hard"]),
        (["train", "--split", "tiem"], ["tiem", "time"]),
        (["train", "--steps", "0"], ["steps", "0"]),
        (["train", "--steps", "many"], ["--steps"]),
        (["train", "--rate", "nan"], ["rate", "nan"]),
        (["train", "--size", "3"], ["size"]),
        (["train", "--held-out", "1"], ["held_out"]),
        (["mine", "--gap", "0"], ["gap"]),
        (["mine", "--min-quality", "7"], ["min_quality"]),
        (["search", "image.jpg", "--device", "tpu"], ["tpu", "cuda"]),
        (["search"], ["image"]),
        (["search", "a.jpg", "b.jpg", "--box", "1,2,3,4"], ["--box", "--batch"]),
        (["search", "image.jpg", "--top"], ["--top"]),
        (["train", "--name", "../outside"], ["../outside"]),
        (["train", "--name", "."], ["plain word"]),
        (["train", "--name", ""], ["empty text", "after --name"]),
        (["index", "build", ""], ["empty text", "after build", "variable"]),
        (["index", "remove", "--camera", ""], ["after --camera"]),
        (["search", "", "image.jpg"], ["after search"]),
        (["search", "image.jpg", "--index", ""], ["after --index"]),
        (["label", "import", ""], ["after import"]),
        ([""], ["after vr"]),
        (["train", "--name", "latest"], ["latest"]),
    ],
)
def test_a_wrong_command_line(refuses, workspace, arguments, words):
    refuses(2, arguments, *words)


def test_a_flag_that_is_like_no_other_gets_no_guess(vr, workspace):
    refused = vr("mine", "--zebra", "2").fails(2, "--zebra", "vr mine -h")
    assert "Did you mean" not in refused.err


def test_a_file_that_is_called_like_a_flag(vr, workspace):
    refused = vr("search", "--", "--json").fails(1, "--json")
    assert refused.out == ""  # it is a name here, so nobody asked for JSON


def test_no_arguments_show_the_help(vr, empty):
    assert "search" in vr().out
    assert "build" in vr("index").out


def test_vr_toml_sets_defaults_and_a_flag_beats_it(vr, workspace):
    Path("vr.toml").write_text("[search]\ntop = 2\nmin_score = -1.0\n[index.build]\ndevice = 'cpu'")
    assert len(vr("search", "image.jpg", "--json").json["hits"]) == 2
    assert len(vr("search", "image.jpg", "--top", "1", "--json").json["hits"]) == 1
    assert vr("index", "build").code == 0


def test_vr_toml_switches(vr, workspace):
    assert len(vr("search", "image.jpg", "--top", "50", "--json").json["hits"]) == 3
    Path("vr.toml").write_text("[search]\ngroup = 'none'\n")
    assert len(vr("search", "image.jpg", "--top", "50", "--json").json["hits"]) > 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[train", ["vr.toml", "cannot be read"]),
        ("[train]\nstps = 3", ["train.stps", "train.steps"]),
        ("[trian]\nsteps = 3", ["trian", "train"]),
        ("[index.biuld]\nmodel = 'x'", ["index.biuld", "index.build"]),
        ("train = 3", ["train", "[train]"]),
        ("version = true", ["version"]),
        ("[search]\njson = true", ["search.json"]),
        ("[search]\nimage = 'x.jpg'", ["search.image"]),
        ("[search.top]\nx = 1", ["search.top"]),
        ("[search]\ntop = 0", ["--top", "vr.toml"]),
        ("[search]\ntop = 'many'", ["--top", "vr.toml"]),
        ("[search]\ntop = 2.5", ["--top", "vr.toml"]),
        ("[search]\ntop = true", ["--top", "vr.toml"]),
        ("[search]\ntop = [1, 2]", ["--top", "vr.toml"]),
        ("[search]\ngroup = 'perhaps'", ["--group", "vr.toml"]),
        ("[search]\ndevice = 'tpu'", ["tpu", "vr.toml"]),
    ],
)
def test_a_broken_vr_toml(refuses, workspace, content, words):
    Path("vr.toml").write_text(content)
    refuses(2, ["search", "image.jpg"], *words)


def test_vr_toml_that_is_no_text(refuses, workspace):
    Path("vr.toml").write_bytes(b"\xff\xfe")
    refuses(2, ["search", "image.jpg"], "vr.toml")


def test_vr_toml_that_is_no_file(refuses, workspace):
    Path("vr.toml").mkdir()
    refuses(2, ["search", "image.jpg"], "vr.toml")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("vr 0.")
