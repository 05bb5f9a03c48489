"""What an account called capture may do on a host of its own, where root has run what `capturebot sudoers` printed.

    python -m tests.live.as_capture FOLDER

Runs in namespaces of its own (see `test_sudoers`): accounts, rules and programs of root's that it makes are seen by nobody
else. Prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.model import Recipe, Step, Target, TargetKind
from bot.playground.sshd import private_sshd
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.redact import Redactor
from bot.sudoers import asking
from bot.survey import Surveyor
from bot.transports.becoming import program_of
from bot.transports.ssh import SshTransport
from bot.transports.sshpool import SshPool
from tests.fakes import ANA, AT
from tests.steps import Files, gone, keep, until

USER, UID = "capture", 4242
VICTIM = """\
import socket, time
open("/proc/self/comm", "w").write("victim")
listening = socket.socket(); listening.bind(("127.0.0.1", 0)); listening.listen()
import os; os.setgid(65534); os.setuid(65534)
print(listening.getsockname()[1], flush=True)
time.sleep(600)
"""
LIBRARY = load_folder(builtin_folder())
HOSTS = {name: recipe for name, recipe in LIBRARY.items() if recipe.wants is TargetKind.HOST}
STEP_S = 20.0
ALSO_ALONE = ("files", "host")
QUICK = {"seconds": "2", "every": "1"}


def move_in(folder: Path) -> None:
    """Accounts with one more, and places of root's that are empty."""
    for name, line in (
        ("passwd", f"{USER}:x:{UID}:{UID}::{folder}/home:/bin/sh\n"),
        ("group", f"{USER}:x:{UID}:\n"),
        ("shadow", f"{USER}:*:19000:0:99999:7:::\n"),
    ):
        own = folder / name
        shutil.copy(f"/etc/{name}", own)
        own.write_text(own.read_text() + line)
        subprocess.run(["mount", "--bind", own, f"/etc/{name}"], check=True)
    for place in ("/etc/sudoers.d", "/usr/local/lib", "/var/tmp"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place], check=True)
    Path("/var/tmp").chmod(0o1777)
    (folder / "home").mkdir()
    os.chown(folder / "home", UID, UID)
    folder.chmod(0o711)


def install(**asked: Any) -> str:
    """Run as root what is printed; what it said."""
    program = asking.text(LIBRARY, {}, user=USER, install=True, **asked)
    done = subprocess.run(["sh", "-s"], input=program, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def as_capture(*argv: str, stdin: str = "", **env: str) -> dict[str, Any]:
    """Run a command as that account."""
    done = subprocess.run(
        ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *argv],
        input=stdin, capture_output=True, text=True, check=False, timeout=60, cwd="/",
        env={**os.environ, **env}, start_new_session=True,  # the end of its input ends the whole group
    )  # fmt: skip
    return {"status": done.returncode, "said": done.stdout + done.stderr}


def granted() -> list[tuple[Recipe, Step, str]]:
    """The steps that have a program, each program once."""
    found: dict[str, tuple[Recipe, Step, str]] = {}
    for recipe in HOSTS.values():
        for step in recipe.steps:
            if program := program_of(step, None):
                found.setdefault(program, (recipe, step, program))
    return list(found.values())


def bound(recipe: Recipe, step: Step, **values: str) -> Step:
    """The step with what makes it quick."""
    names = {one.name for one in recipe.parameters}
    given = {name: value for name, value in {**QUICK, **values}.items() if name in names}
    return replace(bind(step, bind_parameters(recipe, given)), timeout_s=STEP_S)


@contextlib.asynccontextmanager
async def victim() -> AsyncIterator[tuple[int, str]]:
    """A process of another user; its pid and the port that it listens on."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    port = (await process.stdout.readline()).decode().strip()
    try:
        yield process.pid, port
    finally:
        process.kill()
        await process.wait()


async def runs(ssh: SshTransport, target: Target, pid: int) -> dict[str, Any]:
    """Each step that has a program, with sudo and without."""
    found: dict[str, Any] = {}
    for recipe, step, _ in granted():
        for become in (True, False) if recipe.name in ALSO_ALONE else (True,):
            execution = await ssh.start(
                replace(target, become=become), bound(recipe, step, pid=str(pid)), capture_id=f"c-{become}"
            )
            kept = await keep(execution)
            found.setdefault(f"{recipe.name}.{step.id}", {})["root" if become else "alone"] = {
                "victim": b"victim" in kept.output,
                "text": kept.output.decode("utf-8", "replace")[-300:],
                "reason": kept.reason,
                "remark": execution.remark,
            }
    return found


def group_of(pid: int) -> list[int]:
    """All processes of its group."""
    found = []
    group = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[2]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rsplit(") ", 1)[1].split()[2] == group:
                found.append(int(stat.parent.name))
    return found


def of_root() -> int:
    """The pid of root's program, 0 while there is none; sudo starts it by a descriptor, so that it cannot be exchanged."""
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if cmdline.read_text().startswith("/bin/bash\0-p\0/dev/fd/") and cmdline.stat().st_uid == 0:
                return int(cmdline.parent.name)
    return 0


async def ended(ssh: SshTransport, target: Target, *, by_limit: bool) -> dict[str, Any]:
    """A step of root's that would take a minute, ended after a moment."""
    recipe = HOSTS["files"]
    step = replace(bound(recipe, recipe.steps[0], seconds="50"), timeout_s=2.0 if by_limit else 90.0)
    execution = await ssh.start(replace(target, become=True), step, capture_id=f"c-ended-{by_limit}")
    assert await until(lambda: of_root() > 0)
    pids = group_of(of_root())
    reading = asyncio.create_task(keep(execution))  # noqa: TID251  ended below
    if not by_limit:
        await execution.stop()
    kept = await reading
    proof = await execution.stop()
    return {
        "pids": len(pids),
        "proof": proof,
        "outcome": kept.failure.outcome.value if kept.failure and kept.failure.outcome else "",
        "gone": await gone(*pids),
        "left": left_behind(),
    }


