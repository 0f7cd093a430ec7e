"""World models that denoise latent frames."""
