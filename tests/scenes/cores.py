"""Processes whose core tells what is wrong."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, scene
from tests.stage.needs import programs
from tests.stage.programs import program

# Sells and charges at once, each by a thread of its own, which take the same two locks in the opposite order.
DEADLOCK = r"""
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_mutex_t stock = PTHREAD_MUTEX_INITIALIZER, till = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;
static void reserve_stock(void) { pthread_mutex_lock(&stock); pthread_barrier_wait(&both); pthread_mutex_lock(&till); }
static void charge_till(void) { pthread_mutex_lock(&till); pthread_barrier_wait(&both); pthread_mutex_lock(&stock); }
static void *sell(void *none) { reserve_stock(); return none; }
static void *charge(void *none) { charge_till(); return none; }
int main(void) {
    pthread_t seller, cashier;
    pthread_barrier_init(&both, 0, 3);
    pthread_create(&seller, 0, sell, 0);
    pthread_create(&cashier, 0, charge, 0);
    pthread_barrier_wait(&both);
    usleep(200000);
    puts("ready");
    fflush(stdout);
    pthread_join(seller, 0);
    return 0;
}
"""
IDLE = r"""
#include <stdio.h>
#include <unistd.h>
static void wait_for_orders(void) { for (;;) pause(); }
int main(void) { puts("ready"); fflush(stdout); wait_for_orders(); return 0; }
"""
compiler = programs(gcc="gcc", gdb="gdb")


async def compiled(folder: Path, name: str, source: str) -> Path:
    """A program of that name."""
    path = folder / name
    argv = ["gcc", "-g", "-O0", "-pthread", "-x", "c", "-", "-o", str(path)]
    await asyncio.to_thread(lambda: subprocess.run(argv, input=source.encode(), check=True))
    return path


@scene("core-deadlock", "Two threads of a program wait for each other's lock.", recipe="core", needs=(compiler,))
async def deadlock(folder: Path) -> AsyncIterator[Broken]:
    """One has the stock, the other the till."""
    async with program(await compiled(folder, "orders-api", DEADLOCK)) as pid:
        yield Broken(
            parameters={"pid": str(pid)},
            line=f"2 of 3 threads of orders-api (pid {pid}) wait for locks: in <any> and in <any>",
        )


@scene("core-healthy", "A program that waits for work.", recipe="core", needs=(compiler,))
async def healthy(folder: Path) -> AsyncIterator[Broken]:
    """Its core is the answer."""
    async with program(await compiled(folder, "orders-api", IDLE)) as pid:
        yield Broken(
            parameters={"app": "orders-api"},
            line=f"Core of orders-api (pid {pid}): <any>, and the process stood still for <0..5> s; "
            "1 of 1 thread in wait_for_orders",
        )
