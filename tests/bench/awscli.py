"""The named peer: `ssh HOST cat FILE | aws s3 cp - s3://…`, with the AWS CLI in an environment of its own."""

from __future__ import annotations

import asyncio
import os
import resource
import shlex
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

from bot.playground.s3 import PrivateS3
from bot.playground.sshd import PrivateSshd

FOLDER = Path(__file__).parent.parent.parent / ".venv-bench"
INSTALL_S = 300.0
COPY_S = 300.0
CIPHER = "aes128-gcm@openssh.com"  # the bot's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy took."""

    seconds: float
    cpu_s: float  # of ssh and aws together


async def install() -> None:
    """Make the environment where it is missing, which takes half a minute once."""
    if (FOLDER / "bin" / "aws").exists():
        return
    await asyncio.to_thread(venv.create, FOLDER, with_pip=True, clear=True)
    process = await asyncio.create_subprocess_exec(
        FOLDER / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "awscli", stdout=sys.stderr
    )
    async with asyncio.timeout(INSTALL_S):
        if await process.wait():
            raise RuntimeError("pip could not install awscli")


async def copy(host: PrivateSshd, path: Path, s3: PrivateS3, key: str, *, cipher: str | None) -> Copied:
    """Copy *path* of *host* to *key* as a person at a terminal would; *cipher* None takes ssh's own choice."""
    ssh = ["ssh", "-F", "none", "-i", host.key, "-p", host.port, "-o", f"UserKnownHostsFile={host.known_hosts}"]
    ssh += ["-o", "BatchMode=yes", *(["-c", cipher] if cipher else []), f"{host.user}@{host.host}", "cat", path]
    aws = [FOLDER / "bin" / "aws", "s3", "cp", "--quiet", "--endpoint-url", s3.endpoint_url, "-"]
    aws.append(f"s3://{s3.bucket}/{key}")
    environ = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    line = " | ".join(shlex.join(map(str, command)) for command in (ssh, aws))
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = await asyncio.create_subprocess_exec("bash", "-o", "pipefail", "-c", line, env=environ)
    async with asyncio.timeout(COPY_S):
        if await process.wait():
            raise RuntimeError(f"failed: {line}")
    took_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Copied(seconds=took_s, cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
