"""The patches of images: whole, cut, and as dense windows."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from indexes.sources import Cut, Reading, Source, read_patches
from toolkit.embedding import Embedder, WindowEmbedder, Windows
from toolkit.errors import ImageError, UsageError
from toolkit.images import crop_patch
from toolkit.mining.cameras import CameraRule
from toolkit.records import Box


def patches_of(path, embedder, **settings):
    reading = Reading(**settings)
    source = Source(path, "image", reading.of("image"))
    return list(read_patches(source, source.sha256(), reading, embedder))


def test_an_image_is_one_patch_of_its_whole_area(pictures, picture_of, embedder):
    (path,) = pictures([7])
    (patch,) = patches_of(path, embedder)
    assert (patch.origin.path, patch.origin.kind) == (str(path), "image")
    assert patch.origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (patch.time_s, patch.track, patch.origin.camera) == (None, None, None)
    assert (patch.vector, patch.label) == (None, None)
    assert patch.box == (0, 0, 56, 40)
    np.testing.assert_array_equal(patch.image, picture_of(7))


def test_cells_and_windows_are_what_a_search_of_their_box_looks_for(pictures, picture_of, embedder):
    (path,) = pictures([7])
    cut = Cut(grids=((1, 1), (2, 3)), windows=(16,), overlap=0.25)
    patches = patches_of(path, embedder, cut=cut)
    assert [patch.box for patch in patches] == list(cut.boxes(56, 40))
    assert len(patches) > 7
    np.testing.assert_array_equal(patches[0].image, picture_of(7))
    for patch in patches[1:]:
        np.testing.assert_array_equal(patch.image, crop_patch(picture_of(7), Box(*patch.box)))
        assert patch.vector is None


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (5, 4)])
def test_a_small_picture_is_not_lost(tmp_path, embedder, size):
    Image.new("RGB", size).save(tmp_path / "small.png")
    for cut in (Cut(), Cut(grids=((3, 3),)), Cut(windows=(64, 128))):
        patches = patches_of(tmp_path / "small.png", embedder, cut=cut)
        assert patches
        assert all(patch.image.size for patch in patches)


def test_a_camera_is_named_where_somebody_says_so(pictures, embedder):
    (path,) = pictures([7])
    (patch,) = patches_of(path, embedder, cameras=CameraRule(name="gate"))
    assert patch.origin.camera == "gate"
    (patch,) = patches_of(path, embedder, cameras=CameraRule(pattern="{camera}/*"))
    assert patch.origin.camera == "pictures"


@pytest.mark.parametrize(
    "damage", [lambda b: b[:60], lambda b: b"", lambda b: b"no image"], ids=["cut", "empty", "text"]
)
def test_what_is_no_image_is_an_image_error(pictures, embedder, damage):
    (path,) = pictures([7])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ImageError, match=r"0007\.png"):
        patches_of(path, embedder)


class Dense:
    """Windows of 32 px every 16, two at a time; the vector tells what was in the window."""

    def __init__(self, embedder) -> None:
        self.card = replace(embedder.card, fingerprint="d" * 64)
        self.runtime = "numpy cpu, dense"
        self._embedder = embedder

    def embed(self, images):
        return self._embedder.embed(images)

    def close(self) -> None:
        pass

    def windows_of(self, image):
        height, width = image.shape[:2]
        rows = [
            (x, y, x + 32, y + 32)
            for y in range(0, max(height - 31, 1), 16)
            for x in range(0, max(width - 31, 1), 16)
        ]
        for start in range(0, len(rows), 2):
            some = rows[start : start + 2]
            cuts = [image[y0:y1, x0:x1] for x0, y0, x1, y1 in some]
            vectors = self.embed(np.stack([self.card.preprocessing.fit(cut) for cut in cuts]))
            yield Windows(vectors, np.minimum(np.float32(some), (width, height) * 2))


def test_dense_windows_come_with_their_vectors_and_a_picture_to_show(
    tmp_path, picture_of, embedder
):
    dense = Dense(embedder)
    assert isinstance(dense, WindowEmbedder)
    assert isinstance(dense, Embedder)
    image = picture_of(3, 80, 96)
    Image.fromarray(image).save(tmp_path / "p.png")
    patches = patches_of(tmp_path / "p.png", dense, dense=True)
    wanted = [(x, y, x + 32, y + 32) for y in (0, 16, 32, 48) for x in (0, 16, 32, 48, 64)]
    assert [patch.box for patch in patches] == wanted
    for patch in patches:
        x0, y0, x1, y1 = map(int, patch.box)
        np.testing.assert_array_equal(patch.image, image[y0:y1, x0:x1])
        np.testing.assert_array_equal(patch.vector, dense.embed(image[None, y0:y1, x0:x1])[0])


def test_dense_windows_of_several_scales_have_boxes_of_the_picture(tmp_path, picture_of, embedder):
    image = picture_of(3, 128, 192)
    Image.fromarray(image).save(tmp_path / "p.png")
    patches = patches_of(tmp_path / "p.png", Dense(embedder), dense=True, cut=Cut(windows=(32, 64)))
    sides = [(p.box[2] - p.box[0], p.box[3] - p.box[1]) for p in patches]
    assert sides == [(64, 64)] * 15 + [(32, 32)] * 77
    assert patches[1].box == (32, 0, 96, 64)
    np.testing.assert_array_equal(patches[1].image, image[0:64, 32:96])
    half = np.asarray(Image.fromarray(image).resize((96, 64), Image.Resampling.BILINEAR))
    wanted = embedder.embed(half[None, 0:32, 16:48])[0]
    np.testing.assert_allclose(patches[1].vector, wanted, atol=1e-6)


def test_a_dense_reading_of_a_model_without_windows_is_refused(pictures, embedder):
    (path,) = pictures([7])
    with pytest.raises(UsageError, match="no windows"):
        patches_of(path, embedder, dense=True)
    with pytest.raises(UsageError, match="smaller than the network's, 32"):
        patches_of(path, Dense(embedder), dense=True, cut=Cut(windows=(31,)))
