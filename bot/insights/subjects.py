"""What is countable in the parts of artifacts, and what to call it: the table that comparisons read by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.insights import words

Named = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Numbers of one kind, in the sections called *part*.

    *by* are the columns that name a row, *of* is the one that is its number, "" where a row counts as one. Columns
    without a heading are called by their place, from "0". Rows of one name are added up. *counts* is for what only
    grows: its speed counts, between the first look and the last, or from the column *since* to *of*.
    """

    part: str
    by: tuple[str, ...]
    of: str
    what: Named  # "memory of java"
    thing: Named | None = None  # "process java", where its coming and going are worth a word
    unit: Callable[[float], str] = words.count
    least: float = 1.0  # a smaller difference is not told
    times: float = 2.0  # nor one by a smaller factor
    counts: bool = False
    since: str = ""
    text: bool = False  # the value is told as it stands
    alarming: bool = False  # whatever is new here is bad
    rows: int = 0  # a longer table is cut there, below its largest numbers; 0: none is
    without: str = ""  # a column that another table of that name has
    only: frozenset[str] = frozenset()  # names, which are always there; none given: all that come and go
    falls: bool = False  # less of it is worse
    telling: frozenset[str] = frozenset()  # names that mean trouble, and so come before others that are as far out
    own: frozenset[str] = frozenset()  # names that captures bring about themselves


def _kilobytes(value: float) -> str:
    return words.size(value * 1024)


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _rate(value: float) -> str:
    return f"{value:,.0f}/s" if value >= 10 else f"{value:.1f}/s"


def _peer(names: Sequence[str]) -> str:
    state, peer, port, process = names
    owner = f" of {process}" if process not in {"-", ""} else ""
    return f"{state} sockets{owner} to {peer}{'' if port == '*' else f':{port}'}"


TOOLS = frozenset(  # that scripts of captures run
    {
        *("timeout", "bash", "sh", "ps", "top", "awk", "gawk", "mawk", "sort", "head", "tail", "cut", "tr", "cat"),
        *("grep", "xargs", "find", "ss", "sleep", "vmstat", "df", "stat", "nstat", "dmesg"),
    }
)
TROUBLES = frozenset(
    {
        *("ListenOverflows", "ListenDrops", "RetransSegs", "AttemptFails", "EstabResets", "OutRsts", "TCPTimeouts"),
        *("TCPAbortOnMemory", "TCPAbortOnTimeout", "TCPAbortFailed"),
    }
)
LEAKS = frozenset({"CLOSE-WAIT", "SYN-SENT", "SYN-RECV"})
ROOM = frozenset({"MemAvailable", "SwapFree"})
MEMORY = frozenset({"Dirty", "Slab", "AnonPages", "Shmem", "PageTables", "Committed_AS"})
STATUS = frozenset(
    {
        *("Questions", "Connections", "Aborted_connects", "Aborted_clients", "Slow_queries", "Com_commit"),
        *("Com_rollback", "Created_tmp_disk_tables", "Select_full_join", "Innodb_row_lock_waits"),
        *("Innodb_buffer_pool_reads", "Innodb_data_fsyncs", "Innodb_os_log_written", "Handler_read_rnd_next"),
    }
)
LEVELS = frozenset({"Threads_connected", "Threads_running", "Open_tables", "Innodb_row_lock_current_waits"})

SUBJECTS = (
    Subject(
        part="processes",
        by=("COMMAND",),
        of="RSS",
        what=lambda names: f"memory of {names[0]}",
        thing=lambda names: f"process {names[0]}",
        unit=_kilobytes,
        least=6_000,
        rows=59,
        without="PPID",
        own=TOOLS,
    ),
    Subject(
        part="processes",
        by=("process",),
        of="open",
        what=lambda names: f"open files of {names[0]}",
        least=100,
    ),
    Subject(
        part="top",
        by=("COMMAND",),
        of="%CPU",
        what=lambda names: f"CPU of {names[0]}, in % of a core",
        rows=50,
        unit=_percent,
        least=25,
        own=TOOLS,
    ),
    Subject(part="load", by=(), of="0", what=lambda _: "load", unit=lambda value: f"{value:.1f}", least=3),
    Subject(
        part="meminfo",
        by=("0",),
        of="1",
        what=lambda names: names[0],
        unit=_kilobytes,
        least=200_000,
        times=1.5,
        only=MEMORY,
    ),
    Subject(
        part="meminfo",
        by=("0",),
        of="1",
        what=lambda names: names[0],
        unit=_kilobytes,
        least=200_000,
        times=1.5,
        only=ROOM,
        falls=True,
    ),
    Subject(
        part="space",
        by=("Mounted",),
        of="Used",
        what=lambda names: f"space used on {names[0]}",
        thing=lambda names: f"file system {names[0]}",
        unit=_kilobytes,
        least=500_000,
        times=1.1,
    ),
    Subject(part="inodes", by=("Mounted",), of="IUsed", what=lambda names: f"inodes used on {names[0]}", least=50_000),
    Subject(
        part="units",
        by=("0", "2"),
        of="",
        what=lambda names: f"unit {names[0]}, {names[1]}",
        thing=lambda names: f"unit {names[0]}, {names[1]}",
        alarming=True,
    ),
    Subject(
        part="states",
        by=("state",),
        of="sockets",
        what=lambda names: f"{names[0]} sockets",
        least=20,
        telling=LEAKS,
    ),
    Subject(
        part="groups",
        by=("state", "peer", "peer_port", "process"),
        of="sockets",
        what=_peer,
        least=20,
        rows=200,
        telling=LEAKS,
    ),
    Subject(
        part="listening",
        by=("3",),
        of="",
        what=lambda names: f"listeners on {names[0]}",
        thing=lambda names: f"listener on {names[0]}",
    ),
    Subject(
        part="dropped",
        by=("counter",),
        of="after",
        since="before",
        counts=True,
        what=lambda names: names[0],
        unit=_rate,
        least=2,
        only=TROUBLES,
    ),
    Subject(
        part="clients",
        by=("user", "client"),
        of="connections",
        what=lambda names: f"connections of {names[0]} from {names[1]}",
        thing=lambda names: f"client {names[0]} from {names[1]}",
        least=3,
        rows=20,
    ),
    Subject(
        part="digests",
        by=("statement",),
        of="statements",
        counts=True,
        what=lambda names: f"calls of {words.spoken(names[0])}",
        rows=200,
        thing=lambda names: f"statement {words.spoken(names[0])}",
        unit=_rate,
        least=2,
    ),
    Subject(
        part="status",
        by=("Variable_name",),
        of="Value",
        counts=True,
        what=lambda names: names[0],
        unit=_rate,
        least=5,
        only=STATUS,
    ),
    Subject(part="status", by=("Variable_name",), of="Value", what=lambda names: names[0], least=5, only=LEVELS),
    Subject(part="variables", by=("Variable_name",), of="Value", what=lambda names: f"setting {names[0]}", text=True),
)
