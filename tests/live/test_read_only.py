"""The bot where it may change nothing but its own folder: as in a container with a read-only root and no capability."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from bot.playground.workspace import App, Workspace

pytestmark = pytest.mark.live

TREE = Path(__file__).parent.parent.parent
WITHIN_S = 60.0
# Everything but the kernel's own file systems turns read-only, in a mount namespace that ends with the process; then the
# rights go, and nothing can be turned back.
SHUT = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
while read -r _ where type _; do
    case $type in proc|sysfs|devpts|mqueue|cgroup*) continue;; esac
    case $where in "$1"|/proc*|/sys*|/dev*) continue;; esac
    mount -o remount,bind,ro "$where" 2>/dev/null || true
done < /proc/mounts
shift
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""


def need_namespaces() -> None:
    """Skip where mounts cannot be made; CI has to be able to."""
    if os.geteuid() == 0 and shutil.which("unshare") and shutil.which("setpriv"):
        return
    why = "mount namespaces need root, and util-linux (apt-get install util-linux)"
    pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    """A workspace with the app of the manifest."""
    async with Workspace(app=App.from_manifest(yaml.safe_load((TREE / "manifest.yml").read_text()))) as opened:
        yield opened


@asynccontextmanager
async def shut_in(state: Path, workspace: Workspace) -> AsyncIterator[asyncio.subprocess.Process]:
    """The bot at work, with *state* the only folder that it can write to."""
    config = {
        "journal": f"sqlite:///{state}/journal.db",
        "folder": f"{state}/artifacts",
        "slack": {"bot_token": "env:BOT", "app_token": "env:APP", "api_url": workspace.api_url},
        "targets": {"here": {"local": True}},
    }
    (state / "capturebot.yml").write_text(yaml.safe_dump(config))
    log = (state / "bot.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "sh", "-c", SHUT, "sh", str(state)),
        *("sh", "-c", 'touch "$0/probe" 2>/dev/null && echo open; exec "$@"', str(TREE / "tests")),
        *(sys.executable, "-m", "bot", "--config", str(state / "capturebot.yml"), "serve"),
        env={**os.environ, "BOT": workspace.bot_token, "APP": workspace.app_token},
        cwd=state,  # as in the image; what Python wants to put into a temporary folder goes there
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
    )
    log.close()
    try:
        await workspace.wait_for(lambda: len(workspace.sockets.numbers) >= 2, WITHIN_S)
        yield process
    finally:
        print((state / "bot.log").read_text()[-3000:])  # noqa: T201  (shown when the test fails)
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_captures_where_it_can_write_to_nothing_but_its_own_folder(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Nothing is written beside the journal and the artifacts, and no right is needed to run."""
    need_namespaces()
    channel, ana = workspace.add_channel("inc-1"), workspace.add_user("ana")
    async with shut_in(tmp_path, workspace) as process:
        answer = await workspace.command(channel, ana, "/capture host here")
        await workspace.wait_for(lambda: any("complete" in one.text for one in workspace.messages(channel)), WITHIN_S)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            status = await process.wait()
        assert process.stdout is not None
        said = await process.stdout.read()

    assert answer.acked_after_s is not None
    assert said == b""  # the tree could not be written to
    assert status == 0
    assert any((tmp_path / "artifacts").rglob("manifest.json"))
    assert not (TREE / "tests" / "probe").exists()
