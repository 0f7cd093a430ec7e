"""The leaderboard: made from result files alone, so that anybody can make it again.

Reading order is data flow: `entries` (files into entries) -> `rank` -> `tables` (Markdown) and `site` (the page).
`check` is what a pull request must pass.
"""
