r"""A folder of its own on the host for a step that needs one: made before it, gone after it, on every path.

A step gets one where it leaves a file (`bot.model.File`), or where its script speaks of ``$CAPTURE_SCRATCH``. The
folder is removed by the step's outermost shell when the step has ended, however it ended; by the program that ends a
step, where that shell is gone; and where neither came to it, by the next step of any capture on that host, which then
says so. Its name tells whose it is::

    capturebot-PIDNAMESPACE-PID-START-TOKEN      PID and START (in ticks since the boot) of that shell

and it counts as left behind when that process is gone, and none has the folder in its environment. One of another
namespace, whose processes we do not see, has to be older than any step can get.

A script that stops another process for a while says so before, by a line ``PID START`` in ``$CAPTURE_SCRATCH/paused``.
Whoever removes the folder then looks whether that process runs again, and lets it go on where it does not.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.insights.words import size

VARIABLE = "CAPTURE_SCRATCH"
OWN_PLACE = "/var/lib/capturebot/scratch"  # an operator's own choice, where it exists
PLACES = (OWN_PLACE, "/var/tmp", "/tmp")  # noqa: S108  the folder inside is ours alone, mode 700
OLDEST_MIN = 60  # minutes; steps end after ten, and what they leave is sent in the same time
NAMED = 3  # processes or folders in a sentence

# Remarks go to descriptor 7. A pid's state "t" is that of one whose tracer is only just dying.
_FUNCTIONS = r"""
places=%(places)s
space=$(readlink /proc/self/ns/pid)
space=${space##*[}
space=${space%%]}
look() {
  state= begun= leader=
  read -r line <"/proc/$1/stat" || return
  set -- ${line##*) }
  state=$1 leader=$3
  shift 19
  begun=$1
} 2>/dev/null
resume() {
  while read -r pid start; do
    again=
    for pause in .05 .1 .2 .4 .8; do
      look "$pid"
      [ "$begun" = "$start" ] || state=gone
      case $state in
        T) kill -s CONT "$pid" && again=again ;;
        t) ;;
        *) break ;;
      esac
      sleep "$pause"
    done
    echo "$say target $pid $state ${again:-self}" >&7
  done
}
tidy() {
  if [ -f "$1/paused" ]; then
    resume <"$1/paused"
    rm -f -- "$1/paused"
  fi
  files=$(find "$1" -type f | wc -l)
  kilobytes=$(du -sk -- "$1")
  rm -rf -- "$1"
  if [ -e "$1" ]; then echo "$say stays $1"; else echo "$say $2 $files ${kilobytes%%%%[!0-9]*} $1"; fi >&7
}
"""

_SWEEP = r"""
for folder in %(pattern)s; do
  [ -d "$folder" ] && [ ! -L "$folder" ] && [ -O "$folder" ] || continue
  name=${folder##*/capturebot-}
  owner=${name#*-}
  born=${owner#*-}
  if [ "${name%%%%-*}" != "$space" ]; then
    [ "$(find "$folder" -maxdepth 0 -mmin +%(oldest)s)" ] || continue
  else
    look "${owner%%%%-*}"
    case $state$begun in [ZX]*) ;; *"${born%%%%-*}") continue ;; esac
    timeout -s KILL 2 grep -qsF -e "$folder" /proc/[0-9]*/environ
    case $? in 0 | 137) continue ;; esac
  fi
  tidy "$folder" swept
done
"""

# Memory counts as room only where there is nothing else.
_MAKE = r"""
most=-1 place=
for each in $places; do
  [ -d "$each" ] && [ -w "$each" ] && [ -x "$each" ] || continue
  set -- $(stat -f -c '%%a %%S %%T' -- "$each")
  room=$((${1:-0} * ${2:-0}))
  case $3 in tmpfs | ramfs) room=$((room / 4096)) ;; esac
  [ "$((room - room / 16))" -le "$most" ] || most=$room place=$each
  [ "$each" != %(own)s ] || break
done
[ "$place" ] || { echo "$say noscratch" >&7; exit 127; }
look $$
%(variable)s=$place/capturebot-$space-$$-$begun-$say
export %(variable)s
mkdir -m 700 -- "$%(variable)s" || { echo "$say noscratch" >&7; exit 127; }
"""

_END = r"""
for folder in %(pattern)s; do
  [ -d "$folder" ] || continue
  for pause in .1 .2 .3 .5; do
    sleep "$pause"
    [ -d "$folder" ] || break
  done
  [ ! -d "$folder" ] || tidy "$folder" removed
