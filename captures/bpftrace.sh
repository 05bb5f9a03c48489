#!/usr/bin/env bash
# What the scripts that run bpftrace share. It comes after choose-process.sh, whose `section` and `cell` it uses.
#
#   bpftrace_lacks             why no program can run here, with what mends it; nothing where one can
#   bpftrace_maps S PROGRAM    counts for S seconds: the maps, as lines of JSON, the largest entries of each, its complaints to
#                              stderr. In PROGRAM, WHO; sets $pid to the process's id as we see it, 0 for one outside of our container.
#
# What needs a file lies in $CAPTURE_SCRATCH. Who is stopped gets an INT and is to catch it: bpftrace prints its maps then.

# Exported, because a part of a snapshot is a program of its own.
export MAP_ENTRIES=8192            # a map that is full takes no more; each has its memory from the start
export ENTRIES_SHOWN=400           # of each map
export PATH_BYTES=120              # a key must fit on the kernel's stack of 512 bytes
export ATTACH_S=20                 # attaching and detaching takes seconds where the kernel is busy
export FIRST_NAMESPACE=4026531836  # the kernel's own number for the one that holds all processes

# Tracepoints are told by tracefs. Where nobody has mounted it we do, in a name space that ends with the program.
in_tracefs() {
  if [ -d /sys/kernel/tracing/events ] || [ -d /sys/kernel/debug/tracing/events ]; then
    "$@"
  else
    unshare -m sh -c 'mount -t tracefs tracefs /sys/kernel/tracing && exec "$@"' sh "$@"
  fi
}

# shellcheck disable=SC2016  # the inner shell expands
tracepoints() { # patterns… → the tracepoints of this kernel that match, a line each
  in_tracefs sh -c 'for root in /sys/kernel/tracing /sys/kernel/debug/tracing; do
      cd "$root/events" 2>/dev/null && ls -d $* 2>/dev/null && break
    done' sh "$@" 2>/dev/null
}

bpftrace_lacks() {
  if ! command -v bpftrace >/dev/null; then
    echo "bpftrace is not installed: run apt-get install bpftrace, or dnf install bpftrace"
  elif [ "$(id -u)" -ne 0 ]; then
    echo "bpftrace works for root alone, and this is $(id -un): log in as root"
  elif grep -qsF '[confidentiality]' /sys/kernel/security/lockdown; then
    echo "the kernel is locked down: boot it without lockdown=confidentiality"
  fi
}

# The kernel counts processes by their ids outside of every container; in one, its own have others.
prelude() {
  local ours level
  ours=$(readlink /proc/self/ns/pid | tr -cd 0-9)
  if [ "${ours:-$FIRST_NAMESPACE}" = "$FIRST_NAMESPACE" ]; then
    echo '$pid = pid;'
    return
  fi
  level=$(timeout --foreground -k 2 10 bpftrace -e 'BEGIN { printf("level %d\n", ((struct task_struct *)curtask)->thread_pid->level); exit(); }' 2>/dev/null |
    sed -n 's/^level //p')
  if [ "$level" ]; then
    echo "\$kept = ((struct task_struct *)curtask)->group_leader->thread_pid; \$each = ((struct upid *)(\$kept + 1)) + $level;" \
      "\$pid = (uint64)0; if (\$kept->level >= $level) { if (\$each->ns->ns.inum == $ours) { \$pid = (uint64)\$each->nr; } }"
  fi
}

bpftrace_maps() {
  local seconds=$1 program=$2 who
  who=$(prelude)
  if [ -z "$who" ]; then
    echo "the kernel does not tell which of its processes are ours (it has no /sys/kernel/btf/vmlinux): run this outside of the container" >&2
    return 1
  fi
  program="BEGIN { @began = nsecs; } interval:s:$seconds { exit(); } END { @ended = nsecs; } ${program//WHO;/$who}"
  # Both names of each setting, of versions before and after 0.20.
  in_tracefs env BPFTRACE_MAP_KEYS_MAX="$MAP_ENTRIES" BPFTRACE_MAX_MAP_KEYS="$MAP_ENTRIES" \
    BPFTRACE_STRLEN="$PATH_BYTES" BPFTRACE_MAX_STRLEN="$PATH_BYTES" \
    timeout --foreground -s INT -k 3 $((seconds + ATTACH_S)) bpftrace -f json -o "$CAPTURE_SCRATCH/maps" -e "$program" </dev/null 2>"$CAPTURE_SCRATCH/words" 1>&2
  if ! grep -qs '"@ended"' "$CAPTURE_SCRATCH/maps"; then
    grep -v -e RLIMIT_MEMLOCK -e WARNING "$CAPTURE_SCRATCH/words" | grep -m 1 -i -e error -e fail | cell 300 >&2
    return 1
  fi
  # The entries are sorted, the largest last. In JSON a quote inside of a text has a backslash, so these three
  # characters are always between two entries.
  awk -F ', "' -v shown="$ENTRIES_SHOWN" '
    $1 !~ /^{"type": "(map|hist)"/ {next}
    NF <= shown + 2 || !match($2, /^data": {"@[a-z_]*": {"/) {print; next}
    {
      printf "%s, \"%s", $1, substr($2, 1, RLENGTH)
      for (i = NF - shown + 1; i < NF; i++) printf "%s, \"", $i
      print $NF
    }' "$CAPTURE_SCRATCH/maps"
}
