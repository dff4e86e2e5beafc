"""What colour a picture shows in its middle: eleven words, by hue, saturation and brightness.

It knows arrays of pixels. It does not know labels, prompts or networks; the CLIPs' colour prompts and the pack's
colour figures both ask it, so they mean the same by "red".
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

COLOURS = ("black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
HUES = ((15, "red"), (42, "orange"), (70, "yellow"), (165, "green"), (255, "blue"), (290, "purple"), (345, "pink"))
NONE = -1


def middle_colours(pictures: NDArray[np.uint8], least: float = 0.3) -> NDArray[np.int64]:
    """The number in COLOURS that leads in each picture's middle, NONE where none has the share `least`."""
    shares = middle_shares(pictures)
    best: NDArray[np.int64] = shares.argmax(1)
    return np.where(shares.max(1) >= least, best, NONE)


def middle_shares(pictures: NDArray[np.uint8], chunk: int = 4096) -> NDArray[np.float32]:
    """[count, 11]: how much of the middle half of each picture [count, side, side, 3] has each colour."""
    side = pictures.shape[1]
    low, high, step = side // 4, side - side // 4, max(1, side // 32)
    middle = pictures[:, low:high:step, low:high:step]
    parts = [_shares(middle[start : start + chunk]) for start in range(0, len(middle), chunk)]
    return np.concatenate(parts) if parts else np.zeros((0, len(COLOURS)), np.float32)


def colour_pixels(pictures: NDArray[np.uint8], colour: str) -> NDArray[np.float32]:
    """The pixels [n, 3] in [0, 1] of the pictures' middles that have this colour."""
    side = pictures.shape[1]
    low, high = side // 4, side - side // 4
    middle = pictures[:, low:high, low:high].astype(np.float32) / np.float32(255)
    found: NDArray[np.float32] = middle[_name(middle) == COLOURS.index(colour)]
    return found


def _shares(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    numbers = _name(pixels.astype(np.float32) / np.float32(255)).reshape(len(pixels), -1)
    counts = [(numbers == number).mean(1) for number in range(len(COLOURS))]
    return np.stack(counts, 1).astype(np.float32)


def _name(rgb: NDArray[np.float32]) -> NDArray[np.int64]:
    high, low = rgb.max(-1), rgb.min(-1)
    spread = high - low
    saturation = spread / np.maximum(high, 1e-6)
    hue = _hue(rgb, high, spread)
    number = np.full(hue.shape, COLOURS.index("red"))
    for (start, _), (end, name) in pairwise(HUES):
        number[(hue >= start) & (hue < end)] = COLOURS.index(name)
    dull_orange = (hue >= 10) & (hue < 50) & (high < 0.62) & (saturation >= 0.25)
    number[dull_orange] = COLOURS.index("brown")
    number[(number == COLOURS.index("red")) & (saturation < 0.5) & (high > 0.75)] = COLOURS.index("pink")
    grey = (saturation < 0.18) | ((saturation < 0.3) & (high < 0.35))
    number[grey] = COLOURS.index("gray")
    number[grey & (high > 0.8)] = COLOURS.index("white")
    number[(high < 0.2) | (grey & (high < 0.25))] = COLOURS.index("black")
    return number


def _hue(rgb: NDArray[np.float32], high: NDArray[np.float32], spread: NDArray[np.float32]) -> NDArray[np.float32]:
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    safe = np.maximum(spread, 1e-6)
    sixth = np.where(
        high == red,
        (green - blue) / safe % 6,
        np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    turned: NDArray[np.float32] = sixth * 60
    return turned
