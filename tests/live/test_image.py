"""The container image: linted, and where there is an engine built, started, and ended as a platform would."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import yaml

from bot.playground.workspace import App, Workspace

pytestmark = pytest.mark.live

TREE = Path(__file__).parent.parent.parent
BASE = "python:3.12-slim"
PULL_S = 60.0
BUILD_S = 600.0
CALL_S = 60.0
WITHIN_S = 60.0
WEB_PORT = 8080  # the image's own
POLL_S = 0.2


def call(*words: str, within_s: float = CALL_S) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=within_s)


def test_the_dockerfile_is_in_order() -> None:
    """By hadolint, without any exception."""
    linter = shutil.which("hadolint", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    assert linter, "hadolint is among the development dependencies"

    checked = call(linter, str(TREE / "Dockerfile"))

    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.fixture(scope="module")
def engine() -> str:
    """A container engine that works; it is not expected of every machine, so its absence skips also in CI."""
    for name in ("docker", "podman"):
        if shutil.which(name) and call(name, "info").returncode == 0:
            break
    else:
        pytest.skip("no container engine answers: start Docker or Podman to have the image built")
    if call(name, "image", "inspect", BASE).returncode:
        try:
            pulled = call(name, "pull", BASE, within_s=PULL_S)
        except subprocess.TimeoutExpired:
            pytest.skip(f"{BASE} does not come within {PULL_S:g} s: pull it to have the image built")
        if pulled.returncode:
            pytest.skip(f"{BASE} cannot be pulled: {pulled.stderr.strip()[-200:]}")
    return name


@pytest.fixture(scope="module")
def image(engine: str) -> Iterator[str]:
    """The image, built as `make image` does."""
    tag = f"capturebot-test-{os.getpid()}"
    built = call(engine, "build", "-t", tag, str(TREE), within_s=BUILD_S)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    yield tag
    call(engine, "rmi", "--force", tag)


def test_it_brings_its_recipes_and_runs_as_nobody_in_particular(engine: str, image: str) -> None:
    """Neither root, nor able to change its own programs."""
    recipes = call(engine, "run", "--rm", image, "recipes")
    script = "id -u; test -w /opt/capturebot || echo fixed; test -w . && echo home; ls -A /wheels /src"
    inside = call(engine, "run", "--rm", "--entrypoint", "sh", image, "-c", script)

    assert "db — Database triage" in recipes.stdout, recipes.stderr
    assert inside.stdout.split() == ["10001", "fixed", "home"]


@pytest.fixture
def etc() -> Iterator[Path]:
    """What is mounted at /etc/capturebot: a folder that the container's user can enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="capturebot-image-"))
    (folder / "recipes").mkdir()
    (folder / "recipes/slow.yml").write_text(
        "title: Slow\nabout: Waits.\nfor: host\nimpact: none\n"
        "steps: [{id: slow, title: Waiting, run: [sleep, '3'], timeout: 9, limit: 1 kB}]\n"
    )
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def configuration(workspace: Workspace) -> str:
    """A capturebot.yml for the container."""
    config = {
        "journal": "sqlite:////var/lib/capturebot/journal.db",
        "folder": "/var/lib/capturebot/artifacts",
        "recipes": ["recipes"],
        "slack": {"bot_token": "env:BOT", "app_token": "env:APP", "api_url": workspace.api_url},
        "targets": {"here": {"local": True}},
    }
    return yaml.safe_dump(config)


@asynccontextmanager
async def started(engine: str, image: str, etc: Path, workspace: Workspace) -> AsyncIterator[str]:
    """The container's name, with the bot in it connected to *workspace*."""
    name = f"{image}-run"
    options = ["--network", "host", "--volume", f"{etc}:/etc/capturebot:ro", "--health-interval", "1s"]
    options += ["--env", f"BOT={workspace.bot_token}", "--env", f"APP={workspace.app_token}"]
    run = await asyncio.to_thread(call, engine, "run", "--detach", "--name", name, *options, image)
    try:
        assert run.returncode == 0, run.stderr
        await workspace.wait_for(lambda: len(workspace.sockets.numbers) >= 2, WITHIN_S)
        yield name
    finally:
        print(call(engine, "logs", name).stderr)  # noqa: T201  (shown when the test fails)
        await asyncio.to_thread(call, engine, "rm", "--force", "--volumes", name)


async def test_it_turns_healthy_works_and_drains(engine: str, image: str, etc: Path) -> None:
    """SIGTERM in the middle of a capture: it is told to its end, and the container ends with status 0."""
    with socket.socket() as probe:
        if not probe.connect_ex(("127.0.0.1", WEB_PORT)):
            pytest.skip(f"port {WEB_PORT}, the image's own, is taken on this machine")
    async with (
        Workspace(app=App.from_manifest(yaml.safe_load((TREE / "manifest.yml").read_text()))) as workspace,
        AsyncExitStack() as stack,
    ):
        (etc / "capturebot.yml").write_text(configuration(workspace))
        name = await stack.enter_async_context(started(engine, image, etc, workspace))
        channel, ana = workspace.add_channel("inc-1"), workspace.add_user("ana")
        health = await wait_for_health(engine, name)
        answer = await workspace.command(channel, ana, "/capture slow here")
        await workspace.wait_for(lambda: workspace.messages(channel), WITHIN_S)

        stopped = await asyncio.to_thread(call, engine, "stop", "-t", "60", name)

        state = call(engine, "inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip()
        (root,) = workspace.messages(channel)
    assert health == "healthy"
    assert answer.acked_after_s is not None
    assert "✅ slow on here: complete" in root.text
    assert (stopped.returncode, state) == (0, "0")


async def wait_for_health(engine: str, name: str) -> str:
    """What the engine says of the container's health, once it is sure."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            said = await asyncio.to_thread(call, engine, "inspect", "--format", "{{.State.Health.Status}}", name)
            if said.stdout.strip() in {"healthy", "unhealthy"}:
                return said.stdout.strip()
            await asyncio.sleep(POLL_S)
