#!/usr/bin/env bash
# What one .NET process is at: stacks of all its threads, twice, and between them what its runtime counts and what it tells of.
set -u -o pipefail

MORE_S=45 # for the names of all methods, twice
TOOLS_S=30
TOOL_BYTES=1500000

look() {
  cat <<'PYTHON'
RUNDOWN = "Microsoft-Windows-DotNETRuntimeRundown"
POOL_ADJUSTED, EXCEPTION_THROWN = 55, 80
METHOD_NAMED, MODULE_NAMED = 144, 154
SAMPLED_S = (0.02, 0.3, 1.5)  # threads are looked at every millisecond, and stand still for it; longer where none was seen
TASKS = 4000
METHODS = 300_000
LOOK_BYTES = 800_000  # that are printed
FRAMES = 60
ADJUSTMENTS = 20
ADJUSTED = ["warm-up", "initializing", "random move", "climbing move", "change point", "stabilizing", "starvation", "timed out"]


def tasks_of(pid):
    """What the kernel knows of each thread: its number here and in its container, name, state, how long it ran and wanted to, switches."""
    for tid in sorted(os.listdir("/proc/{}/task".format(pid)), key=int)[:TASKS]:
        folder = "/proc/{}/task/{}/".format(pid, tid)
        try:
            facts = dict(line.split(":\t", 1) for line in read(folder + "status").split("\n") if ":\t" in line)
            ran, waited = read(folder + "schedstat").split()[:2]
        except (OSError, ValueError):
            continue  # it has ended, or is another user's
        switches = sum(int(facts.get(each + "voluntary_ctxt_switches", 0)) for each in ("", "non"))
        inner = facts.get("NSpid", tid).split()[-1]
        yield tid, inner, facts.get("Name", "?"), facts.get("State", "?")[:1], int(ran) // 10**6, int(waited) // 10**6, switches


def read(path):
    """A small file of the kernel's."""
    with open(path, errors="replace") as file:
        return file.read(100_000)


def look(path, pid, number):
    """Print the stacks of all threads, as `dotnet-stack report` does."""
    section("tasks", n=number)
    row("tid", "inner", "name", "state", "ran_ms", "waited_ms", "switches")
    for task in tasks_of(pid):
        row(*task)
    for seconds in SAMPLED_S:
        stacks, managed, samples, methods, modules = sampled(path, seconds)
        if stacks:
            break
    if not stacks:
        section("trouble", kind="threads")
        sys.stdout.write("Its runtime told of no thread within {:g} s: they reach no place where they can be looked at.\n".format(seconds))
        return
    frames = {thread: struct.unpack("<{}Q".format(len(stack) // 8), stack[: len(stack) // 8 * 8]) for thread, stack in stacks.items()}
    names = names_of({address for each in frames.values() for address in each}, methods, modules)
    section("stacks", n=number, threads=len(frames), samples=samples)
    groups = OrderedDict()  # threads of a pool do the same: their stack is printed once, below the names of all of them
    for thread, addresses in frames.items():
        groups.setdefault((managed[thread] > 0, addresses[:FRAMES]), []).append(thread)
    left = LOOK_BYTES
    for (is_managed, addresses), threads in sorted(groups.items(), key=lambda group: -len(group[1])):
        lines = ["Thread (0x{:X}):".format(thread) for thread in threads] + ["  [Native Frames]"] * (not is_managed)
        text = "\n".join(lines + ["  " + names.get(address, "?!?") for address in addresses]) + "\n"
        left -= len(text)
        if left < 0:
            sys.stdout.write("# and more threads, which find no room here\n")
            break
        sys.stdout.write(text)


def sampled(path, seconds):
    """The last stack of each thread, whether it was in managed code, how often all were looked at, and what names methods."""
    stacks, samples, managed, methods, modules = OrderedDict(), 0, Counter(), [], {}
    session = Session(path, seconds, [(PROFILER, 0, 4, "")], rundown=True)
    try:
        for event in events_of(session):
            if event.kind.provider == PROFILER:
                stacks[event.thread] = event.stack
                samples += 1
                managed[event.thread] += event.payload[:4] == b"\2\0\0\0"
            elif event.kind.provider == RUNDOWN and event.kind.number == METHOD_NAMED:
                if len(methods) < METHODS:
                    methods.append(event.payload)
            elif event.kind.provider == RUNDOWN and event.kind.number == MODULE_NAMED:
                module = Cursor(event.payload)
                number_of = module.get("QQII")[0]
                modules[number_of] = module.text().replace("\\", "/").rpartition("/")[2]
    finally:
        session.close()
    return stacks, managed, samples, methods, modules


def names_of(addresses, methods, modules):
    """The method at each address, as Module!Namespace.Type.Method(arguments)."""
    wanted, names = sorted(addresses), {}
    for payload in methods:
        try:
            cursor = Cursor(payload)
            _, module, start, size, _, _ = cursor.get("QQQIII")
            first = bisect.bisect_left(wanted, start)
            if first == len(wanted) or wanted[first] >= start + max(size, 1):
                continue
            space, name, signature = cursor.text(), cursor.text(), cursor.text()
        except struct.error:
            continue
        said = "{}!{}.{}({}".format(modules.get(module, "?").rsplit(".", 1)[0] or "?", space, name, signature.partition("(")[2])
        for address in wanted[first : bisect.bisect_left(wanted, start + max(size, 1))]:
            names[address] = plain(said)
    return names


# --- what it counts ---------------------------------------------------------------------------


def watch(path, seconds):
    """Print what the runtime counts every second, and what it threw, collected and thought of its pool meanwhile."""
    counters, thrown, adjusted, pauses = OrderedDict(), Counter(), [], []
    collected, begun, suspended = Counter(), {}, None
    session = Session(
        path,
        seconds,
        [("System.Runtime", 0xFFFFFFFFFFFFFFFF, 4, "EventCounterIntervalSec=1"), (RUNTIME, GC | EXCEPTIONS | THREADING, 4, "")],
        rundown=False,
    )
    began = time.monotonic()
    try:
        for event in events_of(session):
            cursor, number = Cursor(event.payload), event.kind.number
            if event.kind.provider == "System.Runtime" and event.kind.name == "EventCounters":
                values = values_of(event.kind.fields, cursor)
                value = values.get("Mean", values.get("Increment"))
                if value is not None:
                    counters.setdefault(values.get("Name", "?"), []).append("{:.6g}".format(value))
            elif event.kind.provider != RUNTIME:
                continue
            elif number == EXCEPTION_THROWN:
                thrown[cursor.text()[:NAME_CHARS]] += 1
            elif number == GC_START:
                count, depth, _, how = cursor.get("IIII")
                begun[count] = depth, how
            elif number == GC_END and event.payload:
                depth, how = begun.get(cursor.get("I"), (0, 0))
                collected[depth, "background" if how == 1 else "blocking"] += 1
            elif number == GC_SUSPENDING and event.payload[:4] in (b"\1\0\0\0", b"\6\0\0\0"):
                suspended = event.at
            elif number == GC_RESTARTED and suspended is not None:
                pauses.append(max(event.at - suspended, 0) / session.frequency)
                suspended = None
            elif number == POOL_ADJUSTED:
                _, threads, reason = cursor.get("dII")
                adjusted.append((ADJUSTED[reason] if reason < len(ADJUSTED) else reason, threads))
    except struct.error:
        pass  # what came is told
    finally:
        session.close()
    took = "{:.2f}".format(min(time.monotonic() - began, seconds))
    section("counters", seconds=took)
    row("name", "values")
    for name, values in counters.items():
        row(name, " ".join(values[-30:]))
    section("collections", seconds=took, paused_s="{:.4f}".format(sum(pauses)), longest_s="{:.4f}".format(max(pauses, default=0)))
    row("generation", "how", "count")
    for (depth, how), count in sorted(collected.items()):
        row(depth, how, count)
    section("exceptions", seconds=took)
    row("count", "type")
    for name, count in thrown.most_common(20):
        row(count, name)
    section("pool", seconds=took)
    row("reason", "threads")
    for adjustment in adjusted[-ADJUSTMENTS:]:
        row(*adjustment)


def main():
    path, pid, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    version = version_of(path) or sys.argv[4]
    section("runtime")
    row("version", version)
    look(path, pid, 1)
    sys.stdout.flush()
    watch(path, seconds)
    sys.stdout.flush()
    look(path, pid, 2)


run(main)
PYTHON
}

ask_tools() { # without Python: the runtime's own tools, where somebody has installed them
  local tool csv
  tool=$(find_tool dotnet-stack) && {
    section stacks n=1 tool=dotnet-stack
    its "$TOOLS_S" "$tool" report -p "$inner" 2>&1 | sed 's/^### /  &/' | head -c "$TOOL_BYTES"
  }
  tool=$(find_tool dotnet-counters) && {
    csv=$CAPTURE_SCRATCH/its/counters.csv
    mkdir -m 700 -- "$CAPTURE_SCRATCH/its"
    [ "$me" = "$uid" ] || { chmod 711 -- "$CAPTURE_SCRATCH" && chown "$uid" -- "$CAPTURE_SCRATCH/its"; }
    its "$TOOLS_S" "$tool" collect -p "$inner" --counters System.Runtime --refresh-interval 1 --format csv -o "$csv" \
      --duration "$(printf '00:00:%02d' "$PARAM_SECONDS")" >/dev/null 2>&1
    section counters-csv "seconds=$PARAM_SECONDS"
    its 5 head -c "$TOOL_BYTES" -- "$csv" 2>/dev/null | sed 's/^### /  &/'
  }
}

choose_dotnet
prepare
if [ "$unreachable" ]; then
  runtime_version
  trouble unreachable "$unreachable"
elif [ -z "$python" ]; then
  runtime_version
  found=$(ask_tools)
  printf '%s\n' "$found"
  [ "$found" ] || no_python ", and neither dotnet-stack nor dotnet-counters"
else
  {
    complaint=$({ commands && events && look; } |
      its $((PARAM_SECONDS + MORE_S)) "$python" - "$endpoint" "$pid" "$PARAM_SECONDS" "${runtime##*/}" 2>&1 1>&4)
    status=$?
  } 4>&1
  [ "$status" -eq 0 ] || unanswered "$status" "$(tail -n 1 <<<"$complaint" | cell 200)"
fi
section memory
grep -sE '^(VmRSS|VmSwap|VmHWM|RssAnon|Threads):' "/proc/$pid/status"
exit 0
