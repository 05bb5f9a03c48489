"""Where CPU time goes, by function."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, scene
from tests.stage.needs import private_machine, programs
from tests.stage.programs import program

REPORT = """\
#include <stdint.h>
#include <stdio.h>

volatile uint64_t total;

__attribute__((noinline)) uint64_t discount(uint64_t price) {
    for (int i = 0; i < 1000; i++) {
        price ^= price << 13;
        price ^= price >> 7;
        price ^= price << 17;
    }
    return price;
}

int main(void) {
    puts("ready");
    fflush(stdout);
    for (uint64_t price = 88172645463325252ull;;) {
        price = discount(price);
        total = price;
    }
}
"""


@scene(
    "profile-hot-function",
    "A program that is compiled spends its time in one function.",
    recipe="profile",
    needs=(private_machine, programs(gcc="gcc", perf="linux-perf")),
)
async def hot_function(folder: Path) -> AsyncIterator[Broken]:
    """The only one of it that computes."""
    source, report = folder / "report.c", folder / "orders-report"
    source.write_text(REPORT)
    compiler = ("gcc", "-O1", "-o", str(report), str(source))
    await asyncio.to_thread(subprocess.run, compiler, check=True)
    async with program(report) as pid:
        line = (
            f"orders-report (pid {pid}, user root) uses <50..102> % CPU, <90..100> % of it in discount (orders-report)"
        )
        yield Broken(line=line, parameters={"seconds": "3"})
