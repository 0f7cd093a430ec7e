"""Human comparison: pairs of videos, blind and in random order, on a local page; votes, and what they say.

`pairs` (which clips, which side) -> `server` (the page) -> `votes` (a file of votes, win / tie / lose with intervals).
"""
