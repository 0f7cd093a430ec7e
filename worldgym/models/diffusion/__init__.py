"""The frame-diffusion world model: flow matching, samplers, noise kernels, and it as a policy."""
