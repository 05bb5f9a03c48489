"""What a Linux host may have beside programs that makes recipes see more: rights, and settings of its kernel.

`capturebot doctor TARGET` asks for them and says what mends a lack; `bot.features.windows` has those of Windows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Facts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Feature:
    """Something of a host that makes recipes see more: *lack* says what stays unseen without, *cure* what mends it."""

    there: Callable[[Facts], bool]
    lack: str
    cure: str


def is_root(facts: Facts) -> bool:
    """Whether the host's account sees all of it."""
    return facts.get("uid") == "0"


# What `wants:` of a step may name beside programs.
FEATURES: Mapping[str, Feature] = {
    "root": Feature(is_root, "what belongs to other users stays unseen", "log in as root"),
    "ptrace": Feature(
        lambda facts: is_root(facts) or facts.get("ptrace") == "0",
        "no process may be looked into",
        "log in as root, or as the process's user with sysctl kernel.yama.ptrace_scope=0",
    ),
    "kernel-log": Feature(
        lambda facts: facts.get("can kernel-log") == "yes",
        "the kernel's messages may not be read",
        "sysctl kernel.dmesg_restrict=0, or log in as root",
    ),
    "journal": Feature(
        lambda facts: facts.get("can journal") == "yes",
        "there is no journal that may be read",
        "usermod -aG systemd-journal {user}",
    ),
    "packets": Feature(
        lambda facts: is_root(facts) or facts.get("packets", "") != "",
        "packets may not be read",
        "setcap cap_net_raw,cap_net_admin=eip $(command -v tcpdump), or log in as root",
    ),
    "perf-events": Feature(
        lambda facts: is_root(facts) or re.fullmatch("-1|0|1", facts.get("perf", "")) is not None,
        "the kernel's part of a profile, and other users' processes, stay unseen",
        "sysctl kernel.perf_event_paranoid=1, or log in as root",
    ),
    "bpf": Feature(
        lambda facts: is_root(facts) and facts.get("lockdown") != "[confidentiality]",
        "nothing may be counted in the kernel",
        "log in as root, on a kernel that is not locked down",
    ),
}
