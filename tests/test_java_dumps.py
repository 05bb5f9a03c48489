"""Thread dumps of every JDK from 8 on: what a line means, what a stack waits for, and that no text breaks a reader."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.insights import Reading, Section
from bot.insights.java import threads
from bot.insights.java.dump import Dump, dump_of
from bot.insights.java.waits import place_of
from bot.insights.java.watch import pool_of
from bot.model import Finding, Level

pytestmark = pytest.mark.thorough

RECORDINGS = sorted((Path(__file__).parent / "recordings" / "java-threads").glob("*.txt"))
AT = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
BOUNDED = settings(max_examples=60, deadline=None)  # a busy machine is no finding
TASK = "java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1136)"


def recording(name: str) -> str:
    """One of them."""
    return next(path for path in RECORDINGS if path.stem == name).read_text()


def said(text: str) -> list[Finding]:
    """What is found in an artifact."""
    return list(threads(Reading(text=text, target="app-1")))


def a_dump(*lines: str) -> Dump:
    """A dump of these lines."""
    return dump_of(Section(name="dump", at=AT, body="\n".join(lines)), {})


def a_stack(state: str, *lines: str) -> Dump:
    """A dump of one thread; its *lines* are frames, or notes about locks that begin with "-"."""
    frames = (f"\t{line}" if line.startswith("-") else f"\tat {line}" for line in lines)
    return a_dump('"t-1" #9 prio=5 tid=0x1 nid=0x2 waiting', f"   java.lang.Thread.State: {state}", *frames)


# --- lines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (
            '"http-exec-1" #10 daemon prio=5 os_prio=0 tid=0x00007f3ad45a1000 nid=0xb18 runnable [0x00007f3a800fe000]',
            ("http-exec-1", "10", "2840", None, None),
        ),
        (
            '"a "quoted" #1 name" #31 prio=5 os_prio=0 cpu=4005.25ms elapsed=81007.04s tid=0x1 nid=0x3b0 waiting on condition  [0x2]',
            ('a "quoted" #1 name', "31", "944", 4005.25, 81007.04),
        ),
        (
            '"main" #3 [3085] prio=5 os_prio=0 cpu=35.16ms elapsed=2.15s allocated=12K tid=0x1 nid=3085 waiting on condition  [0x2]',
            ("main", "3", "3085", 35.16, 2.15),
        ),
        ('"VM Thread" os_prio=0 tid=0x00007f3ad40bd800 nid=0xb08 runnable ', ("VM Thread", "", "2824", None, None)),
    ],
    ids=["8", "11", "21", "of the JVM itself"],
)
def test_a_header_of_each_version_is_read(line: str, read: tuple[str, str, str, float | None, float | None]) -> None:
    """Name, number, native id in decimal, CPU and age where they are printed."""
    (thread,) = a_dump(line).threads

    assert (thread.name, thread.number, thread.nid, thread.cpu_ms, thread.elapsed_s) == read


def test_frames_lose_their_module_and_lambdas_their_number() -> None:
    """As people say them."""
    (thread,) = a_stack(
        "RUNNABLE",
        "java.net.Socket.read(java.base@17.0.15/Socket.java:966)",
        "shop.Stock$$Lambda$3/0x0001.run(Unknown Source)",
        "shop.Stock.lambda$main$12(Stock.java:10)",
    ).threads

    assert thread.frames[0].source == "Socket.java:966"
    assert thread.application
    assert thread.application.text == "Stock.main:10"


def test_a_monitor_that_is_waited_on_is_not_held() -> None:
    """Object.wait() lets it go, though the dump says "locked" further down."""
    (thread,) = a_stack(
        "WAITING (on object monitor)",
        "java.lang.Object.wait(Native Method)",
        "- waiting on <0x01> (a shop.Queue)",
        "shop.Queue.take(Queue.java:9)",
        "- locked <0x01> (a shop.Queue)",
        "- locked <0x02> (a shop.Shelf)",
        "- eliminated <owner is scalar replaced> (a shop.Box)",
    ).threads

    assert thread.holds == {"0x02"}


def test_the_stack_of_a_mounted_virtual_thread_stands_for_its_carrier() -> None:
    """JDK 24 and later print both."""
    (thread,) = a_dump(
        '"ForkJoinPool-1-worker-1" #23 [3104] daemon prio=5 os_prio=0 cpu=766.93ms elapsed=2.05s tid=0x1  [0x2]',
        "   Carrying virtual thread #30",
        "\tat jdk.internal.vm.Continuation.run(java.base@25.0.3/Continuation.java:251)",
        "   Mounted virtual thread #30",
        "\tat shop.Orders.load(Orders.java:4)",
    ).threads

    assert [frame.text for frame in thread.frames] == ["Orders.load:4"]


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("http-nio-8080-exec-7", "http-nio-8080-exec"),
        ("pool-1-thread-12", "pool-1-thread"),
        ("XNIO-1 task-3", "XNIO-1 task"),
        ("[ACTIVE] ExecuteThread: '5' for queue: 'default'", "[ACTIVE] ExecuteThread: '#' for queue: 'default'"),
        ("main", ""),
    ],
)
def test_threads_of_a_pool_differ_in_their_last_number(name: str, pool: str) -> None:
    """Whatever stands around it."""
    assert pool_of(name) == pool


# --- what a stack waits for -------------------------------------------------------------------

PARK = "jdk.internal.misc.Unsafe.park(Native Method)"
APP = "com.shop.OrderDao.find(OrderDao.java:41)"


@pytest.mark.parametrize(
    ("state", "lines", "waits"),
    [
        ("WAITING (parking)", [PARK, "org.apache.tomcat.util.threads.ThreadPoolExecutor.getTask(X.java:1)", TASK], None),
        ("WAITING (parking)", [PARK, "java.util.concurrent.LinkedBlockingQueue.take(Q.java:1)", APP, TASK], None),
        ("RUNNABLE", ["sun.nio.ch.EPoll.wait(Native Method)", "io.netty.channel.nio.NioEventLoop.run(X.java:1)"], None),
        ("RUNNABLE", ["java.net.SocketInputStream.socketRead0(Native Method)", "com.rabbitmq.client.Frame.readFrom(F.java:1)"], None),
        ("RUNNABLE", [APP, TASK], None),
        ("TIMED_WAITING (sleeping)", ["java.lang.Thread.sleep(Native Method)", APP], None),  # a loop of its own
        ("WAITING (parking)", [PARK, "com.zaxxer.hikari.pool.HikariPool.getConnection(H.java:1)", APP, TASK], "a connection from HikariPool in OrderDao.find:41"),
        ("RUNNABLE", ["java.net.PlainSocketImpl.socketConnect(Native Method)", APP], "a connection to the network in OrderDao.find:41"),
        ("RUNNABLE", ["sun.nio.ch.Net.poll(Native Method)", "sun.nio.ch.NioSocketImpl.timedRead(N.java:1)", APP], "an answer from the network in OrderDao.find:41"),
        ("TIMED_WAITING (sleeping)", ["java.lang.Thread.sleep(Native Method)", APP, TASK], "time to pass (Thread.sleep) in OrderDao.find:41"),
        ("WAITING (parking)", [PARK, "- parking to wait for  <0x1> (a java.util.concurrent.CompletableFuture$Signaller)", APP, TASK], "another task's result (CompletableFuture) in OrderDao.find:41"),
        ("WAITING (parking)", [PARK, "- parking to wait for  <0x1> (a java.util.concurrent.Semaphore$NonfairSync)", APP, TASK], "a permit (Semaphore) in OrderDao.find:41"),
        ("WAITING (parking)", [PARK, "java.util.concurrent.ArrayBlockingQueue.put(Q.java:1)", APP, TASK], "room in a queue (ArrayBlockingQueue) in OrderDao.find:41"),
        ("WAITING (parking)", [PARK, "- parking to wait for  <0x1> (a java.util.concurrent.locks.ReentrantLock$FairSync)", APP], "a lock (ReentrantLock) in OrderDao.find:41"),
        ("BLOCKED (on object monitor)", [APP, "- waiting to lock <0x1> (a com.shop.Shelf)"], "a lock (Shelf) in OrderDao.find:41"),
    ],
)  # fmt: skip
def test_a_stack_says_what_it_waits_for(state: str, lines: list[str], waits: str | None) -> None:
    """Idle threads, working ones and loops of their own wait for nothing that matters."""
    (thread,) = a_stack(state, *lines).threads
    place = place_of(thread)

    assert (place.words() if place else None) == waits


# --- what dumps say together ------------------------------------------------------------------


def test_objects_may_move_between_the_dumps() -> None:
    """Addresses are good within one dump only."""
    head, first, *rest = recording("hot-lock-17").split("### dump ")
    moved = re.sub("<0x00000000f", "<0x00000000e", first)

    assert [f.text for f in said("### dump ".join([head, moved, *rest]))] == [
        f.text for f in said(recording("hot-lock-17"))
    ]


def test_a_pool_that_gets_much_done_between_its_waits_is_not_held_up() -> None:
    """The same stacks with 100 ms more CPU in each dump are a busy pool, not a stuck one."""
    text = recording("slow-database-8")
    parts = text.split("### cpu ")
    parts = [re.sub(r"^(28[45]\d\t91)2", rf"\g<1>{2 + n}", part, flags=re.MULTILINE) for n, part in enumerate(parts)]

    assert said(text)
    assert said("### cpu ".join(parts)) == []


def test_a_dump_that_was_cut_does_not_count() -> None:
    """The pool of the last dump is not all there: the two before it speak."""
    text = recording("slow-downstream-17")
    cut = text[: text.rindex('"orders-worker-4"')]

    (finding,) = said(cut)

    assert finding.text.startswith("All 8 threads of pool orders-worker in SlowDownstream")


def test_a_lock_without_a_printed_owner_says_how_to_see_it() -> None:
    """Owners of java.util.concurrent locks are printed with -l only; a virtual thread's are not printed at all."""
    owner = r"\t- <0x\w+> \(a java.util.concurrent.locks.ReentrantLock\$NonfairSync\)"
    printed = re.sub(owner, "\t- None", recording("lock-of-a-busy-owner-25"))
    short = printed.replace("   Locked ownable synchronizers:\n\t- None\n", "")
    short = re.sub(r"   Locked ownable synchronizers:\n(\t- .*\n)+", "", short)

    assert said(printed)[0].text.endswith("wait for a lock (ReentrantLock) whose owner is not in the dumps")
    assert said(short)[0].text.endswith("wait for a lock (ReentrantLock) whose owner locks=yes would show")


