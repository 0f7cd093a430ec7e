"""Actions as tokens: MineWorld's segment (arXiv 2504.08388, section 3.1), and the same pattern for other specs.

- `ActionTokens`: a fixed segment of S tokens per action: bos, camera axes, groups, eos.

A slot of the segment shows one column, or several that exclude each other: MineWorld has one slot for use and attack and one
for drop and pickItem, and shows null where both are pressed. `weights` (S, A) and `ids` (S, n) say it all: slot s shows
`ids[s, (weights[s] * action).sum()]`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from worldgym.actions.specs import ActionSpec, Group


@dataclasses.dataclass(frozen=True)
class _Slot:
    """What one place of a segment shows: `words[sum of weight * value over its columns]`."""

    columns: dict[int, int]  # column -> weight
    words: tuple[str, ...]


NULL, BOS, EOS = "<null>", "<bos>", "<eos>"
# MineWorld's order of ids; swapHands, inventory and ESC have ids but are never shown.
_MINEWORLD_KEYS = (
    *("use", "attack", "forward", "back", "left", "right", "jump", "sneak", "sprint"),
    *("drop", "swapHands", "pickItem", "inventory", "ESC"),
    *(f"hotbar.{slot}" for slot in range(1, 10)),
)


class ActionTokens:
    """The segments of a spec. Ids start at `first`: keys, camera bins axis by axis, bos, one null for all groups, eos.

    Args:
        spec: the action spec.
        first: the first free id, that is the number of image codes V.

    Attributes:
        length: S. bos, null, eos: their ids. vocabulary: one past the last id.
        weights: (S, A) int64 and ids: (S, n) int64, see the file's head.
    """

    def __init__(self, spec: ActionSpec, first: int):
        self.spec = spec
        keys, slots = _mineworld(spec) if spec.name == "minecraft" else _plain(spec)
        words = [*keys, *(_bin(axis.name, b) for axis in spec.camera for b in range(axis.size)), BOS, NULL, EOS]
        id_of = {word: first + index for index, word in enumerate(words)}
        self.bos, self.null, self.eos = id_of[BOS], id_of[NULL], id_of[EOS]
        self.vocabulary = first + len(words)
        self.length = len(slots)
        self.weights = np.zeros((len(slots), len(spec.sizes)), np.int64)
        self.ids = np.full((len(slots), max(len(slot.words) for slot in slots)), self.null)
        for row, slot in enumerate(slots):
            self.ids[row, : len(slot.words)] = [id_of[word] for word in slot.words]
            for column, weight in slot.columns.items():
                self.weights[row, column] = weight

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """(…, A) int -> (…, S) int64 token ids."""
        actions = self.spec.check(actions)
        return self.ids[np.arange(self.length), (actions[..., None, :] * self.weights).sum(-1)]


def _plain(spec: ActionSpec) -> tuple[list[str], list[_Slot]]:
    """Keys and slots of any spec: one slot per column."""
    groups = [(index, column) for index, column in enumerate(spec.columns) if isinstance(column, Group)]
    keys = [f"{group.name}.{label}" for _, group in groups for label in group.labels[1:]]
    shown = [_Slot({index: 1}, (NULL, *(f"{group.name}.{label}" for label in group.labels[1:]))) for index, group in groups]
    return keys, [_Slot({}, (BOS,)), *_cameras(spec), *shown, _Slot({}, (EOS,))]


def _mineworld(spec: ActionSpec) -> tuple[list[str], list[_Slot]]:
    """MineWorld's: bos, pitch, yaw, hotbar, forward/back, left/right, sprint/sneak, use/attack, jump, drop/pickItem, eos."""

    def one(name: str) -> _Slot:
        index = spec.column(name)
        return _Slot({index: 1}, (NULL, *spec.columns[index].labels[1:]))

    def two(a: str, b: str, labels: tuple[str, str]) -> _Slot:
        return _Slot({spec.column(a): 1, spec.column(b): 2}, (NULL, *labels, NULL))  # both pressed shows nothing

    slots = [one("hotbar"), one("move"), one("strafe"), one("pace"), two("use", "attack", ("use", "attack"))]
    slots += [one("jump"), two("drop", "pick", ("drop", "pickItem"))]
    return list(_MINEWORLD_KEYS), [_Slot({}, (BOS,)), *_cameras(spec), *slots, _Slot({}, (EOS,))]


def _cameras(spec: ActionSpec) -> list[_Slot]:
    first = spec.camera_columns.start
    return [_Slot({first + k: 1}, tuple(_bin(a.name, b) for b in range(a.size))) for k, a in enumerate(spec.camera)]


def _bin(axis: str, index: int) -> str:
    return f"{axis}:{index}"
