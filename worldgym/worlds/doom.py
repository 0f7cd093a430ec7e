"""The embedded world: rooms of a real game (ViZDoom) as a `gymnasium.Env`, with true poses and exact replay.

- `DoomConfig`: which map, how it is rendered, how long an action lasts. `DOOM_ROOMS`: the world "doom-rooms".
- `DoomWorld`: the environment. `Snapshot`: a state one can go back to, in any process, on any day.

An engine is deterministic given its seed and the actions, so a snapshot is just those: going back means playing them again
(thousands of game tics per second). That makes counterfactuals exact: same start and same actions give the same frames;
other actions from step k on give what would have happened.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from PIL import Image

from worldgym.actions import ActionSpec, spec
from worldgym.errors import InputError, unknown
from worldgym.recipes import HasRecipe
from worldgym.worlds.engine import Engine

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
CHEATS = ("god", "give Shotgun", "give Pistol", "give ammo")
# Keys for a person: of each row at most one is held; a key, the action column, and by how much it changes it.
KEYS = (
    (None, ("w", "move", 1), ("s", "move", 2)),
    (None, ("a", "strafe", 1), ("d", "strafe", 2)),
    (None, ("i", "pitch", -2), ("k", "pitch", 2)),
    (None, ("j", "yaw", -3), ("l", "yaw", 3)),
    (None, ("e", "attack", 1)),
    (None, (" ", "jump", 1)),
    (None, ("q", "weapon", 1)),
)
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

    @classmethod
    def of(cls, config: DoomConfig | Mapping[str, Any]) -> DoomConfig:
        """A config from itself, or from a mapping of its fields; what is left out keeps its default."""
        if isinstance(config, cls):
            return config
        if not isinstance(config, Mapping):
            raise InputError(f"config is {config!r}, but the game takes a DoomConfig or a dict of its fields")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in config:
            if name not in known:
                raise unknown("field of DoomConfig", name, known)
        return cls(**config)


DOOM_ROOMS = DoomConfig()


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """A state of a world: the seed it was started with and the actions (n, A) int64 played since."""

    seed: int
    actions: np.ndarray


class DoomWorld(HasRecipe, gym.Env):
    """A Doom map without monsters, played with the action spec "doom".

    Description: two calm weapons (pistol, shotgun), endless ammunition, no harm, no score on the screen.
    Observation: Box(0, 255, (56, 96, 3), uint8), RGB, rendered at 256x144 and area-resized.
    Action: MultiDiscrete of the spec's column sizes; an action lasts `config.tics` tics.
    Reward: always 0; this world is what is to be predicted, not a task.
    Episode end: terminated when the map ends itself (its vest is picked up); never truncated.
    Info: "pose" (6,) float64: x, y, eye height in map units, yaw (positive turns right), pitch (positive looks down), roll,
    degrees; "velocity" (2,) units per tic; "on_ground", "attack_ready" bool; "weapon" slot number.

    The engine runs in a process of its own and ends with this one (see `worldgym.worlds.engine`). A world that is copied or
    pickled starts another engine when it is first used and plays itself to the same state.

    Args:
        config: which map and how it is played: a `DoomConfig`, or a dict of its fields, as a recipe's JSON has it.
        render_mode: None or "rgb_array".
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": DOOM_ROOMS.fps}

    def __init__(self, config: DoomConfig | Mapping[str, Any] = DOOM_ROOMS, render_mode: str | None = None):
        if render_mode not in (None, "rgb_array"):
            raise InputError(f"render_mode is {render_mode!r}, but the game knows None and 'rgb_array'")
        self.config = config = DoomConfig.of(config)
        self.spec_actions: ActionSpec = spec(config.spec)
        self.metadata = {**self.metadata, "render_fps": config.fps}
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (config.height, config.width, 3), np.uint8)
        self.action_space = spaces.MultiDiscrete(self.spec_actions.sizes)
        self._frame = np.zeros(self.observation_space.shape, np.uint8)
        self._seed: int | None = None
        self._played: list[np.ndarray] = []
        self._info: dict[str, Any] = {}
        self._over = self._closed = False
        self._engine: Engine | None = _start_engine(config)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start at a place that the seed decides. Without a seed, one is drawn from the env's own generator.

        Raises:
            InputError: the game was closed, its engine has died, or it belongs to another process.
        """
        engine = self._running()
        super().reset(seed=seed)
        self._begin(engine, int(self.np_random.integers(2**31) if seed is None else seed))
        return self._frame.copy(), dict(self._info)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Play one action (A,) int for `config.tics` tics."""
        self._act(action)
        return self._frame.copy(), 0.0, self._over, False, dict(self._info)

    def render(self) -> np.ndarray | None:
        """The current frame (H, W, 3) uint8."""
        if self._seed is None:
            raise InputError("the world has no picture yet; call reset() before render()")
        return self._frame.copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
        self._closed = True

    def get_keys_to_action(self) -> dict[tuple[str, ...], np.ndarray]:
        """What `gymnasium.utils.play.play` needs to know: keys that are held together, and their action (A,) int64.

        W and S move, A and D strafe, J and L turn, I and K look up and down, space jumps, E attacks, Q switches the weapon.
        """
        nothing = self.spec_actions.null
        actions = {}
        for held in itertools.product(*KEYS):
            action = nothing.copy()
            for _, column, change in filter(None, held):
                action[self.spec_actions.column(column)] += change
            actions[tuple(sorted(key[0] for key in held if key))] = action
        return actions

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
        lines = self._running().ask("lines")
        return np.array(sorted(set(lines)) + list(_FORBIDDEN_DOORS.get(self.config.scenario, ())), np.float64)

    def __getstate__(self) -> dict[str, Any]:
        self.np_random  # noqa: B018  a generator is made at first use; a copy must draw the same seeds
        return {**self.__dict__, "_engine": None, "_played": list(self._played)}

    def _running(self) -> Engine:
        """The engine; a copy gets its own and plays itself to where it was copied."""
        if self._closed:
            raise InputError("the game was closed; make the environment again")
        if self._engine is None:
            self._engine = _start_engine(self.config)
            if self._seed is not None:
                played, self._played = self._played, []
                self._begin(self._engine, self._seed)
                for action in played:
                    self._act(action)
        return self._engine

    def _begin(self, engine: Engine, seed: int) -> None:
        nothing = [0.0] * (len(BUTTONS) + 2)
        view = engine.ask("episode", seed & 0xFFFFFFFF, list(CHEATS), nothing, self.config.settle, self.config.still)
        self._seed, self._played = seed, []
        self._look(*view)

    def _act(self, action: np.ndarray) -> None:
        engine = self._running()
        if self._seed is None or self._over:
            raise InputError("the episode is over or has not begun; call reset() before step()")
        action = self.spec_actions.check(np.asarray(action), "action")
        if action.ndim != 1:
            raise InputError(f"action has shape {action.shape}; one step takes ({len(self.spec_actions.sizes)},)")
        view = engine.ask("act", _buttons(self.spec_actions, action, self.config.tics), self.config.tics)
        self._played.append(action)
        self._look(*view)

    def _look(self, screen: np.ndarray | None, values: list[float] | None) -> None:
        self._over = screen is None
        if self._over:
            return
        size = (self.config.width, self.config.height)
        self._frame = np.asarray(Image.fromarray(screen).resize(size, Image.Resampling.BOX))  # area average
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


def _start_engine(config: DoomConfig) -> Engine:
    names = [name for name, _, _ in BUTTONS] + ["LOOK_UP_DOWN_DELTA", "TURN_LEFT_RIGHT_DELTA"]
    return Engine(config.scenario, config.map, names, [*POSE_VARIABLES, *STATE_VARIABLES])


WORLDS = {config.name: config for config in (DOOM_ROOMS,)}