def test_a_lock_that_goes_from_hand_to_hand_is_no_ones_fault() -> None:
    """The threads behind it move, and each dump finds another owner."""
    parts = recording("hot-lock-17").split("### dump ")
    for n, part in enumerate(parts):
        parts[n] = part.replace('"ledger-writer" #', f'"ledger-writer-{n}" #').replace("cpu=", f"cpu={n}")

    (finding,) = said("### dump ".join(parts))

    assert finding.level is Level.WARN
    assert finding.text.endswith("wait for a lock (HotLock$Ledger) that goes from hand to hand")


def test_two_deadlocks_are_both_told() -> None:
    """HotSpot prints each with its own ring."""
    text = recording("deadlock-17")
    ring = re.search(r"Found one Java-level deadlock:.*?(?=Java stack)", text, re.DOTALL)
    assert ring

    (finding,) = said(text.replace(ring[0], ring[0] + ring[0].replace("transfer-", "refund-")))

    assert finding.text.endswith("(Object in Transfers.transfer:27); 1 more deadlock")


# --- broken and hostile text ------------------------------------------------------------------


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: str(path.stem))
@settings(BOUNDED, max_examples=10)
@given(data=st.data())
def test_a_recording_cut_and_stitched_anywhere_is_survived(path: Path, data: st.DataObject) -> None:
    """Pieces left out, as after a limit, a lost connection or a JVM that died."""
    lines = path.read_text().splitlines(keepends=True)[:400]
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(lines)), st.integers(0, len(lines)))))

    for finding in said("".join(lines[:start] + lines[end:])):
        assert finding.text.isprintable()
        assert 0 <= finding.weight <= 1


LINE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            '"t-1" #9 prio=5 cpu=1.0ms elapsed=nans tid=0x1 nid=0xz waiting',
            '"\x1b[31m\u202e" #9 prio=5 cpu=1e999ms elapsed=1.0s tid=0x1 nid=1 x',
            "   java.lang.Thread.State: BLOCKED (on object monitor)",
            "\tat a(b)",
            "\t- waiting to lock <0x1> (a \x07)",
            "\t- locked <0x1> (a b)",
            "JNI global refs: 1",
            "Found one Java-level deadlock:",
            '"t-1":\n  waiting to lock monitor 0x1 (object 0x2, a x),\n  which is held by "t-1"',
            f"### dump at={AT.isoformat()} n=1",
            f"### cpu at={AT.isoformat()} n=1\nnid\tcpu_ms\twaited_ms\n1\tnan\t-5",
        ]
    ),
)


@BOUNDED
@given(st.lists(LINE, max_size=25))
def test_any_lines_are_survived(lines: list[str]) -> None:
    """Nothing raises, and nothing unprintable is said."""
    for finding in said("\n".join([f"### dump at={AT.isoformat()} n=1", *lines])):
        assert finding.text.isprintable()
        assert all(line.isprintable() for line in finding.evidence)
