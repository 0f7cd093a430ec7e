"""Minecraft actions as VPT records them (openai/Video-Pre-Training) and as MineWorld feeds them.

- `parse_line(line)`: a line of a jsonl file, VPT's or that of MineWorld's validation folder, as an action dictionary.
- `from_recording(raw)`: VPT's keyboard and mouse as an action dictionary, MineWorld's conflict rules applied.
- `columns(action)`: an action dictionary as a row of the "minecraft" spec.

An action dictionary has a 0 or 1 for each of `KEYS` and "camera": [pitch, yaw] in degrees.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from worldgym.actions.specs import MINECRAFT
from worldgym.errors import InputError

DEGREES_PER_PIXEL = 360 / 2400  # of mouse movement
HOTBAR = tuple(f"hotbar.{slot}" for slot in range(1, 10))
NEEDED = ("forward", "back", "left", "right", "sprint", "sneak", "use", "attack", "jump", "drop", "pickItem")
KEYS = (*NEEDED, *HOTBAR, "swapHands", "inventory", "ESC")
CONFLICTS = (("forward", "back"), ("left", "right"), ("jump", "sneak"), ("sprint", "sneak"), ("attack", "use"))
_KEYBOARD = {
    **{"w": "forward", "s": "back", "a": "left", "d": "right", "space": "jump"},
    **{"left.shift": "sneak", "left.control": "sprint", "q": "drop", "f": "swapHands", "e": "inventory", "escape": "ESC"},
    **{str(slot): f"hotbar.{slot}" for slot in range(1, 10)},
}
_MOUSE = ("attack", "use", "pickItem")
_ARRAY = re.compile(r"array\((\[[^][]*\])(?:, *dtype=\w+)?\)")


def parse_line(line: str) -> dict[str, Any]:
    """An action dictionary from one line of text; nothing in the text is executed.

    Args:
        line: JSON as VPT records it ("keyboard", "mouse"), or an action dictionary in JSON or Python's notation, where
            the camera may stand as "array([0, 3])".

    Raises:
        InputError: neither of those.
    """
    try:
        value = _literal(line.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InputError(f"this is no line of recorded actions: {line.strip()[:60]!r}") from None
    if not isinstance(value, dict):
        raise InputError(f"a line of recorded actions must be a dictionary, but this is a {type(value).__name__}")
    return from_recording(value) if "keyboard" in value and "mouse" in value else value


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(_ARRAY.sub(r"\1", text))


def from_recording(raw: Mapping[str, Any]) -> dict[str, Any]:
    """An action dictionary from VPT's keyboard and mouse, as MineWorld's loader makes it.

    Degrees are cut towards zero to whole numbers (its camera array is of integers), and two keys that contradict each other
    (`CONFLICTS`, in that order) are both dropped.

    Args:
        raw: {"keyboard": {"keys": [...]}, "mouse": {"dx", "dy", "buttons"}, ...}.
    """
    try:
        pressed, mouse = raw["keyboard"]["keys"], raw["mouse"]
        degrees = [int(mouse[axis] * DEGREES_PER_PIXEL) for axis in ("dy", "dx")]
        buttons = mouse["buttons"]
    except (KeyError, TypeError) as error:
        raise InputError(f"a recorded step lacks {error}; VPT's have keyboard.keys and mouse.dx, .dy, .buttons") from None
    action: dict[str, Any] = dict.fromkeys(KEYS, 0)
    names = [_KEYBOARD.get(key.removeprefix("key.keyboard.")) for key in pressed]
    for name in [*names, *(name for index, name in enumerate(_MOUSE) if index in buttons)]:
        if name is not None:
            action[name] = 1
    for first, second in CONFLICTS:
        if action[first] and action[second]:
            action[first] = action[second] = 0
    return {**action, "camera": degrees}


def columns(action: Mapping[str, Any]) -> np.ndarray:
    """A row of the "minecraft" spec, (11,) int64.

    Of two keys that share a column (forward and back, …) both pressed is null; of several hotbar keys the first counts;
    degrees go to the nearest of 21 mu-law bins. Use with attack, and drop with pickItem, have their own columns; where both
    are pressed, `ActionTokens` shows neither.

    Args:
        action: an action dictionary; keys of `HOTBAR` may be left out, further keys are not looked at.

    Raises:
        InputError: a key is missing, or the camera is not two numbers.
    """
    missing = [name for name in (*NEEDED, "camera") if name not in action]
    if missing:
        raise InputError(f"the action lacks {', '.join(missing)}; an action dictionary has {', '.join(NEEDED)} and camera")
    camera = np.asarray(action["camera"], float)
    if camera.shape != (2,) or not np.isfinite(camera).all():
        raise InputError(f"camera is {action['camera']!r}, but must be two numbers, pitch and yaw in degrees")
    row = MINECRAFT.null
    for index, group in enumerate(MINECRAFT.columns):
        if group in MINECRAFT.camera:
            row[index] = group.quantise(camera[index - MINECRAFT.camera_columns.start])
            continue
        pressed = [label for label in group.labels[1:] if action.get(label)]
        if len(pressed) == 1 or group.name == "hotbar" and pressed:
            row[index] = group.labels.index(pressed[0])
    return row
