"""World models as policies: `TokenAgent` and `DenoiseAgent`, and the trajectories they are asked about."""

from worldgym.models.agents.denoise_agent import DenoiseAgent
from worldgym.models.agents.token_agent import TokenAgent
from worldgym.models.agents.trajectory import DenoiseTrajectory, TokenTrajectory

__all__ = ["DenoiseAgent", "DenoiseTrajectory", "TokenAgent", "TokenTrajectory"]
