"""`http` on servers that are slow, silent, endless or well, through the whole product."""

from __future__ import annotations

import http.server
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bot.insights import Reading
from bot.insights.http import http as read
from bot.model import Level, State
from tests.live.taking import take

pytestmark = pytest.mark.live

CAPTURES = Path(__file__).parent.parent.parent / "captures"

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server whose requests *answer* answers: its URL, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up are expected
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()


def well(request: http.server.BaseHTTPRequestHandler, body: bytes = b'{"status": "UP"}') -> None:
    """Say that all is well."""
    request.send_response(200)
    request.send_header("Set-Cookie", "SESSION=0123456789")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


async def test_an_endpoint_that_is_well_gives_no_warning(tmp_path: Path) -> None:
    """Its status and slowest phase are told, its cookie is not kept."""
    with serving(well) as (url, asked):
        taken = await take(tmp_path, "http", url=url, endpoint="healthz")

    assert taken.story.state is State.COMPLETE
    assert asked == ["/healthz"] * 3
    assert [told.finding.level for told in taken.story.findings] == [Level.INFO]
    assert re.fullmatch(rf"{url}/healthz of .+ \(pid {os.getpid()}\) answers 200 within \d+ ms, .+", taken.line)
    assert "Set-Cookie: [left out]" in taken.texts["answer"]


async def test_a_server_that_takes_connections_and_is_silent_differs_from_one_that_is_not_there(tmp_path: Path) -> None:
    """Who listens is named, and what may explain it is offered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        silent = await take(tmp_path, "http", url=f"http://127.0.0.1:{port}/", tries=1, patience=1)
    gone = await take(tmp_path, "http", url=f"http://127.0.0.1:{port}/", tries=1)

    assert f"(pid {os.getpid()}) takes the connection but gives no answer within 1 s" in silent.line
    assert (
        gone.line == f"Port {port} of 127.0.0.1 refuses connections for http://127.0.0.1:{port}/: nothing listens there"
    )
    assert [each.recipe for each in gone.story.findings[0].finding.next] == ["host"]


async def test_a_body_without_end_is_cut_and_let_go(tmp_path: Path) -> None:
    """Neither the bot nor the server has to carry it; what came is an answer."""

    def endless(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(bytes([120]) * 65536)

    with serving(endless) as (url, _):
        taken = await take(tmp_path, "http", url=f"{url}/export", tries=1, patience=10)

    assert "answers 200 within" in taken.line
    assert 1_000_000 <= len(taken.texts["answer"]) < 1_010_000
    assert taken.result("answer").seconds < 5


async def test_a_redirect_is_told_and_not_followed(tmp_path: Path) -> None:
    """Not even to the same host: what is timed is what was asked."""

    def elsewhere(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", "/login?from=orders")
        request.end_headers()

    with serving(elsewhere) as (url, asked):
        taken = await take(tmp_path, "http", url=f"{url}/orders", tries=1)

    assert asked == ["/orders"]
    assert taken.story.findings[0].finding.text.endswith("it points to /login, which was not asked")


async def test_an_answer_cannot_pretend_to_be_ours(tmp_path: Path) -> None:
    """A header line of our own format in a body or in a header changes nothing."""
    forged = "### refused at=2026-11-22T00:00:00+00:00 kind=x\nGo to http://evil.example\n### try at=2026-11-22T00:00:00+00:00 n=9 exit=7\n"

    def forging(request: http.server.BaseHTTPRequestHandler) -> None:
        request.wfile.write(f"HTTP/1.0 200 OK\r\n{forged}\r\n\r\n{forged}".encode())

    with serving(forging) as (url, _):
        taken = await take(tmp_path, "http", url=url, tries=1)

    assert taken.line.startswith(f"{url}/ of ")
    assert len(re.findall("^### (?:try|refused) ", taken.texts["answer"], re.MULTILINE)) == 1


async def test_without_a_url_the_listening_ports_are_offered(tmp_path: Path) -> None:
    """Each as a thing to press."""
    with serving(well) as (url, asked):
        taken = await take(tmp_path, "http")

    assert taken.line.startswith("Say what to ask, such as url=http://")
    assert f"{url}/" in taken.texts["answer"] or url.rpartition(":")[2] in taken.texts["answer"]
    assert all(each.parameters["url"] for each in taken.story.findings[0].finding.next)
    assert asked == []


# --- what is refused --------------------------------------------------------------------------


def script(url: str, *, tries: int = 1, before: str = "") -> str:
    """What the script alone prints."""
    env = {"PARAM_URL": url, "PARAM_ENDPOINT": "as-given", "PARAM_TRIES": str(tries), "PARAM_PATIENCE": "2"}
    done = subprocess.run(
        ["bash", "-c", before + (CAPTURES / "http.sh").read_text()],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PARAM_VERIFY": "yes", **env},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


METADATA = (
    "169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe]"
    " [64:ff9b::a9fe:a9fe] [::a9fe:a9fe] [fe80::1] [FD00:EC2::254] 100.100.100.200"
)


@pytest.mark.parametrize("host", METADATA.split())
def test_addresses_that_hand_out_credentials_are_not_asked(host: str) -> None:
    """However they are spelt."""
    said = script(f"http://{host}/latest/meta-data")

    assert "### try" not in said
    assert "kind=metadata\n" in said


def test_a_secret_in_the_query_is_not_sent() -> None:
    """A server would write it into its log."""
    with serving(well) as (url, asked):
        said = script(f"{url}/orders?api_key=abc")

    assert asked == []
    assert "kind=secret\n" in said


# --- without curl -----------------------------------------------------------------------------

NO_CURL = "curl() { return 127; }\n"


def test_without_curl_the_shell_asks_and_finds_the_same() -> None:
    """Status, phases and body; refused, silent and endless."""
    with ExitStack() as stack:
        url, asked = stack.enter_context(serving(well))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        answered = script(f"{url}/health", before=NO_CURL)
        unanswered = script(f"http://127.0.0.1:{silent}/", before=NO_CURL)
    refused = script(f"http://127.0.0.1:{silent}/", before=NO_CURL)

    assert asked == ["/health"]
    assert '{"status": "UP"}' in answered
    said = [next(iter(read(Reading(text=text, target="here")))).text for text in (answered, unanswered, refused)]
    assert "answers 200 within" in said[0]
    assert said[1].endswith("takes the connection but gives no answer within 2 s")
    assert said[2].endswith("nothing listens there")


def test_without_curl_https_says_what_is_missing() -> None:
    """And asks nobody."""
    assert "apt-get install curl" in script("https://127.0.0.1:1/", before=NO_CURL)
