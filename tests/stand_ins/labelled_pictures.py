"""Labelled pictures drawn for tests: a folder for each class, noise in its own colour."""

from pathlib import Path

import numpy as np
from PIL import Image

TINTS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (210, 50, 40)}


def write_labels(folder: Path, each: int = 16) -> Path:
    """Three classes that are easy to tell apart."""
    rng = np.random.default_rng(4)
    for name, tint in TINTS.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.array(tint) + rng.integers(-40, 41, (8, 8, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.resize((32, 32)).save(folder / name / f"{number:02}.png")
    return folder
