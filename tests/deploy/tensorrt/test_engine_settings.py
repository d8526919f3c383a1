from dataclasses import asdict, replace

import pytest

from deploy.tensorrt import EngineSettings, Profile
from deploy.tensorrt.key import EngineKey
from toolkit.errors import UsageError

KEY = EngineKey(
    "a" * 64, "tensorrt", "11.4.0", "13", "sm90", "NVIDIA H200", "fp16", Profile(), None
)


@pytest.mark.parametrize("batches", [(0, 1, 2), (1, 3, 2), (4, 3, 8), (1, 1, 4097)])
def test_an_impossible_profile_is_a_usage_error(batches: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="cannot be built") as caught:
        Profile(*batches)
    assert "min <= opt <= max" in caught.value.mend


def test_a_profile_is_read_as_it_is_written() -> None:
    assert Profile.parse("1/32/128") == Profile(1, 32, 128)
    assert Profile.parse(str(Profile(2, 3, 4))) == Profile(2, 3, 4)


@pytest.mark.parametrize("text", ["", "1", "1/2", "1/2/3/4", "a/b/c", "-1/2/3", "1/2/3 ", "1/٢/3"])
def test_what_is_no_profile_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="no batch profile"):
        Profile.parse(text)


def test_a_workspace_that_nothing_fits_in_is_a_usage_error() -> None:
    assert EngineSettings(workspace_bytes=1 << 20).workspace_bytes == 1 << 20
    with pytest.raises(UsageError, match="too small"):
        EngineSettings(workspace_bytes=(1 << 20) - 1)


def test_the_profiles_of_a_bundle() -> None:
    twice = EngineSettings((Profile(), Profile(1, 1, 1), Profile()))
    assert EngineSettings().profiles_for(None) == (Profile(1, 32, 128),)
    assert EngineSettings().profiles_for(8) == (Profile(8, 8, 8),)
    assert twice.profiles_for(None) == (Profile(), Profile(1, 1, 1))
    assert EngineSettings((Profile(8, 8, 8),)).profiles_for(8) == (Profile(8, 8, 8),)
    assert EngineSettings(()).profiles_for(None) == EngineSettings(()).profiles_for(8) == ()
    with pytest.raises(UsageError, match="8 pictures at a time"):
        twice.profiles_for(8)


def test_a_key_comes_back_from_json() -> None:
    assert EngineKey.from_json(asdict(KEY)) == KEY
    assert EngineKey.from_json(asdict(replace(KEY, workspace_bytes=5))).workspace_bytes == 5


def test_every_field_changes_the_digest() -> None:
    changes = {
        "onnx_sha256": "b" * 64,
        "target": "tensorrt_rtx",
        "version": "11.4.1",
        "cuda": "12",
        "sm": "sm89",
        "gpu": "NVIDIA H100",
        "precision": "int8",
        "profile": Profile(1, 1, 1),
        "workspace_bytes": 1,
    }
    assert set(changes) == set(asdict(KEY))
    digests = {replace(KEY, **{name: value}).digest() for name, value in changes.items()}
    assert len(digests | {KEY.digest()}) == len(changes) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"target": "onnx"},
        {"precision": "fp64"},
        {"profile": {"min": 2, "opt": 1, "max": 1}},
        {"profile": {"min": 1}},
        {"profile": 3},
        {"workspace_bytes": "much"},
        {"target": ["tensorrt"]},
    ],
)
def test_what_is_no_key_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, UsageError)):
        EngineKey.from_json(asdict(KEY) | change)


def test_file_names_are_plain() -> None:
    assert KEY.stem == "tensorrt-11.4.0-sm90-nvidia-h200-fp16-b1-32-128"
    odd = replace(KEY, gpu="NVIDIA RTX(tm) A6000/../x", sm="sm86")
    assert odd.stem == "tensorrt-11.4.0-sm86-nvidia-rtx-tm-a6000-x-fp16-b1-32-128"
    rtx = replace(KEY, target="tensorrt_rtx", gpu="", sm="any")
    assert rtx.stem == "tensorrt_rtx-11.4.0-any-fp16-b1-32-128"
