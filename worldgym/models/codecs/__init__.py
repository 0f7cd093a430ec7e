"""Between frames and what a world model works on: codes or latents."""
