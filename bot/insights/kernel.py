"""What a host's kernel complained about in the last hour."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

RECENT_S = 3600.0  # older complaints are not about this incident
FRESH_S = 900.0  # what is bad is bad only while it is fresh

# Level, weight, what it looks like, what it means. Texts as in Linux 4.18 to 6.12 (mm/oom_kill.c, kernel/hung_task.c,
# block/blk-core.c, fs/buffer.c, kernel/watchdog.c, net/netfilter/nf_conntrack_core.c, net/ipv4/tcp_input.c).
COMPLAINTS: tuple[tuple[Level, float, re.Pattern[str], str], ...] = (
    (
        Level.BAD,
        0.95,
        re.compile(r"Out of memory: Killed process (?P<pid>\d+) \((?P<name>.*?)\).*?anon-rss:(?P<kb>\d+)kB"),
        "The kernel killed {name} (pid {pid}) for lack of memory {ago}: it held {size}",
    ),
    (
        Level.BAD,
        0.95,
        re.compile(
            r"Memory cgroup out of memory: Killed process (?P<pid>\d+) \((?P<name>.*?)\).*?anon-rss:(?P<kb>\d+)kB"
        ),
        "The kernel killed {name} (pid {pid}) at the memory limit of its control group {ago}: it held {size}",
    ),
    (
        Level.BAD,
        0.9,
        re.compile(r"Remounting filesystem read-only"),
        "A file system was made read-only after an error {ago}",
    ),
    (
        Level.BAD,
        0.9,
        re.compile(
            r"(?:I/O error,? (?:on )?dev(?:ice)? (?P<name>[\w-]+)|(?P<fs>EXT4-fs|XFS|BTRFS)(?: error)? \(\w+[^)]*\): .*(?:error|corrupt))"
        ),
        "Disk errors on {name}, the last {ago}",
    ),
    (
        Level.BAD,
        0.85,
        re.compile(r"INFO: task (?P<name>.+?):(?P<pid>\d+) blocked for more than (?P<seconds>\d+) seconds"),
        "{name} (pid {pid}) hung in the kernel for more than {seconds} s {ago}",
    ),
    (
        Level.BAD,
        0.85,
        re.compile(r"soft lockup - CPU#(?P<cpu>\d+) stuck for (?P<seconds>\d+)s"),
        "Processor {cpu} was stuck for {seconds} s {ago}",
    ),
    (
        Level.BAD,
        0.85,
        re.compile(r"nf_conntrack: .*table full, dropping packet"),
        "The connection tracking table is full: packets were dropped {ago}",
    ),
    (Level.BAD, 0.8, re.compile(r"Hardware Error|Machine check events logged"), "The hardware reported an error {ago}"),
    (
        Level.WARN,
        0.6,
        re.compile(r"Possible SYN flooding on port (?P<port>\S+?)\. "),
        "More connections came to port {port} than its queue holds {ago}",
    ),
    (
        Level.WARN,
        0.5,
        re.compile(r"(?P<name>[\w.-]+):? (?:NIC )?[Ll]ink (?:is )?[Dd]own"),
        "The network link {name} went down {ago}",
    ),
    (
        Level.WARN,
        0.5,
        re.compile(r"TCP: out of memory -- consider tuning tcp_mem|Out of socket memory"),
        "The kernel ran out of memory for TCP sockets {ago}",
    ),
)

# dmesg: "[ 1234.567890] text"; journalctl -o short-monotonic: "[ 1234.567890] host kernel: text"
_MESSAGE = re.compile(r"^\[ *(\d+\.\d+)\] (?:\S+ kernel: )?(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Complaint:
    """One message that means something."""

    kind: int  # its place in COMPLAINTS
    match: re.Match[str]
    age_s: float
    line: str


def kernel(reading: Reading) -> Iterator[Finding]:
    """The latest complaint of each kind, with how many there were."""
    bodies = {section.name: section.body for section in sections(reading.text)}
    uptime = words.number((bodies.get("uptime", "").split() or ["0"])[0])
    by_kind: dict[int, list[Complaint]] = {}
    for complaint in _complaints(bodies.get("messages", ""), uptime):
        by_kind.setdefault(complaint.kind, []).append(complaint)
    for kind in sorted(by_kind):
        yield _finding(kind, by_kind[kind])
    if unseen := words.clean(bodies.get("unseen", ""), 160):
        yield Finding(level=Level.INFO, text=unseen[:1].upper() + unseen[1:], weight=0.1)


def _complaints(messages: str, uptime: float) -> Iterator[Complaint]:
    for message in _MESSAGE.finditer(messages):
        age = max(uptime - words.number(message[1]), 0.0)
        if age > RECENT_S:
            continue
        for kind, (_, _, pattern, _) in enumerate(COMPLAINTS):
            if match := pattern.search(message[2]):
                yield Complaint(kind, match, age, message[0])
                break


def _finding(kind: int, complaints: list[Complaint]) -> Finding:
    level, weight, _, sentence = COMPLAINTS[kind]
    last = min(complaints, key=lambda each: each.age_s)
    parts = {name: words.clean(value or "") for name, value in last.match.groupdict().items()}
    parts["name"] = parts.get("name") or parts.get("fs", "")
    parts["size"] = words.size(words.number(parts.get("kb")) * 1024)
    text = sentence.format(ago=f"{words.duration(last.age_s)} ago", **parts)
    if len(complaints) > 1:
        text += f" ({words.counted(len(complaints), 'such message')} in the last hour)"
    fresh = last.age_s <= FRESH_S
    return Finding(
        level=level if fresh else Level.WARN,
        text=text,
        weight=weight if fresh else weight / 2,
        evidence=words.evidence(*(each.line for each in complaints[-5:])),
    )
