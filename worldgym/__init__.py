"""worldgym: RL post-training of video world models as a Gymnasium problem with a fixed protocol.

The world model is what is trained: its token step or denoising step is the agent's action. Importing this package
loads neither torch nor vizdoom; heavy parts are loaded at first use.

- `load(name)`: a bundled or published model, judge or codec (see `worldgym.zoo`).
- `make_vec(recipe, num_envs)`: a batched environment from an id, or from a recipe with its rewards.
"""

from __future__ import annotations

from typing import Any

from worldgym.provenance import VERSION as __version__
from worldgym.registration import make_vec, register

__all__ = ["__version__", "load", "make_vec"]

register()


def load(name: str, **options: Any) -> Any:
    """Load a model by zoo name ("doom-rooms/token-nano"), local path or "hf://org/name/file".

    See `worldgym.zoo.load` for options and errors.
    """
    from worldgym.zoo import load as zoo_load  # torch is loaded here and not before

    return zoo_load(name, **options)
