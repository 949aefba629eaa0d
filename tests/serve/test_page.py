"""The page, in a real browser and against a real server: what a person does with it, and that it neither complains, nor asks anybody else, nor shuts
anyone out."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import gaterec
from tests.support.commands import start, write_log

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine: the page was not tried", allow_module_level=True)
api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
pytest.importorskip("fastapi", reason="the server needs the extra `serve`")
expect = api.expect
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
EVIL = "<img src=x onerror=window.stolen=1> \x1b\u202e"
SHOWN = "<img src=x onerror=window.stolen=1> \\x1b\\u202e"
TOKEN = "a-token-of-this-test-alone"
FAILED = "Failed to load resource"
"""What a browser says of itself where a server refuses, or is gone."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained HGN whose items have titles, one of them hostile."""
    place = tmp_path_factory.mktemp("page")
    folder = place / "log"
    folder.mkdir()
    events = pl.read_csv(write_log(place / "events.csv", people=60))
    names = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    events.rename(names).write_csv(folder / "log.inter", separator="\t")
    lines = [f"i{number}\t{EVIL if number == 3 else f'Film {number}'}\t{'funny' if number % 2 else 'sad'}" for number in range(20)]
    (folder / "log.item").write_text("\n".join(["item_id:token\ttitle:token_seq\tkind:token_seq", *lines]) + "\n")
    small = {"embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 3, "state": "WARNING"}
    gaterec.run("HGN", "log", config_dict={**small, "data_path": str(place), "checkpoint_dir": str(place / "saved")})
    return place / "saved"


@contextmanager
def serving(saved: Path, *options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server's address, and its process, which is ended."""
    process = start("serve", saved, "--port=0", f"--events={saved.parent / 'events.db'}", *options)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+/", process.stdout.readline())
        assert found, process.communicate()[1]
        yield found[0], process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def address(saved: Path) -> Iterator[str]:
    with serving(saved) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def looking(browser: Any, address: str, *, forgive: str = "", **options: Any) -> Iterator[Any]:
    """A page that must not complain, nor ask any other host, nor run what stands in a title."""
    context = browser.new_context(reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(address) else complaints.append(request.url))
    yield page
    assert [told for told in complaints if not (forgive and told.startswith(forgive))] == []
    assert page.evaluate("window.stolen") is None
    context.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with looking(browser, address, viewport={"width": 1200, "height": 900}) as page:
        yield page


def titles(page: Any) -> list[str]:
    """The recommended items, once there is an answer."""
    expect(page.locator(".recommendations[aria-busy]")).to_have_count(0)
    expect(page.locator(".recommendations > li").first).to_be_visible()
    found: list[str] = page.locator(".recommendations .title").all_text_contents()
    return found


def value(place: Any) -> float:
    return float(place.get_attribute("value"))


def test_a_person_is_chosen_and_the_explanation_sums_to_the_score(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_role("combobox", name="Choose a person").fill("u12")
    page.get_by_role("option", name="u12", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("u12")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert page.url == f"{address}#/person/u12"
    first = titles(page)[0]
    row = page.locator(".recommendations > li").first
    row.locator(".head").click()
    expect(row.locator(".head")).to_have_attribute("aria-expanded", "true")
    parts = row.locator("tbody .total data")
    expect(row.locator(".words")).to_contain_text("ecause")
    score = value(row.locator(".score data"))
    assert sum(value(part) for part in parts.all()) == pytest.approx(score, abs=1e-4)
    assert value(row.locator(".sum .total data")) == pytest.approx(score, abs=1e-4)
    expect(row.locator(".sum")).to_contain_text("equals the score")
    exact = row.locator("tbody tr.exact")
    for line in exact.all()[:-2]:  # the last two are lasting taste and bias
        together = value(line.locator("td.gated data")) + value(line.locator("td.direct data"))
        assert together == pytest.approx(value(line.locator("td.total data")), abs=1e-5)
        assert line.locator("td.without data").count() == 1
    page.reload()  # the address remembers what was open
    expect(page.locator(".recommendations > li").first.locator("tfoot")).to_be_visible()
    assert titles(page)[0] == first


def test_the_gates_can_be_read_without_seeing_colours(page: Any, address: str) -> None:
    page.goto(f"{address}#/person/u12")
    titles(page)
    page.locator(".recommendations .head").first.click()
    canvas = page.get_by_role("img", name=re.compile(r"Feature gates of \d+ events by 4 features"))
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".ramp output")).to_have_text(re.compile(r", feature 1: [01]\.\d{3}$"))
    page.get_by_text("The gates as numbers").click()
    numbers = page.get_by_role("region", name="The gates as numbers").locator("tbody data")
    assert numbers.count() % 4 == 0
    assert all(0 <= value(number) <= 1 for number in numbers.all())


def test_a_person_is_played_with_the_keyboard_alone(page: Any, address: str) -> None:
    page.goto(f"{address}#/play")
    popular = titles(page)
    expect(page.get_by_role("main")).to_contain_text("Based on popularity")
    assert page.locator(".recommendations button[aria-expanded]").count() == 0
    field = page.get_by_role("combobox", name="Choose an item")
    field.focus()
    page.keyboard.type("film 1")
    expect(page.get_by_role("option", name="Film 1 i1", exact=True)).to_be_visible()
    page.keyboard.press("ArrowDown")
    active = page.locator(f"#{field.get_attribute('aria-activedescendant')} span").text_content()
    page.keyboard.press("Enter")
    expect(page.locator(".history li")).to_have_text([f"{active}\u00d7"])
    expect(page.get_by_role("main")).to_contain_text("Based on the history alone")
    expect(field).to_be_focused()
    assert titles(page) != popular
    one = titles(page)
    page.locator(".choose").first.click()
    expect(page.locator(".history li")).to_have_count(2)
    expect(page.locator(".history li").first).to_contain_text(one[0])
    assert titles(page) != one
    page.go_back()
    expect(page.locator(".history li")).to_have_count(1)
    assert titles(page) == one
    page.reload()
    assert titles(page) == one
    page.get_by_role("link", name=f"Without {active}").click()
    expect(page.get_by_role("main")).to_contain_text("Based on popularity")


def test_an_event_is_kept(page: Any, address: str) -> None:
    page.goto(f"{address}#/person/somebody new")
    expect(page.get_by_text("Not known to the run · 0 events")).to_be_visible()
    before = titles(page)
    page.get_by_role("combobox", name="What they chose just now").fill("film 7")
    page.get_by_role("option", name="Film 7").click()
    page.keyboard.press("Enter")  # the button has the focus
    expect(page.get_by_text("Not known to the run · 1 event, 1 newer than the run")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("recommendations; the first is")
    assert titles(page) != before
    page.reload()
    expect(page.locator(".history li")).to_have_text(["Film 7"])


def test_items_lead_on(page: Any, address: str) -> None:
    page.goto(f"{address}#/item/i4")
    expect(page.get_by_role("heading", level=1)).to_have_text("Film 4")
    expect(page.locator(".facts")).to_contain_text("sad")
    other = page.locator(".similar a").first
    name = other.text_content()
    other.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.get_by_role("link", name="Add to the played person").click()
    expect(page.locator(".history li").first).to_contain_text(name)


def test_a_title_stays_text(page: Any, address: str) -> None:
    page.goto(f"{address}#/play/i3")
    expect(page.locator(".history li")).to_contain_text(SHOWN)
    titles(page)
    page.locator(".recommendations .head").first.click()
    expect(page.locator(".parts")).to_contain_text(SHOWN)
    page.goto(f"{address}#/item/i3")
    expect(page.get_by_role("heading", level=1)).to_have_text(SHOWN)
    assert page.locator("img").count() == 0


def test_the_model_is_told(page: Any, address: str) -> None:
    page.goto(f"{address}#/model")
    expect(page.get_by_role("heading", level=1)).to_have_text("HGN on log")
    expect(page.get_by_role("img", name=re.compile("^Loss: .*, which was kept"))).to_be_visible()
    table = page.get_by_role("region", name="How good it is")
    assert table.locator("tbody th").all_text_contents()[:2] == ["HGN", "Pop"]
    expect(page.get_by_text("Split: leave-one-out")).to_be_visible()
    expect(page.get_by_text("ready", exact=True)).to_be_visible()


def test_the_api_can_be_tried_out(page: Any, address: str) -> None:
    page.goto(f"{address}docs")
    expect(page.get_by_text("/recommend", exact=True)).to_be_visible()
    page.wait_for_load_state("networkidle")


def test_what_is_refused_is_said(browser: Any, address: str) -> None:
    with looking(browser, address, forgive=FAILED) as page:
        page.goto(f"{address}#/play/cheese")
        expect(page.get_by_role("alert")).to_contain_text("item 'cheese': the run knows no such item")
        expect(page.get_by_role("heading", level=1)).to_have_text("Play somebody")
        page.get_by_role("link", name="Start again").click()
        titles(page)
        expect(page.get_by_role("alert")).to_be_empty()
        page.goto(f"{address}#/%")
        expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")


def test_a_token_is_asked_for_and_a_server_that_is_gone_is_told(browser: Any, saved: Path) -> None:
    (saved.parent / "token").write_text(TOKEN)
    options = f"--token_file={saved.parent / 'token'}"
    with serving(saved, options) as (address, process), looking(browser, address, forgive=FAILED) as page:
        page.goto(f"{address}#/person/u12")
        page.get_by_label("This server asks for its token").fill("wrong-but-long-enough")
        page.get_by_role("button", name="Go on").click()
        page.get_by_label("The server did not take this token").fill(TOKEN)
        page.keyboard.press("Enter")
        titles(page)
        page.reload()
        titles(page)
        page.get_by_role("button", name="Forget the token").click()
        page.get_by_label("This server asks for its token").fill(TOKEN)
        page.keyboard.press("Enter")
        titles(page)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        page.get_by_role("button", name="Somebody at random").click()
        expect(page.get_by_role("alert")).to_contain_text("The server can’t be reached")
        assert titles(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_sideways_scrolling(browser: Any, address: str, scheme: str) -> None:
    with looking(browser, address, viewport={"width": 360, "height": 700}, color_scheme=scheme) as page:
        for path in ("#/", "#/person", "#/person/u12", "#/play/i3/i4", "#/items", "#/item/i3", "#/model"):
            page.goto(address + path)
            page.wait_for_load_state("networkidle")
            if "u12" in path or "play" in path:
                titles(page)
                page.locator(".recommendations .head").first.click()
                expect(page.locator("tfoot")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") == 360, path
        light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).every((part) => part > 200)")
        assert light == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(browser: Any, address: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core looks for barriers")
    with looking(browser, address, viewport={"width": 1200, "height": 900}, color_scheme=scheme) as page:
        for path in ("#/", "#/person/u12", "#/play/i3/i4", "#/items", "#/item/i4", "#/model"):
            page.goto(address + path)
            page.wait_for_load_state("networkidle")
            if "u12" in path or "play" in path:
                titles(page)
                page.locator(".recommendations .head").first.click()
                expect(page.locator("tfoot")).to_be_visible()
            if page.get_by_role("combobox").count():
                page.get_by_role("combobox").last.focus()
                expect(page.get_by_role("option").first).to_be_visible()
            found = axe.Axe().run(page).response["violations"]
            assert [(path, broken["id"], [node["html"] for node in broken["nodes"]]) for broken in found] == []
