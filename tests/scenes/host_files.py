"""Descriptors, disks and deleted files."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.stage import Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine

DISK = Path("/mnt")
LEAK = """\
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
kept = [open({file!r}, "a") for _ in range(1000)]
ready()
stay()
"""
KEPT_LOG = """\
log = open({file!r}, "wb")
log.write(bytes(63_000_000))
log.flush()
os.unlink(log.name)
ready()
stay()
"""


@contextmanager
def disk(**options: str) -> Iterator[None]:
    """A file system of its own at /mnt, in memory; only the private machine sees it."""
    given = ",".join(f"{name}={value}" for name, value in options.items())
    subprocess.run(["mount", "-t", "tmpfs", "-o", given, "tmpfs", DISK], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", DISK], check=True)


@scene(
    "host-descriptor-leak",
    "A process has opened files until few are left to it.",
    recipe="host",
    needs=(private_machine,),
)
async def descriptor_leak(folder: Path) -> AsyncIterator[Broken]:
    """A thousand of 1,024."""
    async with culprit("orders-api", LEAK.format(file=str(folder / "orders.log"))) as leak:
        yield Broken(line=f"{leak.text} has <1000..1023> of 1,024 files open, <1000..1010> of them files in {folder}")


@scene("host-full-disk", "A disk is full.", recipe="host", needs=(private_machine,))
async def full_disk(_folder: Path) -> AsyncIterator[Broken]:
    """Not a byte is left."""
    with disk(size="8m"):
        with suppress(OSError), (DISK / "fill").open("wb", buffering=0) as fill:
            while fill.write(bytes(1 << 20)):
                pass
        yield Broken(line=f"{DISK} is full: 100 % of 8.4 MB used, 0 bytes free")


@scene("host-no-inodes", "A disk has space, and no inode left.", recipe="host", needs=(private_machine,))
async def no_inodes(_folder: Path) -> AsyncIterator[Broken]:
    """As many empty files as the disk takes."""
    with disk(size="8m", nr_inodes="2000"):
        with suppress(OSError):
            for number in range(2000):
                (DISK / f"session-{number}").touch()
        yield Broken(line=f"{DISK} has no room for new files: 2,000 of 2,000 inodes used")


@scene(
    "host-deleted-log",
    "A disk is full of a log that was deleted, and is still open.",
    recipe="host",
    needs=(private_machine,),
)
async def deleted_log(_folder: Path) -> AsyncIterator[Broken]:
    """No `du` finds it."""
    with disk(size="64m", mode="1777"):
        async with culprit("orders-api", KEPT_LOG.format(file=str(DISK / "orders.log"))) as keeper:
            yield Broken(
                line=f"{keeper.text} keeps <62..64> MB of deleted files open on {DISK}, which is <91..96> % full"
            )
