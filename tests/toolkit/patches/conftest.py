"""The folder of a published list, imitated."""

import pytest
from published_lists import jpeg, name_of


@pytest.fixture
def folder(tmp_path):
    """60 patches below tmp_path/patches."""
    for place in range(60):
        path = tmp_path / "root" / name_of(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(place))
    return tmp_path / "root"
