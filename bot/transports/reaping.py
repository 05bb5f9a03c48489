r"""Steps that lost their bot: looked for on a host at a capture's first contact with it, ended, and told.

A step whose connection is lost runs on until its own limit on the host. Everything it starts carries two variables::

    CAPTUREBOT_STEP=CAPTURE-RANDOM               whose it is
    CAPTUREBOT_OWNER=PIDNAMESPACE-PID-START      the process that its shell was started by: sshd's for that connection,
                                                 or the bot itself on its own machine; START in ticks since the boot

It counts as left behind when its owner is gone, or when this bot gave it up because the host did not answer: sshd may
hold on to a connection that the network has cut for as long as nothing is said on it. Only processes that may be looked
into are found, so a step of another user is left alone; one of another PID namespace too, whose owner cannot be seen.
What a step had put aside on the host goes with it, see `scratch`.
"""

from __future__ import annotations

import shlex
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bot.transports.scratch import VARIABLE, counted

MARK = "CAPTUREBOT_STEP"
OWNER = "CAPTUREBOT_OWNER"
AT_ONCE = 3  # steps ended at one contact, so that the step which looks for them starts in time
CONTACTS_KEPT = 500  # of captures with hosts
LOST_KEPT = 20  # steps given up, of one host
REMARKS = frozenset({"reaped", "unreaped"})

OWN = f"""\
look "$PPID"
{OWNER}=$space-$PPID-$begun
export {OWNER}
"""

# Reading a sick process's environment can hang. The shell of a step that is ended tidies up by itself, where it lives.
_REAP = r"""
known=%(known)s
carriers() {
  found=$(timeout -s KILL 2 grep -lsF -e "%(mark)s=$1" /proc/[0-9]*/environ)
  [ $? -lt 124 ] || return
  found=$(echo "$found" | sed 's|/environ$||; s|.*/||')
}
value() {
  tr '\0' '\n' <"/proc/$1/environ" | sed -n "s/^$2=//p" | head -n 1
}
lost() {
  case " $known " in *" $1 "*) return 0 ;; esac
  owner=$(value "$2" %(owner)s)
  born=${owner##*-}
  [ "${owner%%%%-*}" = "$space" ] && [ "$born" ] || return 1
  owner=${owner#*-}
  look "${owner%%%%-*}"
  case $state$begun in [ZX]*) return 0 ;; *"$born") return 1 ;; esac
}
put_down() {
  for round in 'INT .1 .3 .6 1' 'TERM .1 .4 .5' 'KILL .1 .4 .5'; do
    set -- $round
    used=$1
    kill -s "$used" $left
    shift
    for pause in "$@"; do
      sleep "$pause"
      carriers "$step" || return # who is left cannot be seen, and none is called gone
      left=$found
      [ "$left" ] || return
    done
  done
}
reap() {
  ended=
  carriers || return
  for pid in $found; do
    step=$(value "$pid" %(mark)s)
    case $step in "" | *[!0-9A-Za-z-]*) continue ;; esac
    case " $ended " in *" $step "*) continue ;; esac
    lost "$step" "$pid" || continue
    look "$pid"
    group=$leader files=0
    folder=$(value "$pid" %(folder)s)
    [ ! -d "$folder" ] || files=$(find "$folder" -type f | wc -l)
    carriers "$step" || return
    left=$found
    [ "$left" ] || continue
    put_down
    for pause in .1 .2 .3 .4; do
      [ -d "$folder" ] || break
      sleep "$pause"
    done
    [ ! -d "$folder" ] || files=0
    [ "$left" ] && echo "$say unreaped $step" $left || echo "$say reaped $step $group $used $files"
    ended="$ended $step"
    set -- $ended
    [ $# -lt %(most)s ] || return
  done
}
reap >&7
"""


def reap(known: Iterable[str] = ()) -> str:
    """Sh's text that ends lost steps, and those *known* to be, behind `scratch.functions`."""
    named = shlex.quote(" ".join(known))
    return _REAP % {"known": named, "mark": MARK, "owner": OWNER, "folder": VARIABLE, "most": AT_ONCE}


def read_reaped(remarks: Iterable[Sequence[str]], host: str) -> list[str]:
    """What was found, a sentence each."""
    sentences = []
    for remark in remarks:
        match remark:
            case ["reaped", step, group, used, files] if group.isdecimal() and files.isdecimal():
                how = "" if used == "INT" else f" after {used}"
                tidied = f", {counted(int(files))} removed" if int(files) else ""
                which = f"Capture {_capture(step)} was cut off from {host} and had left a step running"
                sentences.append(f"{which}: process group {group} gone{how}{tidied}.")
            case ["unreaped", step, *pids]:
                which = f"Capture {_capture(step)} was cut off from {host} and had left a step running"
                sentences.append(f"{which}: processes {', '.join(pids[:AT_ONCE])} are still there in spite of KILL.")
    return sentences[:AT_ONCE]


def _capture(step: str) -> str:
    return step.rpartition("-")[0]


@dataclass(slots=True)
class Contacts:
    """Which capture has met which host, and which steps were given up there."""

    _met: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    _lost: dict[str, dict[str, None]] = field(default_factory=dict)

    def meet(self, host: str, capture_id: str) -> tuple[str, ...] | None:
        """The steps that were given up on *host*, to be looked for now; None where *capture_id* has looked already."""
        if (host, capture_id) in self._met:
            return None
        self._met[host, capture_id] = None
        if len(self._met) > CONTACTS_KEPT:
            self._met.popitem(last=False)
        return tuple(self._lost.get(host, ()))

    def missed(self, host: str, capture_id: str) -> None:
        """The host was not met after all."""
        self._met.pop((host, capture_id), None)

    def settle(self, host: str, steps: Iterable[str]) -> None:
        """They were looked for."""
        for step in steps:
            self._lost.get(host, {}).pop(step, None)

    def lose(self, host: str, step: str) -> None:
        """Remember a step whose end could not be proved; the next contact looks for it, also of a capture that met."""
        lost = self._lost.setdefault(host, {})
        lost[step] = None
        if len(lost) > LOST_KEPT:
            del lost[next(iter(lost))]
        for met in [one for one in self._met if one[0] == host]:
            del self._met[met]
