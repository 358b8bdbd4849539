"""SVG drawings over the tokens of a run. They stretch to the width of the page; their labels are
HTML beside them, and so keep their size on a phone."""

from __future__ import annotations

from collections.abc import Sequence

from adapt_axolotl.records.trajectory import Trajectory, compact

_WIDTH, _HEIGHT = 1000, 300


def band(run: Trajectory, below: Sequence[float], above: Sequence[float]) -> str:
    """A path along the steps of the upper edge, and back along those of the lower one."""
    end = run.edges[-1]
    at = [f"{_WIDTH * edge / end:.1f}" for edge in run.edges]

    def height(share: float) -> str:
        return f"{_HEIGHT * (1 - share):.1f}"

    path = f"M0 {height(above[0])}"
    for span, share in enumerate(above):
        path += f"V{height(share)}H{at[span + 1]}"
    for span in range(len(below) - 1, -1, -1):
        path += f"V{height(below[span])}H{at[span]}"
    return path + "Z"


def line(run: Trajectory, points: Sequence[tuple[int, float]], top: float) -> str:
    """A path through (tokens, value), with `top` at the upper edge."""
    end = run.edges[-1]
    return "M" + "L".join(
        f"{_WIDTH * at / end:.1f} {_HEIGHT * (1 - value / top):.1f}" for at, value in points
    )


def plot(
    kind: str, label: str, shapes: str, run: Trajectory, levels: Sequence[tuple[float, str]]
) -> str:
    """A drawing with its axes; `levels` are the heights, 0 to 1, that are marked."""
    end = int(run.edges[-1])
    marks = "".join(f'<u style="bottom:{100 * at:.2f}%"></u>' for at, _ in levels)
    labels = "".join(
        f'<span class="y" style="bottom:{100 * at:.2f}%">{text}</span>' for at, text in levels
    )
    for tick in ticks(end):
        at = tick / end
        if at < 0.88:  # beyond, it would run into the label of the end; on a phone before that
            near = " near" if at > 0.6 else ""
            labels += f'<span class="x{near}" style="left:{100 * at:.2f}%">{compact(tick)}</span>'
    labels += f'<span class="x end" style="left:100%">{compact(end)} tokens</span>'
    return (
        f'<div class="plot {kind}"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'preserveAspectRatio="none" role="img" aria-label="{label}">{shapes}</svg>{marks}{labels}'
        "</div>"
    )


def ticks(top: float) -> list[float]:
    """Round numbers from 0 to `top`, at most six."""
    size = 1.0
    while size > top:
        size /= 10
    while size * 10 <= top:
        size *= 10
    step = next(step for step in (size / 5, size / 2, size, 2 * size) if top / step < 6)
    return [number * step for number in range(int(top / step) + 1)]
