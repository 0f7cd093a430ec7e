"""In which order the codes of a frame are drawn: one by one, or several at once.

- `CodeSchedule`: waves of cells; a wave's codes are drawn together.
- `raster(length)`: one cell per wave. `diagonal(grid, window)`: MineWorld's parallel decoding (arXiv 2504.08388, section 3.3).
- `schedule(name, grid, window)`: by name, of `NAMES`.

A code is predicted at the token before it. Where that token is not drawn yet (the last one of the row above), MineWorld feeds
a stand-in: the code at the same place of the video's first frame. Places that are not filled yet are masked by "diagonal".
The published decoder does not mask them: they take part in attention as keys and values of zero, each with weight e^0 in the
softmax. "diagonal-compat" does the same, for numbers that compare with published ones.
"""

from __future__ import annotations

import dataclasses
import functools

from worldgym.errors import InputError, unknown

NAMES = ("raster", "diagonal", "diagonal-compat")


@dataclasses.dataclass(frozen=True)
class CodeSchedule:
    """Waves of cells, each cell of a frame exactly once, cell 0 alone at first.

    Attributes:
        name: of `NAMES`.
        waves: cells in raster order numbers, drawn together.
        zeros: True if places that are not filled yet take part as zero keys and values.
        always: cells that are fed as stand-ins even where their code is known in time.
    """

    name: str
    waves: tuple[tuple[int, ...], ...]
    zeros: bool = False
    always: frozenset[int] = frozenset()

    @property
    def width(self) -> int:
        """The most cells in one wave."""
        return max(map(len, self.waves))

    @functools.cached_property
    def drawn(self) -> tuple[int, ...]:
        """(L,) the wave that draws each cell."""
        where = {cell: wave for wave, cells in enumerate(self.waves) for cell in cells}
        return tuple(where[cell] for cell in range(len(where)))

    @functools.cached_property
    def stand_ins(self) -> frozenset[int]:
        """Cells for which a stand-in is fed: their code is not known yet when the cell after them is drawn."""
        return self.always | {cell for cell, wave in enumerate(self.drawn[:-1]) if self.drawn[cell + 1] <= wave}

    def orders(self, frame: int, segment: int, generated: bool) -> list[int]:
        """When each token of the stretch [action segment S, codes L] of a frame enters the model; equal means together.

        A token sees the tokens at and before its own place that have entered by then.

        Args:
            frame: its number.
            segment: S tokens of the action that leads to it; 0 for frame 0.
            generated: False for given frames, which enter causally.
        """
        if not generated:
            return [-1] * (segment + len(self.drawn))
        base, after = frame * len(self.waves), (frame + 1) * len(self.waves)
        return [base] * segment + [base + wave for wave in self.drawn[1:]] + [after]


def raster(length: int) -> CodeSchedule:
    """L waves of one cell."""
    return CodeSchedule("raster", tuple((cell,) for cell in range(length)))


def diagonal(grid: tuple[int, int], window: int = 2, compat: bool = False) -> CodeSchedule:
    """Row r + 1 starts when row r has `window` codes: (w - 1) + window (h - 1) + 1 waves.

    With `compat` as the published decoder has it: zero keys, and stand-ins even at a window as wide as a row.

    >>> len(diagonal((14, 24)).waves), diagonal((14, 24)).width
    (50, 12)
    """
    (rows, columns), waves = grid, {}
    if not 1 <= window <= columns:
        raise InputError(f"window is {window}, but it must be from 1 to the {columns} columns of the grid")
    for row in range(rows):
        for column in range(columns):
            waves.setdefault(window * row + column, []).append(row * columns + column)
    cells = tuple(tuple(waves[wave]) for wave in sorted(waves))
    ends = frozenset(row * columns - 1 for row in range(1, rows))
    return CodeSchedule("diagonal-compat", cells, True, ends) if compat else CodeSchedule("diagonal", cells)


def schedule(name: str, grid: tuple[int, int], window: int = 2) -> CodeSchedule:
    """A schedule by name for an (h, w) grid of codes."""
    if name not in NAMES:
        raise unknown("schedule", name, NAMES)
    return raster(grid[0] * grid[1]) if name == "raster" else diagonal(grid, window, compat=name == "diagonal-compat")
