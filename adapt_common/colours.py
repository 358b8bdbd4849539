"""Colours of tasks, the same in every picture: a task keeps its number, and so its colour."""

from __future__ import annotations

import math

# The golden angle: however many hues there are, the next one falls into the widest gap.
_TURN = 180 * (3 - math.sqrt(5))
_FIRST = 255  # blue
# Neighbours differ in lightness too. All three can be seen on white and on black.
_LIGHTNESS = (0.58, 0.72, 0.48)
_CHROMA = 0.15


def colour(number: int) -> str:
    """The colour of a task as `#rrggbb`.

    Args:
        number: of the task, from 0; there is no last one.
    """
    hue = math.radians((_FIRST + number * _TURN) % 360)
    # 21 turns lead back to nearly the same hue, which then comes in another lightness.
    lightness, chroma = _LIGHTNESS[(number + number // 21) % len(_LIGHTNESS)], _CHROMA
    while True:
        channels = _linear(lightness, chroma * math.cos(hue), chroma * math.sin(hue))
        if all(0 <= one <= 1 for one in channels):
            return "#" + "".join(f"{round(255 * _gamma(one)):02x}" for one in channels)
        chroma *= 0.95  # towards grey, until a screen can show it


def _linear(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """Linear red, green and blue of a colour in Oklab (Ottosson 2020), where equal distances look
    alike."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _gamma(channel: float) -> float:
    """From linear to sRGB."""
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
