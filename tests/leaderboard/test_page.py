"""The page in a real browser, opened from the file system."""

import shutil

import pytest
from test_leaderboard import NASTY, SUITE, nasty

from worldgym.eval.results.record import slug
from worldgym.leaderboard import entries, site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture
def page(boards, tmp_path):
    """The page of normal and of hostile submissions; fails on any error or any request that leaves the folder."""
    path, trouble = site.build(entries.load(nasty(boards)), tmp_path / "site"), []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda r: trouble.append(r.url) if not r.url.startswith(("file://", "data:")) else None)
        page.on("dialog", lambda dialog: trouble.append(dialog.message))
        page.goto(path.as_uri())
        yield page
        assert page.evaluate("window.hacked") is None
        browser.close()
    assert trouble == []


def names(page):
    return page.eval_on_selector_all("tbody tr", "rows => rows.map(row => row.dataset.entry)")


def test_sorts_filters_opens_an_entry_and_plays_in_sync(page):
    start = names(page)
    assert start[:2] == ["truth", "shuffled"] and len(start) == 5 + len(NASTY)
    page.click("button[data-sort=camera_error]")
    column = page.eval_on_selector_all("tbody tr", "rows => rows.map(row => parseFloat(row.children[5].textContent))")
    known = [value for value in column if value == value]
    assert known == sorted(known) and column[: len(known)] == known  # lower is better: best first, holes last
    page.click("button[data-sort=camera_error]")
    assert names(page)[-1 - column[::-1].count(known[-1]) :] != start
    page.fill("#filter", "toy good")
    assert names(page) == ["toy--good"]
    page.fill("#filter", "")
    page.select_option("#kind", "baseline")
    assert names(page) == ["last-frame"]
    page.select_option("#kind", "")
    page.select_option("#metric", "psnr")
    assert page.locator("#chart svg circle").count() >= 3

    page.click("tr[data-entry=toy--good] a")
    page.wait_for_selector("#play")
    assert page.locator("h2").first.text_content() == "toy/good"
    assert page.locator("figcaption").all_text_contents() == ["truth", "toy/good"]
    page.click("#play")
    for _ in range(200):  # not wait_for_function: the page's own policy forbids it to evaluate text
        if page.evaluate("[...document.querySelectorAll('video')].every(v => v.currentTime > 0.3 && v.videoWidth === 24)"):
            break
        page.wait_for_timeout(50)
    times = page.evaluate("[...document.querySelectorAll('video')].map(v => v.currentTime)")
    assert abs(times[0] - times[1]) < 0.25
    page.click("#play")
    assert page.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
    facts = page.locator("dl.facts").text_content()
    assert all(name in facts for name in ("weights sha256", "commit", "hardware", "seconds per clip"))


def test_hostile_names_are_only_text_and_wrong_addresses_show_the_first_board(page):
    address = page.url.partition("#")[0]
    for text in NASTY:
        page.goto(f"{address}#{SUITE}")
        page.wait_for_selector("tbody tr")
        row = page.locator(f"tr[data-entry='{slug(text)}']").text_content()
        assert " ".join(text.split()) in " ".join(row.split())
        page.goto(f"{address}#{SUITE}/{slug(text)}")
        page.wait_for_selector("dl.facts")
        assert page.locator("h2").first.text_content() == text
        assert page.locator("script").count() == 2 and page.locator("img").count() == 0
        assert page.eval_on_selector_all("a", "links => links.every(a => a.getAttribute('href').startsWith('#'))")
    for fragment in ("nonsense", "%E0%A4%A", f"{SUITE}/nobody", "<script>window.hacked=1</script>"):
        page.goto(f"{address}#{fragment}")
        page.wait_for_selector("tbody tr")
        assert len(names(page)) == 5 + len(NASTY)
