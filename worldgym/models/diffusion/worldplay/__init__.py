"""HY-WorldPlay as a clip agent: camera-controlled video diffusion with a memory of earlier views.

- `wan`: the 5B network (Wan2.2-TI2V-5B with actions and cameras). `hunyuan`: the 8B (HunyuanVideo-1.5).
- `network`: the face that both share. `rope`, `prope`: positions and cameras in attention. `context`: what is read once.
- `view_memory`: which earlier latents are shown. `route`: a batch's cameras. `rollout`: chunk after chunk.
- `files`: the published weights. `video_codec`: frames <-> latents, 4 frames per latent. `conditions`: texts, encoded once.

The published weights are under Tencent's licence and user-supplied; nothing here has run on them. See docs/worldplay.md.
"""
