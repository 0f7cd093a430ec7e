"""Human comparison: pairs of videos, shown blind and in random order on a local page; votes, and their statistics.

`pairs` (which clips, which side) -> `server` (the page) -> `votes` (a file of votes, win / tie / lose with intervals).
"""
