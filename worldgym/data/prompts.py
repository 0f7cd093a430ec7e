"""Prompts for a world model: first frames, actions, and what truly happened.

- `record_prompts`: rendered from the game, so that test clips need no download and can't have been trained on.
- `play_windows`: windows of clips that the game makes again. `store_prompts`: windows of recorded clips, for training.
- `counterfactual`: the same start with other actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from worldgym.data.clips import ClipStore
from worldgym.data.prompt_recipe import Game
from worldgym.errors import InputError
from worldgym.types import Clip, Prompts
from worldgym.worlds.held import open_recorder
from worldgym.worlds.recorder import Play, Recorder, replay


def record_prompts(world: str, seeds: Sequence[int], frames: int = 16, prefix: int = 1) -> Prompts:
    """Play each world seed and cut it into a prompt.

    Args:
        world: name, as "doom-rooms".
        seeds: B world seeds; `worldgym.data.splits.seeds("test", …)` gives held-out ones.
        frames: T, prefix included.
        prefix: P >= 1 frames that are given.
    """
    _check(frames, prefix)
    return play_windows(Game(world, frames), [(int(seed), 0) for seed in seeds], frames, prefix)


def play_windows(
    game: Game, windows: Sequence[tuple[int, int]], frames: int = 16, prefix: int = 1, said: str | None = None
) -> Prompts:
    """Windows of clips that the game makes from world seeds, the same as those of a store recorded in this way.

    Args:
        game: world, player and length of the clips.
        windows: B pairs of a world seed and the window's first frame; pairs of one clip stand side by side.
        frames: T, prefix included.
        prefix: P >= 1 frames that are given.
        said: words before a progress bar; no bar when left out.
    """
    _check(frames, prefix)
    recorder, clip, cuts = open_recorder(game.world, game.player), None, []
    try:
        for seed, start in tqdm(windows, desc=said, unit="clip", disable=None if said else True):
            if clip is None or clip.seed != seed:
                clip = recorder.play(seed, game.frames).clip
            cuts.append(_cut(clip, start, frames))
    finally:
        recorder.close()
    truth, actions = np.stack([cut.frames for cut in cuts]), np.stack([cut.actions for cut in cuts])
    return Prompts(truth[:, :prefix].copy(), actions, truth, tuple(f"{game.world}/{seed}/{start}" for seed, start in windows))


def _cut(clip: Clip, start: int, frames: int) -> Clip:
    end = start + frames
    if not 0 <= start <= end <= len(clip.frames):
        raise InputError(f"a window of frames {start} to {end - 1} runs out of a clip of {len(clip.frames)} frames")
    return Clip(clip.frames[start:end], clip.actions[start : end - 1], clip.poses[start:end], clip.seed)


def store_prompts(store: ClipStore, clips: np.ndarray, starts: np.ndarray, frames: int = 16, prefix: int = 1) -> Prompts:
    """Windows of recorded clips.

    Args:
        store: a clip store.
        clips: (B,) indices into it, as from `store.split("train")`.
        starts: (B,) first frame of each window.
        frames: T, prefix included.
        prefix: P >= 1 frames that are given.
    """
    _check(frames, prefix)
    moments = np.asarray(starts)[:, None] + np.arange(frames)
    if moments.size and (moments.min() < 0 or moments.max() >= store.frames.shape[1]):
        raise InputError(f"a window of {frames} frames runs out of the clips, which have {store.frames.shape[1]} frames")
    rows = np.asarray(clips)[:, None]
    truth = store.frames[rows, moments]
    actions = store.actions[rows, moments[:, :-1]].astype(np.int64)
    world = store.manifest["world"]
    ids = tuple(f"{world}/{store.seeds[c]}/{s}" for c, s in zip(clips, starts, strict=True))
    return Prompts(truth[:, :prefix].copy(), actions, truth, ids)


def counterfactual(recorder: Recorder, play: Play, step: int, actions: np.ndarray) -> np.ndarray:
    """What would have been seen had other actions been played from frame `step` on.

    Args:
        recorder: of the same world.
        play: what was recorded.
        step: frames 0 to `step` stay as they were; 0 <= step <= T-1.
        actions: (m, A) int64, played from there.

    Returns:
        (step + 1 + m, H, W, 3) uint8.
    """
    kept = play.clip.actions
    if not 0 <= step <= len(kept):
        raise InputError(f"step is {step}; the clip has frames 0 to {len(kept)}")
    return replay(recorder.world, play.start, play.lead, np.concatenate([kept[:step], actions])).frames


def _check(frames: int, prefix: int) -> None:
    if not 1 <= prefix < frames:
        raise InputError(f"prefix is {prefix} and frames is {frames}; at least 1 frame must be given and 1 left to make")
