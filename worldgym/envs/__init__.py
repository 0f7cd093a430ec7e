"""A world model's own step as a Gymnasium action: token step and denoise step."""
