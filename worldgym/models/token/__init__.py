"""The token world model: MineWorld's architecture, its decoding, and it as a policy."""