done
[ -z "$paused" ] || resume <<END
$paused
END
"""


def functions(places: Sequence[str] = PLACES) -> str:
    """Sh's text that the others need first: ``$say`` holds the token, descriptor 7 takes remarks. *places* hold no blanks."""
    return _FUNCTIONS % {"places": shlex.quote(" ".join(places))}


def sweep(places: Sequence[str] = PLACES) -> str:
    """Sh's text that removes what dead steps left behind."""
    return _SWEEP % {"pattern": _pattern("[0-9a-f]*", places), "oldest": OLDEST_MIN}


def make() -> str:
    """Sh's text that makes the folder where there is most room, and names it in the environment."""
    return _MAKE % {"own": OWN_PLACE, "variable": VARIABLE}


def remove() -> str:
    """Sh's text for the shell that made it."""
    return f'tidy "${VARIABLE}" removed\n'


def remember(token: str, places: Sequence[str] = PLACES) -> str:
    """Sh's text that `end` needs to have run first, while the step's own shell is not told yet to tidy up."""
    return f"paused=$(cat {' '.join(f'{each}/paused' for each in _pattern(token, places).split())})\n"


def end(token: str, places: Sequence[str] = PLACES) -> str:
    """Sh's text for whoever ends the step of that *token*: the step's own shell is given a moment to tidy up."""
    return _END % {"pattern": _pattern(token, places)}


def _pattern(token: str, places: Sequence[str]) -> str:
    return " ".join(f"{place}/capturebot-[0-9]*-[0-9]*-[0-9]*-{token}" for place in places)


# --- what comes back --------------------------------------------------------------------------

REMARKS = frozenset({"swept", "removed", "stays", "target"})  # of tidying up


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was done about files and processes: *files* and *kilobytes* were removed, *stays* could not be."""

    files: int = 0
    kilobytes: int = 0
    removed: bool = False
    stays: tuple[str, ...] = ()
    again: tuple[str, ...] = ()  # processes that were left stopped, and run again
    runs: tuple[str, ...] = ()  # those that ran by themselves
    stopped: tuple[str, ...] = ()  # those that could not be helped

    @property
    def proof(self) -> str:
        """For the sentence about a stop: "target running again, 2 temporary files removed"."""
        parts = []
        if self.again or self.runs:
            parts.append(f"target running again (pid {', '.join((self.again + self.runs)[:NAMED])})")
        parts.append(f"{counted(self.files)} removed" if self.files else "no temporary file left")
        return ", ".join((parts[:-1] if self.stays and not self.files else parts) + self._faults())

    @property
    def trouble(self) -> str:
        """What a person should know of a step that went well otherwise, as sentences; "" where all is well."""
        parts = [f"pid {pid} was left stopped and runs again" for pid in self.again[:NAMED]]
        return "".join(f"{part[:1].upper()}{part[1:]}. " for part in parts + self._faults()).strip()

    def found(self, host: str) -> str:
        """The same about what an earlier capture had left behind."""
        said = (
            f"An earlier capture had left {counted(self.files)} on {host} ({size(self.kilobytes * 1024)}); now removed."
        )
        return " ".join(part for part in (said if self.removed else "", self.trouble) if part)

    def _faults(self) -> list[str]:
        faults = [f"pid {pid} is still stopped: `kill -CONT {pid}` lets it go on" for pid in self.stopped[:NAMED]]
        return faults + [f"{folder} could not be removed: do it by hand" for folder in self.stays[:NAMED]]


def read_tidied(remarks: Iterable[Sequence[str]], *, word: str = "removed") -> Tidied:
    """Understand the remarks of one tidying, or of all sweeping where *word* is "swept"."""
    files = kilobytes = 0
    removed = False
    stays: list[str] = []
    ends: dict[str, str] = {}  # of the processes that were stopped; the last word counts
    for remark in remarks:
        match remark:
            case [first, count, used, *_] if first == word and count.isdecimal() and used.isdecimal():
                files, kilobytes, removed = files + int(count), kilobytes + int(used), True
            case ["stays", *folder]:
                stays.append(" ".join(folder))
            case ["target", pid, state, how] if pid.isdecimal() and state not in {"gone", "Z", "X"}:
                now = "stopped" if state in {"T", "t"} else "again" if how == "again" else "runs"
                ends[pid] = now if ends.get(pid) != "again" or now == "stopped" else "again"
    again, runs, stopped = (
        tuple(pid for pid, now in ends.items() if now == end) for end in ("again", "runs", "stopped")
    )
    return Tidied(files, kilobytes, removed, tuple(stays), again, runs, stopped)


def counted(files: int) -> str:
    """So many temporary files."""
    return "1 temporary file" if files == 1 else f"{files} temporary files"
