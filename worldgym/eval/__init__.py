"""Evaluation: suites as data, metrics, statistics, the result record, and the main job `python -m worldgym.eval`.

Reading order is data flow: `suite` (what is asked) -> `entries` (who answers) -> `runner` (frames, then the judge) ->
`scores` over `metrics` and `statistics` -> `record` (JSON), `report` (table), `picture` (PNG and MP4).
"""
