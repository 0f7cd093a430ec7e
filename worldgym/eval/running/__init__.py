"""The main job: run, compare, verify."""
