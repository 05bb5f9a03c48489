#!/usr/bin/env bash
# What fills the heap of one .NET process, by type, and a dump of it where one is asked for.
set -u -o pipefail

HEAP_S=60 # for the runtime to tell of every object
DUMP_S=240
TOOL_BYTES=500000

heap() {
  cat <<'PYTHON'
HEAP = 0x1980001  # keywords of the runtime: collect, then tell of every object, and of the names of types
TYPES_TOLD, NODES_TOLD = 15, 18
TYPES = 200  # that are printed


def heap(path, seconds, buffer_mb):
    """Print how many objects of which type there are, after a collection of all garbage; everything stands still for it."""
    flush_types(path)
    names, counts, sizes, told = {}, Counter(), Counter(), []
    suspended, paused, ended = None, 0.0, False
    session = Session(path, seconds, [(RUNTIME, HEAP, 5, "")], rundown=False, buffer_mb=buffer_mb)
    try:
        for event in events_of(session):
            if event.kind.provider != RUNTIME:
                continue
            cursor, number = Cursor(event.payload), event.kind.number
            if number == GC_SUSPENDING:
                suspended = event.at
            elif number == GC_RESTARTED and suspended is not None:
                paused = max(paused, (event.at - suspended) / session.frequency)
                if told:  # what stood still to tell of its objects goes on
                    ended = True
                    session.finish()
            elif number == NODES_TOLD and not ended:
                index, count = cursor.get("II")
                if index == 0 and told:  # the next collection, which tells of all of them again
                    ended = True
                    session.finish()
                    continue
                told.append(index)
                count = min(count, (len(event.payload) - 10) // 32)
                for _, size, kind, _ in struct.iter_unpack("<QQQQ", event.payload[10 : 10 + 32 * count]):
                    counts[kind] += 1
                    sizes[kind] += size
            elif number == TYPES_TOLD:
                names.update(types_of(cursor))
    except struct.error:
        pass  # what came is told
    finally:
        session.close()
    if not sizes:
        raise SilentError("no object was told of within {:g} s".format(seconds))
    total = Counter()
    instances = Counter()
    for kind, size in sizes.items():
        name = names.get(kind, "?")
        total[name] += size
        instances[name] += counts[kind]
    whole = ended and max(told) + 1 == len(told)  # what does not fit into its buffer is left out
    section("heap", paused_s="{:.3f}".format(paused), whole="yes" if whole else "no")
    row("bytes", "instances", "class")
    for name, size in total.most_common(TYPES):
        row(size, instances[name], name)
    row(sum(total.values()), sum(instances.values()), "Total")


def flush_types(path):
    """The runtime tells the name of a type once, and anew after a session that wants no types."""
    Session(path, 0, [(RUNTIME, GC, 4, "")], rundown=False).close()


def types_of(cursor):
    """Names by the number of a type."""
    for _ in range(cursor.get("IH")[0]):
        number = cursor.get("QQIIB")[0]
        name = cursor.text()
        parameters = cursor.get("I")
        cursor.at += 8 * parameters
        yield number, name


def dump(path, seconds, kind, file):
    """Have the runtime write a core; it stands still for it."""
    number = {"mini": 1, "heap": 2, "triage": 3, "full": 4}[kind]
    ask(path, 1, 1, text_of(file) + struct.pack("<II", number, 0), seconds)


def main():
    path, what, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if what == "heap":
        heap(path, seconds, int(sys.argv[4]))
    else:
        dump(path, seconds, *sys.argv[4:6])


run(main)
PYTHON
}

client() { # seconds, what, argument …: sets status and complaint
  {
    complaint=$({ commands && events && heap; } | its $(($1 + 30)) "$python" - "$endpoint" "$2" "$1" "${@:3}" 2>&1 1>&4)
    status=$?
  } 4>&1
  complaint=$(tail -n 1 <<<"$complaint" | cell 200)
}

histogram() {
  local tool
  if [ "$endpoint" ] && [ "$python" ]; then
    client "$HEAP_S" heap "$(buffer_mb)"
    [ "$status" -eq 0 ] || unanswered "$status" "$complaint"
  elif [ "$endpoint" ] && tool=$(find_tool dotnet-gcdump); then
    section heap-report tool=dotnet-gcdump
    its "$HEAP_S" "$tool" report -p "$inner" 2>&1 | sed 's/^### /  &/' | head -c "$TOOL_BYTES"
  elif [ "$endpoint" ]; then
    no_python ", and no dotnet-gcdump"
  else
    trouble unreachable "$unreachable"
  fi
}

by_createdump() { # its own program, which attaches to it; as its user, whose program it is
  local letter
  case $PARAM_DUMP in mini) letter=n ;; heap) letter=h ;; triage) letter=t ;; full) letter=u ;; esac
  [ ! -x "$runtime/createdump" ] || complaint=$(its "$DUMP_S" "$runtime/createdump" -f "$folder/dump.core" "-$letter" "$pid" 2>&1 | tail -n 1 | cell 200)
}

take_dump() {
  local because began ms how=socket
  because=$(no_dump "$PARAM_DUMP")
  if [ "$because" ]; then
    section undumped
    echo "No dump: $because"
    return
  fi
  its_folder
  began=${EPOCHREALTIME/./}
  status=4 complaint=''
  if [ "$endpoint" ] && [ "$python" ]; then client "$DUMP_S" dump "$PARAM_DUMP" "$folder/dump.core"; fi
  if [ "$status" -eq 4 ]; then # refused, or nobody could be asked; one that does not answer would not be read by another either
    how=createdump
    by_createdump
  fi
  ms=$(((${EPOCHREALTIME/./} - began) / 1000))
  if take dump.core $'\x7fELF' && [ "$(od -An -tu2 -j 16 -N 2 -- "$CAPTURE_SCRATCH/dump.core" | tr -d ' ')" = 4 ]; then # ET_CORE
    section dumped "bytes=$(stat -c %s -- "$CAPTURE_SCRATCH/dump.core")" "seconds=$((ms / 1000)).$(printf %03d $((ms % 1000)))" "of=$PARAM_DUMP" "by=$how"
  else
    rm -f -- "$CAPTURE_SCRATCH/dump.core" "$folder/dump.core"
    section undumped
    echo "No dump: ${complaint:-its runtime has written none that is whole, as on a full disk}"
  fi
}

choose_dotnet
prepare
runtime_version
[ "$PARAM_TYPES" = no ] || histogram
[ "$PARAM_DUMP" = no ] || take_dump
exit 0
