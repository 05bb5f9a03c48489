"""The commands of docs/hosts.md, run by root on a host of its own; then a step there, over a login as it says.

    python -m tests.live.guided FOLDER

Runs in namespaces of its own (see `test_hosts_guide`). Prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bot.model import Target
from bot.playground.sshd import private_sshd
from bot.transports.ssh import SshTransport
from bot.transports.sshpool import SshPool
from tests.steps import Files, a_run, keep

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "hosts.md").read_text()
USER = "capture"


def blocks(language: str) -> list[str]:
    """The guide's blocks of that language; "" for those without one."""
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", GUIDE, re.MULTILINE | re.DOTALL)
    return [text for each, text in found if each == language]


def move_in(folder: Path) -> None:
    """Copies of all that the commands change."""
    shutil.copytree("/etc", folder / "etc", symlinks=True)
    tcpdump = folder / "tcpdump"
    shutil.copy(shutil.which("tcpdump") or "/bin/true", tcpdump)
    for source, place in ((folder / "etc", "/etc"), (tcpdump, shutil.which("tcpdump"))):
        if place:
            subprocess.run(["mount", "--bind", source, place], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/lib"], check=True)


def run(commands: str) -> str:
    """Run them as root's shell would; what went wrong."""
    done = subprocess.run(["sh", "-e"], input=commands, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{commands}: {done.stderr}"


def prepare(folder: Path) -> dict[str, Any]:
    """The account, its groups and its rights."""
    move_in(folder)
    account, *others = blocks("sh")
    groups = "\n".join(f"getent group {name} >/dev/null || groupadd {name}" for name in ("systemd-journal", "adm"))
    lines = re.findall(r"^\| `(usermod [^`]*)`", GUIDE, re.MULTILINE)
    said = [run(account), run(groups), *map(run, lines)]
    said += [run(text) for text in others if "setcap" in text]
    tcpdump = shutil.which("tcpdump")
    shown = subprocess.run(["getcap", str(tcpdump)], capture_output=True, text=True, check=False).stdout
    member = subprocess.run(["id", "-Gn", USER], capture_output=True, text=True, check=True).stdout.split()
    return {"errors": [each for each in said if each], "capabilities": shown, "groups": member, "lines": len(lines)}


def sshd_takes(folder: Path) -> str:
    """What sshd says against the guide's settings."""
    (match,) = [text for text in blocks("") if text.startswith("Match User")]
    config = folder / "sshd_config"
    config.write_text(f"HostKey {folder}/sshd/host_key\n{match}")
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd"
    return subprocess.run([sshd, "-t", "-f", config], capture_output=True, text=True, check=False).stderr


def restrict(authorized: Path) -> None:
    """Let the key in as the guide says, from here."""
    (line,) = [text for text in blocks("") if text.startswith("from=")]
    options = line.partition(" ssh-ed25519")[0].replace("10.0.0.9", "127.0.0.1")
    authorized.write_text("".join(f"{options} {each}\n" for each in authorized.read_text().splitlines()))
    authorized.chmod(0o644)


async def main(folder: Path) -> dict[str, Any]:
    """All of it."""
    found = await asyncio.to_thread(prepare, folder)
    pool = SshPool(Files())
    async with private_sshd(folder / "sshd", user=USER) as server:
        await asyncio.to_thread(restrict, folder / "sshd" / "authorized_keys")
        (folder / "sshd").chmod(0o711)
        found["sshd"] = await asyncio.to_thread(sshd_takes, folder)
        ssh = SshTransport(Files(), pool)
        target = Target(name="db1", ssh=server.ssh)
        found["doctor"] = await ssh.check(target)
        kept = await keep(await ssh.start(target, a_run("id", "-un"), capture_id="c1"))
        found["ran"] = kept.output.decode() + kept.reason
        await pool.close()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
