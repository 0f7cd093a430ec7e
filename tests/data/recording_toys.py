"""Small Minecraft-like recordings: mp4 and jsonl, made here. A pattern scrolls with the yaw and says its frame number."""

import json

import numpy as np

from worldgym.data.video_file import encode

KEYS = ("w", "a", "s", "d", "space", "left.shift", "left.control", "q", "1")


def pictures(count, height=72, width=128, seed=0, still=False):
    """(count, height, width, 3) uint8: blocks of 8 pixels that scroll by 3 pixels a frame."""
    rng = np.random.default_rng(seed)
    base = np.kron(rng.integers(0, 256, (height // 8, width // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([base if still else np.roll(base, 3 * i, 1) for i in range(count)])


def steps(count, seed=0, gui=()):
    """VPT's raw lines as dictionaries."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        keys = [f"key.keyboard.{key}" for key in KEYS if rng.random() < 0.3]
        dx, dy = (float(x) for x in rng.integers(-60, 61, 2))
        buttons = [b for b in (0, 1, 2) if rng.random() < 0.3]
        found.append(
            {
                "mouse": {"x": 640.0, "y": 360.0, "dx": dx, "dy": dy, "buttons": buttons, "newButtons": []},
                "keyboard": {"keys": keys, "newKeys": [], "chars": ""},
                "isGuiOpen": i in gui,
                "hotbar": 0,
                "tick": i,
            }
        )
    return found


def recording(folder, name="clip_0", count=40, raw=None, fps=20, **more):
    """Write one pair; returns the path of the mp4."""
    folder.mkdir(exist_ok=True)
    raw = steps(count, **{k: v for k, v in more.items() if k in ("seed", "gui")}) if raw is None else raw
    encode(pictures(count, **{k: v for k, v in more.items() if k != "gui"}), folder / f"{name}.mp4", fps)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(step) + "\n" for step in raw))
    return folder / f"{name}.mp4"
