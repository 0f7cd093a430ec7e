"""Makes every entry of the leaderboards again: suites, then files, tables and page. Takes its time; goes on after a kill.

    python leaderboards/make.py
    python leaderboards/make.py --suites action-following-doom-rooms-v1 --seeds 0 1 2
    python leaderboards/make.py --models rlir-token=runs/rlir-token

Every suite runs with its own default entries (for models: the bundled ones) and `last-frame`, and with --models beside
them. Result files go to leaderboards/<suite>/<entry>/<seed>.json; README.md beside them; the page to --site.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import tyro

from worldgym.errors import exit_with_sentence
from worldgym.eval import protocols
from worldgym.eval.protocols import reward_ranking
from worldgym.eval.results import suite as suites

NEEDS_DATA = ("action-following-minecraft-v1",)  # recordings that are not made here


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Make every entry again."""

    suites: tuple[str, ...] = ()
    """All that need no data of their own when not given."""
    seeds: tuple[int, ...] = (0,)
    """Each is one run of every suite."""
    models: tuple[str, ...] = ()
    """More models ("label=path"), in the suites of models."""
    batch: int = 32
    """Clips at once."""
    device: str = "auto"
    """Where models and judges run."""
    site: str = "site"
    """Where the page goes."""
    screenshot: str | None = None
    """PNG of the first board, as docs/leaderboard.png; needs playwright and Chromium."""


def call(*words: object) -> None:
    """One command of the library, in a process of its own; stops at the first that fails."""
    line = [sys.executable, "-m", *map(str, words)]
    print("+", " ".join(["python", *line[1:]]), flush=True)
    if code := subprocess.run(line).returncode:
        raise SystemExit(code)


def photograph(page: Path, path: Path) -> None:
    """The first board as a PNG."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1280, "height": 900})
        view.goto(page.absolute().as_uri())
        view.screenshot(path=path)
        browser.close()


def entries(suite: suites.Suite, more: tuple[str, ...]) -> list[str]:
    """Who runs in a suite."""
    if protocols.find(suite.protocol).entrants != "model":  # rewards that came after the suite take part, too
        return list(dict.fromkeys([*suite.models, *reward_ranking.bundled()]))
    return list(dict.fromkeys([*suite.models, "last-frame", *more]))


@exit_with_sentence
def main() -> None:
    """The program."""
    asked = tyro.cli(Arguments)
    for name in asked.suites or [name for name in suites.names() if name not in NEEDS_DATA]:
        for seed in asked.seeds:
            out = f"results/{name}/{seed}"
            names = entries(suites.load(name), asked.models)
            options = ["--seed", seed, "--batch", asked.batch, "--device", asked.device, "--out", out]
            call("worldgym.eval", "--suite", name, "--models", *names, *options)
            call("worldgym.leaderboard", "add", out, "--replace")
    call("worldgym.leaderboard", "tables", "leaderboards")
    call("worldgym.leaderboard", "check", "leaderboards")
    call("worldgym.leaderboard", "build", "leaderboards", "--out", asked.site)
    if asked.screenshot:
        photograph(Path(asked.site, "index.html"), Path(asked.screenshot))


if __name__ == "__main__":
    main()
