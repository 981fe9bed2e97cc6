"""The page of messages in a browser: it shows the texts, and asks nobody for anything whatever they say."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.export_records import batch, files, message

CHROMIUM = shutil.which("chromium")
# Of a browser that would otherwise ask its maker for this and that.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
ATTEMPTS = (
    '<img src="{server}/img">',
    '</div></article><link rel="stylesheet" href="{server}/link"><script src="{server}/script"></script>',
    '<style>@import "{server}/import"; body {{ background: url({server}/background) }}</style>',
    '<iframe src="{server}/frame"></iframe><meta http-equiv="refresh" content="0;url={server}/refresh">',
    "<script>document.title = 'taken'; fetch('{server}/fetch')</script>",
    "Look at {server}/plain, or &lt;img src={server}/twice&gt;",
    "\n Line breaks\r\nof every\rkind, \ttabs   and spaces \n",
)


class Server(ThreadingHTTPServer):
    """Serves one page and hears what is asked for."""

    page = b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers everything with the page."""

    server: Server

    def do_GET(self) -> None:
        self.server.heard.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.server.page)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to standard error."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def shown(server: Server, page: str, profile: Path) -> str:
    """The document as the browser has it when all is loaded."""
    assert CHROMIUM, "needs chromium (Debian: chromium)"
    server.page = page.encode()
    server.heard.clear()
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "--virtual-time-budget=2000", "--dump-dom", f"{server.url}/page"]
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.decode()


def written(server: Server) -> tuple[str, list[str]]:
    """A page of messages that attempt to load something, and their texts."""
    texts = [attempt.format(server=server.url) for attempt in ATTEMPTS]
    records = [
        message(number, text, subject=text, direction=["inbound", "outbound"][number % 2]) for number, text in enumerate(texts)
    ]
    return files("html", [batch(records[:3]), batch(records[3:])])["messages.html"].decode(), texts


class Texts(HTMLParser):
    """The texts of the messages in a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_text = False
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_text = dict(attrs).get("class") == "text"
        if self._is_text:
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_text = False

    def handle_data(self, data: str) -> None:
        if self._is_text:
            self.found[-1] += data


def test_a_browser_shows_the_texts_and_asks_for_nothing(tmp_path: Path) -> None:
    with serving() as server:
        page, texts = written(server)
        document = shown(server, page, tmp_path)
        assert server.heard == ["/page"]
    assert Texts(document).found == texts
    assert "<title>Your messages" in document


@pytest.mark.parametrize("is_guarded", [True, False])
def test_the_policy_would_stop_what_a_text_smuggled_in(is_guarded: bool, tmp_path: Path) -> None:
    """Without it the server hears of the same page, so that its silence says something."""
    with serving() as server:
        page, _ = written(server)
        smuggled = page.replace("<main>", "<main>" + "".join(ATTEMPTS[:3]).format(server=server.url))
        if not is_guarded:
            smuggled = smuggled.replace("Content-Security-Policy", "Nothing")
        wanted: set[str] = set() if is_guarded else {"/img", "/link", "/script", "/import", "/background"}
        heard: set[str] = set()
        for _ in range(1 if is_guarded else 5):  # a busy machine may show it before it has asked for all
            shown(server, smuggled, tmp_path)
            heard = set(server.heard) - {"/page", "/favicon.ico"}
            if heard == wanted:
                break
        assert heard == wanted
