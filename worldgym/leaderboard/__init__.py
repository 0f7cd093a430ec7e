"""The leaderboard: made from result files alone, so that anybody can make it again.

Reading order is data flow: `add` (a run's files to their places) -> `entries` (files into entries, with `lists`: reproduced or
reported, and flags; `about`) -> `rank` -> `tables` (Markdown) and `site` (the page). `check` is what a pull request must pass;
it asks `names`, `identity`, `films` and `changes`. `rounds`: questions whose truth nobody can compute
before the answers are in.
"""
