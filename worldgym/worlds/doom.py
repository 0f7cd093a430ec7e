"""The embedded world: rooms of a real game (ViZDoom) as a `gymnasium.Env`, with true poses and exact replay.

- `DoomConfig`: which map, how it is rendered, how long an action lasts. `DOOM_ROOMS`: the world "doom-rooms".
- `DoomWorld`: the environment. `Snapshot`: a state one can go back to, in any process, on any day.

An engine is deterministic given its seed and the actions, so a snapshot is just those: going back means playing them again
(thousands of game tics per second). That makes counterfactuals exact: same start and same actions give the same frames;
other actions from step k on give what would have happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import vizdoom as vzd
from gymnasium import spaces
from PIL import Image

from worldgym.actions import ActionSpec, spec
from worldgym.errors import InputError

BUTTONS = (
    ("MOVE_FORWARD", "move", "forward"),
    ("MOVE_BACKWARD", "move", "back"),
    ("MOVE_LEFT", "strafe", "left"),
    ("MOVE_RIGHT", "strafe", "right"),
    ("SPEED", "pace", "sprint"),
    ("CROUCH", "pace", "crouch"),
    ("ATTACK", "attack", "attack"),
    ("JUMP", "jump", "jump"),
    ("SELECT_NEXT_WEAPON", "weapon", "weapon"),
)
POSE_VARIABLES = ("POSITION_X", "POSITION_Y", "CAMERA_POSITION_Z", "CAMERA_ANGLE", "CAMERA_PITCH", "CAMERA_ROLL")
STATE_VARIABLES = ("VELOCITY_X", "VELOCITY_Y", "ON_GROUND", "SELECTED_WEAPON", "ATTACK_READY")


@dataclasses.dataclass(frozen=True)
class DoomConfig:
    """A map of ViZDoom and how it is played.

    Attributes:
        name: the world's name.
        spec: name of its action spec.
        scenario: file name in ViZDoom's scenarios folder.
        map: map inside that file.
        height: of a frame, pixels.
        width: of a frame, pixels.
        tics: game tics (1/35 s) per action; 6 gives 5.83 frames per second.
        settle: tics after the start until the weapon is up.
        still: pictures of the standing player after that. The engine's drawing code keeps the weapon's sway from one episode
            to the next and lets go of one pixel of at most 16 with every picture.
    """

    name: str = "doom-rooms"
    spec: str = "doom"
    scenario: str = "my_way_home.wad"
    map: str = "map01"
    height: int = 56
    width: int = 96
    tics: int = 6
    settle: int = 20
    still: int = 20

    @property
    def fps(self) -> float:
        """Frames per second."""
        return 35 / self.tics


DOOM_ROOMS = DoomConfig()


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """A state of a world: the seed it was started with and the actions (n, A) int64 played since."""

    seed: int
    actions: np.ndarray


class DoomWorld(gym.Env):
    """A Doom map without monsters, played with the action spec "doom".

    Description: two calm weapons (pistol, shotgun), endless ammunition, no harm, no score on the screen.
    Observation: Box(0, 255, (56, 96, 3), uint8), RGB, rendered at 256x144 and area-resized.
    Action: MultiDiscrete of the spec's column sizes; an action lasts `config.tics` tics.
    Reward: always 0; this world is what is to be predicted, not a task.
    Episode end: terminated when the map ends itself (its vest is picked up); never truncated.
    Info: "pose" (6,) float64: x, y, eye height in map units, yaw (positive turns right), pitch (positive looks down), roll,
    degrees; "velocity" (2,) units per tic; "on_ground", "attack_ready" bool; "weapon" slot number.

    Args:
        config: which map and how it is played.
        render_mode: None or "rgb_array".
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": DOOM_ROOMS.fps}

    def __init__(self, config: DoomConfig = DOOM_ROOMS, render_mode: str | None = None):
        self.config = config
        self.spec_actions: ActionSpec = spec(config.spec)
        self.metadata = {**self.metadata, "render_fps": config.fps}
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (config.height, config.width, 3), np.uint8)
        self.action_space = spaces.MultiDiscrete(self.spec_actions.sizes)
        self._game = _start_engine(config)
        self._frame = np.zeros(self.observation_space.shape, np.uint8)
        self._seed: int | None = None
        self._played: list[np.ndarray] = []
        self._info: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start at a place that the seed decides. Without a seed, one is drawn from the env's own generator."""
        super().reset(seed=seed)
        self._seed = int(self.np_random.integers(2**31) if seed is None else seed)
        self._played = []
        self._game.set_seed(self._seed & 0xFFFFFFFF)
        self._game.new_episode()
        for command in ("god", "give Shotgun", "give Pistol", "give ammo"):
            self._game.send_game_command(command)
        nothing = [0.0] * (len(BUTTONS) + 2)
        self._game.make_action(nothing, self.config.settle)
        for _ in range(self.config.still):
            self._game.make_action(nothing, 1)
        self._look()
        return self._frame.copy(), dict(self._info)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Play one action (A,) int for `config.tics` tics."""
        self._act(action, self.config.tics)
        terminated = self._game.is_episode_finished()
        if not terminated:
            self._look()
        return self._frame.copy(), 0.0, terminated, False, dict(self._info)

    def render(self) -> np.ndarray | None:
        """The current frame (H, W, 3) uint8."""
        return self._frame.copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """End the engine."""
        self._game.close()

    def snapshot(self) -> Snapshot:
        """The present state, to go back to."""
        if self._seed is None:
            raise InputError("the world has no state yet; call reset() before snapshot()")
        empty = np.zeros((0, len(self.spec_actions.sizes)), np.int64)
        return Snapshot(self._seed, np.stack(self._played) if self._played else empty)

    def restore(self, snapshot: Snapshot) -> tuple[np.ndarray, dict]:
        """Go back to a snapshot by playing it again; returns what reset would."""
        self.reset(seed=snapshot.seed)
        for action in snapshot.actions:
            self.step(action)
        return self._frame.copy(), dict(self._info)

    def blocking_lines(self) -> np.ndarray:
        """Lines nobody can walk through, and doorways that end the episode: (n, 4) float64 x1, y1, x2, y2."""
        lines = [
            (line.x1, line.y1, line.x2, line.y2)
            for sector in self._game.get_state().sectors
            for line in sector.lines
            if line.is_blocking
        ]
        return np.array(sorted(set(lines)) + list(_FORBIDDEN_DOORS.get(self.config.scenario, ())), np.float64)

    def _act(self, action: np.ndarray, tics: int) -> None:
        if self._seed is None or self._game.is_episode_finished():
            raise InputError("the episode is over or has not begun; call reset() before step()")
        action = self.spec_actions.check(np.asarray(action), "action")
        if action.ndim != 1:
            raise InputError(f"action has shape {action.shape}; one step takes ({len(self.spec_actions.sizes)},)")
        self._played.append(action)
        self._game.make_action(_buttons(self.spec_actions, action, self.config.tics), tics)

    def _look(self) -> None:
        state = self._game.get_state()
        image = Image.fromarray(state.screen_buffer)
        size = (self.config.width, self.config.height)
        self._frame = np.asarray(image.resize(size, Image.Resampling.BOX))  # area average
        values = state.game_variables
        pose = np.array(values[: len(POSE_VARIABLES)], np.float64)
        pose[3] = -pose[3] % 360  # the engine counts anti-clockwise
        rest = dict(zip(STATE_VARIABLES, values[len(POSE_VARIABLES) :], strict=True))
        self._info = {
            "pose": pose,
            "velocity": np.array([rest["VELOCITY_X"], rest["VELOCITY_Y"]], np.float64),
            "on_ground": bool(rest["ON_GROUND"]),
            "attack_ready": bool(rest["ATTACK_READY"]),
            "weapon": int(rest["SELECTED_WEAPON"]),
        }


# The room with the vest ends the episode of my_way_home: its doorway counts as a wall for players.
_FORBIDDEN_DOORS = {"my_way_home.wad": ((992.0, -256.0, 1088.0, -256.0),)}


def _buttons(spec: ActionSpec, action: np.ndarray, tics: int) -> list[float]:
    """Engine buttons of an action; a rotation is spread evenly over its tics."""
    words = {g.name: g.labels[v] for g, v in zip(spec.groups, action, strict=False)}
    pressed = [float(words[group] == label) for _, group, label in BUTTONS]
    pitch, yaw = (axis.centers[v] / tics for axis, v in zip(spec.camera, action[spec.camera_columns], strict=True))
    return [*pressed, -float(pitch), float(yaw)]  # the engine's look delta is positive upwards


def _start_engine(config: DoomConfig) -> vzd.DoomGame:
    game = vzd.DoomGame()
    game.set_doom_scenario_path(os.path.join(vzd.scenarios_path, config.scenario))
    game.set_doom_map(config.map)
    game.set_doom_config_path(os.devnull)  # else the engine writes its settings into the user's folder
    game.set_screen_resolution(vzd.ScreenResolution.RES_256X144)
    game.set_screen_format(vzd.ScreenFormat.RGB24)
    game.set_sectors_info_enabled(True)
    game.set_render_hud(False)
    game.set_render_crosshair(False)
    game.set_render_messages(False)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_mode(vzd.Mode.PLAYER)
    game.set_episode_timeout(0)
    names = [name for name, _, _ in BUTTONS] + ["LOOK_UP_DOWN_DELTA", "TURN_LEFT_RIGHT_DELTA"]
    game.set_available_buttons([getattr(vzd.Button, name) for name in names])
    variables = [getattr(vzd.GameVariable, name) for name in POSE_VARIABLES + STATE_VARIABLES]
    game.set_available_game_variables(variables)
    game.add_game_args("+sv_cheats 1 +sv_infiniteammo 1")
    with _folder(tempfile.gettempdir()):  # the engine makes a folder where it is started
        game.init()
    return game


@contextlib.contextmanager
def _folder(path: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


WORLDS = {config.name: config for config in (DOOM_ROOMS,)}
