"""KCF (Henriques et al. 2015) on the box of the paper."""

from toolkit.mining.wang2015.scaled import BOX_PX, BgrImage

# OpenCV's KCF halves a large box and transforms a window of twice that by Fourier: 227 pixels
# for the box of 227, a prime, which is eleven times slower than 224 = 2^5 * 7. The middle 224
# of the box are followed and the whole box is moved with them. Odd sides also have no middle
# pixel for the response to peak at, and drift.
_INNER_PX = 224
_INSET_PX = (BOX_PX - _INNER_PX) // 2


class KcfTracker:
    """Follows the 227x227 box whose corner is at (x, y); it keeps its size.

    The settings are OpenCV's own: gray levels and colour names as features (the authors'
    code has HOG), half the resolution for a box of more than 80x80 pixels (theirs: from
    100x100). Only that OpenCV gives up on a weak response is switched off: theirs never does.
    """

    def __init__(self, picture: BgrImage, x: int, y: int) -> None:
        import cv2

        settings = cv2.TrackerKCF.Params()
        settings.detect_thresh = 0.0
        self._kcf = cv2.TrackerKCF.create(settings)
        place = (x + _INSET_PX, y + _INSET_PX, _INNER_PX, _INNER_PX)
        self._kcf.init(picture, place)
        self._kcf.update(picture)  # it learns the thing only here, not in init

    def follow(self, picture: BgrImage) -> tuple[int, int] | None:
        """The corner of the box in the next frame, or None where it has left the frame."""
        found, (left, top, width, height) = self._kcf.update(picture)
        if not found:
            return None
        # OpenCV clips the box to the frame, so that at the left and the top it loses its corner.
        x = left if left > 0 else left + width - _INNER_PX
        y = top if top > 0 else top + height - _INNER_PX
        return x - _INSET_PX, y - _INSET_PX
