"""Pages as a strict parser and as Chromium read them."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


VOID = {"meta", "link", "br", "img", "hr", "input"}


EVIL = "</script><script>window.stolen = 1</script><img src=x onerror=alert(1)>\u2028\ud800"


class Page(HTMLParser):
    """A strict reading of a page: its elements must be nested properly.

    After feeding: `elements` holds (name, attributes), `text` what a person reads, `scripts` what stands in script elements.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self.open[-1:] != ["style"]:
            self.text += data

    def charts(self) -> list[dict[str, object]]:
        """The charts' descriptions."""
        kinds = [attributes.get("type") for name, attributes in self.elements if name == "script"]
        return [json.loads(script) for kind, script in zip(kinds, self.scripts, strict=True) if kind == "application/json"]


def browsed(page: Path) -> str:
    """A page's elements after a browser has run its scripts, none of which had anything to complain of."""
    assert CHROMIUM
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={page.parent / 'profile'}"),
            *("--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr, done.stderr  # neither a script's error nor anything the policy had to stop
    return done.stdout


def drawings(tree: str) -> list[str]:
    return re.findall(r'<svg [^>]*class="marks".*?</svg>', tree, flags=re.DOTALL)
