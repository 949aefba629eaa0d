"""Takes the pictures of the page that README and docs show.

    gaterec run --MAX_ITEM_LIST_LENGTH=10 --learning_rate=0.005 --dropout=0.3 --repeatable=False
    gaterec serve saved &
    python docs/screenshots.py

Needs Chromium and Playwright; the address of another server may follow.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PICTURES = [("page", 1200, 1470, "light"), ("page-phone", 360, 780, "dark")]
PERSON = "u0001"


def main(address: str) -> None:
    """Writes docs/page.png and docs/page-phone.png."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for name, width, height, scheme in PICTURES:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")
            page.goto(f"{address}#/person/{PERSON}")
            page.locator(".recommendations .head").first.click()
            page.locator("tfoot").wait_for()
            page.mouse.move(0, 0)
            page.screenshot(path=FOLDER / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/")
