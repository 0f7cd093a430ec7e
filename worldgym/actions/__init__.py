"""Actions: specs, their tokens, and VPT's dictionaries.

- `specs`: `ActionSpec`, `Group`, `CameraAxis`, `SPECS`, `spec(name)`. `tokens`: `ActionTokens`. `vpt`: Minecraft recordings.
"""

from worldgym.actions.specs import DOOM, MINECRAFT, SPECS, ActionSpec, CameraAxis, Group, spec
from worldgym.actions.tokens import ActionTokens

__all__ = ["DOOM", "MINECRAFT", "SPECS", "ActionSpec", "ActionTokens", "CameraAxis", "Group", "spec"]
