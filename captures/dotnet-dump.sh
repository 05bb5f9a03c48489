#!/usr/bin/env bash
# What a look at the heap of the .NET process $pid, or a dump of it, would take: shared by the measure of its cost and the look.

BUFFER_MB_MOST=1024 # as dotnet-gcdump wants it

# A session tells of each object by some 50 bytes, faster than anybody reads them; what finds no place is left out.
buffer_mb() {
  local most free limit used
  most=$(($(status_of RssAnon) / 1400))
  free=$(awk '/^MemAvailable:/ {print int($2 / 2048)}' /proc/meminfo)
  limit=$(cat "/proc/$pid/root/sys/fs/cgroup/memory.max" 2>/dev/null)
  used=$(cat "/proc/$pid/root/sys/fs/cgroup/memory.current" 2>/dev/null)
  case $limit$used in '' | *[!0-9]*) ;; *) [ $(((limit - used) / 2000000)) -ge "$free" ] || free=$(((limit - used) / 2000000)) ;; esac
  [ "$most" -le "$free" ] || most=$free
  [ "$most" -le "$BUFFER_MB_MOST" ] || most=$BUFFER_MB_MOST
  echo $((most < 16 ? 16 : most))
}

SLOWEST_BYTES_PER_S=200000000 # measured: 300 MB/s, of which the first 0.2 s are for stopping its threads

# Measured against createdump of .NET Core 3.1: `heap` has what gdb would write of anonymous and private memory,
# `full` all that can be read at all; a small one has stacks, and what lies around them.
dump_bytes() { # kind
  local range rights inode path total=3000000
  case $1 in
    mini | triage) total=$((total + $(status_of Threads) * 100000)) ;;
    heap | full)
      while read -r range rights _ _ inode path; do
        case $rights$path in ---* | *'[vvar'* | *'[vsyscall]') continue ;; esac
        [[ $range =~ ^[0-9a-f]{1,15}-[0-9a-f]{1,15}$ ]] || continue
        [[ $1 = full || $inode = 0 || $rights = ?w?p || $path = *'(deleted)' ]] || continue
        total=$((total + 16#${range#*-} - 16#${range%-*}))
      done 2>/dev/null <"/proc/$pid/maps"
      ;;
  esac
  echo "$total"
}

no_dump() { # kind → why it cannot be dumped into a file of ours; nothing where it can
  local createdump=$runtime/createdump size
  if [ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]; then
    echo "it runs in a container, where its file would lie: run dotnet-dump in there, or take a core with the recipe core"
  elif [ "$me" != "$uid" ] && [ "$me" != 0 ]; then
    echo "it belongs to $user, and $(id -un) may not ask its runtime: log in as $user or root"
  elif { [ -z "$endpoint" ] || [ -z "$python" ]; } && [ ! -x "$createdump" ]; then
    echo "nothing here can take it: there is no $([ "$endpoint" ] && echo "Python 3.6 or newer to ask its runtime with" || echo "diagnostic socket"), and no createdump beside its runtime"
  elif size=$(dump_bytes "$1") && [ "$size" -gt $((PARAM_GB * 1000000000)) ]; then
    echo "about $(bytes "$size") would be written, more than gb=$PARAM_GB allows"
  else
    no_room "$size"
  fi
}