def left_behind() -> list[str]:
    """Folders of steps."""
    return [str(each) for each in Path("/var/tmp").glob("capturebot-*")]


def rules() -> dict[str, str]:
    """What was installed, and what visudo thinks of all there is."""
    check = subprocess.run(["visudo", "-c"], capture_output=True, text=True, check=False).stdout
    return {"rules": Path("/etc/sudoers.d/capturebot").read_text(), "check": check}


def escapes(folder: Path) -> dict[str, Any]:
    """Ways from a rule to a shell."""
    (_, _, program), *_ = granted()
    canary = folder / "home" / "canary"
    touch = f"touch {canary}"
    lure = folder / "home" / "lure"
    lure.write_text(f"#!/bin/sh\n{touch}\n")
    lure.chmod(0o755)
    own = folder / "home" / Path(program).name
    shutil.copy(program, own)
    sudo = ("sudo", "-n")
    ways: dict[str, tuple[Sequence[str], str, dict[str, str]]] = {
        "a shell": ((*sudo, "sh", "-c", touch), "", {}),
        "tcpdump -z": ((*sudo, "tcpdump", "-z", str(lure), "-i", "lo", "-w", "/dev/null", "-G1", "-W1"), "", {}),
        "gdb": ((*sudo, "gdb", "-batch", "-ex", f"shell {touch}"), "", {}),
        "find -exec": ((*sudo, "find", "/", "-maxdepth", "0", "-exec", "sh", "-c", touch, ";"), "", {}),
        "a pager": ((*sudo, "journalctl"), "", {"PAGER": str(lure), "SYSTEMD_PAGER": str(lure)}),
        "an argument": ((*sudo, program, "-c", touch), "", {}),
        "an editor": (("sudo", "-n", "-e", "/etc/passwd"), "", {"EDITOR": str(lure)}),
        "another program": ((*sudo, str(own)), "", {}),
        "a path around": ((*sudo, f"{Path(program).parent}/../capturebot/{Path(program).name}"), "", {}),
        "another user": ((*sudo, "-u", "nobody", program), "", {}),
        "its environment": ((*sudo, "-E", program), "\n", {}),
        "a variable": ((*sudo, f"PARAM_PID=$({touch})", program), "\n", {}),
        "BASH_ENV": ((*sudo, program), "\n", {"BASH_ENV": str(lure), "ENV": str(lure), "SHELLOPTS": "xtrace", "PS4": f"$({touch})"}),
        "a function": ((*sudo, program), "\n", {"BASH_FUNC_mktemp%%": f"() {{ {touch}; }}", "BASH_FUNC_ps%%": f"() {{ {touch}; }}"}),
        "LD_PRELOAD": ((*sudo, program), "\n", {"LD_PRELOAD": str(lure), "PATH": f"{lure.parent}:/usr/bin:/bin"}),
        "a parameter that runs": ((*sudo, program), f"PARAM_PID=$({touch})\n\n", {}),
        "a parameter that counts": ((*sudo, program), f"PARAM_PID=a[$({touch})]\n\n", {}),
        "another parameter": ((*sudo, program), "BASH_ENV=x\n\n", {}),
        "a path as parameter": ((*sudo, program), "PATH=/tmp\n\n", {}),
        "a long parameter": ((*sudo, program), f"PARAM_APP={'x' * 100_000}\n\n", {}),
        "an option as user": (("sudo", "-n", "-h", "elsewhere", program), "\n", {}),
    }  # fmt: skip
    found = {name: as_capture(*argv, stdin=stdin, **env) for name, (argv, stdin, env) in ways.items()}
    Path(program).chmod(0o755)
    with Path(program).open("a") as file:
        file.write(f"{touch}\n")
    found["a program that was changed"] = as_capture(*sudo, program, stdin="\n")
    return {"ways": found, "canary": canary.exists()}


async def lines(ssh: SshTransport, target: Target) -> list[str]:
    """What doctor says."""

    async def forget(_event: object) -> None:
        pass

    surveyor = Surveyor({"ssh": ssh}, Redactor(lambda: (), salt=b"x" * 16), lambda: AT, forget, ANA)
    return await surveyor.examine(replace(target, become=True), [HOSTS["files"], HOSTS["logs"]])


async def main(folder: Path) -> dict[str, Any]:
    """All of it."""
    move_in(folder)
    pool = SshPool(Files())
    async with private_sshd(folder / "sshd", user=USER) as server, victim() as (pid, port):
        (folder / "sshd" / "authorized_keys").chmod(0o644)
        (folder / "sshd").chmod(0o711)
        ssh = SshTransport(Files(), pool)
        target = Target(name="db1", ssh=server.ssh)
        recipe, step, _ = granted()[0]
        found: dict[str, Any] = {"port": port, "pid": pid, "before": await lines(ssh, target)}
        refused = await ssh.start(replace(target, become=True), bound(recipe, step), capture_id="c-refused")
        kept = await keep(refused)
        found["refused"] = {"remark": refused.remark, "reason": kept.reason, "text": len(kept.output)}
        found["installed"] = install()
        found |= rules()
        found["after"] = await lines(ssh, target)
        found["runs"] = await runs(ssh, target, pid)
        found["stopped"] = await ended(ssh, target, by_limit=False)
        found["overran"] = await ended(ssh, target, by_limit=True)
        found["escapes"] = escapes(folder)
        await pool.close()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
