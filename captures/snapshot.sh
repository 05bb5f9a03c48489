#!/usr/bin/env bash
# Everything about one process at one moment, before somebody restarts it: what it does, what it holds, what bounds it.
# Each part is a function; a part that hangs does not stop the others.
set -u

choose '' ''
export pid user

ticks() { sed 's/.*) //' "/proc/$pid/stat" | awk '{print $12 + $13}'; }
switches() { awk '/ctxt_switches/ {sum += $2} END {print sum + 0}' "/proc/$pid/task/"[0-9]*/status; }
moved() { awk '$1 == "read_bytes:" || $1 == "write_bytes:" {printf "%s ", $2}' "/proc/$pid/io" 2>/dev/null; }

usage() { # what it uses now: the difference of two looks
  local began ended ticks_before switches_before moved_before
  read -r began _ </proc/uptime
  ticks_before=$(ticks) switches_before=$(switches) moved_before=$(moved)
  sleep 2
  read -r ended _ </proc/uptime
  section usage
  printf 'cpu_percent\tswitches\tread_bytes\twritten_bytes\tthreads\tvm_kb\n'
  awk -v OFS='\t' -v seconds="$((${ended/./} - ${began/./}))" -v hz="$(getconf CLK_TCK)" '{
    seconds /= 100
    printf "%.0f\t%.0f\t", ($2 - $1) / hz / seconds * 100, ($4 - $3) / seconds
    if (NF == 10) printf "%.0f\t%.0f\t", ($7 - $5) / seconds, ($8 - $6) / seconds; else printf "-\t-\t"
    print $(NF - 1), $NF
  }' <<<"$ticks_before $(ticks) $switches_before $(switches) $moved_before $(moved) $(awk '$1 == "Threads:" {threads = $2} $1 == "VmSize:" {size = $2} END {print threads + 0, size + 0}' "/proc/$pid/status")"
  section status
  cat "/proc/$pid/status"
  section tree
  ps -ww -o pid,ppid,user:32,stat,etimes,time,rss,args -p "$pid" --ppid "$pid" | cut -c 1-300
}

limit_of() { awk -v name="$1" 'index($0, name) == 1 {sub(name " *", ""); print $1}' "/proc/$pid/limits"; }

limits() { # what it has of what it may have; what is unlimited is left out
  section limits
  printf 'resource\tused\tlimit\n'
  printf 'open files\t%s\t%s\n' "$(find "/proc/$pid/fd" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" "$(limit_of 'Max open files')"
  [ "$user" = root ] || # who has no such limit
    printf 'threads of its user\t%s\t%s\n' "$(ps -L -U "$user" -o lwp= 2>/dev/null | wc -l)" "$(limit_of 'Max processes')"
  printf 'bytes of address space\t%s\t%s\n' "$(awk '$1 == "VmSize:" {printf "%.0f", $2 * 1024}' "/proc/$pid/status")" "$(limit_of 'Max address space')"
  printf 'bytes of locked memory\t%s\t%s\n' "$(awk '$1 == "VmLck:" {printf "%.0f", $2 * 1024}' "/proc/$pid/status")" "$(limit_of 'Max locked memory')"
  local file
  for file in $(group_files pids pids.max); do
    printf 'threads of its control group\t%s\t%s\n' "$(cat "${file%max}current")" "$(cat "$file")"
  done
  section rlimits
  cat "/proc/$pid/limits"
}

group_files() { # controller, file → that file of its control group and of all above, in either version
  local folder
  while IFS=: read -r _ controllers folder; do
    if [ -z "$controllers" ]; then
      folder=/sys/fs/cgroup$folder
    elif [[ ,$controllers, == *",$1,"* ]]; then
      folder=/sys/fs/cgroup/$controllers$folder
    else
      continue
    fi
    while [[ $folder == /sys/fs/cgroup/* ]]; do
      [ ! -r "$folder/$2" ] || printf '%s\n' "$folder/$2"
      folder=${folder%/*}
    done
  done 2>/dev/null <"/proc/$pid/cgroup"
}

memory() {
  local file limit used cache
  section limits
  printf 'limit_kb\tused_kb\tpid\tuser\trss_kb\tprocess\tgroup\n'
  for file in $(group_files memory memory.max) $(group_files memory memory.limit_in_bytes); do
    limit=$(cat "$file")
    [[ $limit =~ ^[0-9]{1,15}$ ]] || continue # no limit is a word, or a number beyond all memory
    used=$(cat "${file%/*}/memory.current" "${file%/*}/memory.usage_in_bytes" 2>/dev/null)
    cache=$(awk '/^(total_)?(in)?active_file / && (!/^(in)?active_file/ || !total) {if (/^total/) total = 1; sum += $2} END {printf "%.0f", sum}' "${file%/*}/memory.stat")
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$((limit / 1024))" "$(((used - cache) / 1024))" "$pid" "$user" \
      "$(awk '$1 == "VmRSS:" {print $2}' "/proc/$pid/status")" "$(cell 60 <"/proc/$pid/comm")" "$(printf %s "${file%/*}" | sed -E 's|^/sys/fs/cgroup(/memory)?||' | cell 200)"
  done
  section rollup
  timeout 8 cat "/proc/$pid/smaps_rollup" # walks all of its memory
  section oom
  printf 'score %s, adjusted by %s\n' "$(cat "/proc/$pid/oom_score")" "$(cat "/proc/$pid/oom_score_adj")"
}

threads() {
  section threads
  printf 'threads\tstate\twaits_in\n'
  ps -L -o stat=,wchan:40= -p "$pid" | awk '{count[substr($1, 1, 1) "\t" $2]++} END {for (each in count) printf "%d\t%s\n", count[each], each}' | sort -rn | head -n 100
  section each
  ps -L -o lwp,stat,wchan:40,time,comm -p "$pid" | head -n 2000
}

files() {
  section processes
  printf 'pid\tuser\topen\tlimit\tsockets\tpipes\tanonymous\tfiles\tfolder\tprocess\n'
  find "/proc/$pid/fd" -mindepth 1 -maxdepth 1 -printf '%l\n' | awk -v OFS='\t' -v pid="$pid" -v user="$user" \
    -v limit="$(limit_of 'Max open files')" -v process="$(cell 60 <"/proc/$pid/comm")" '
    /^socket:/ {sockets++; next}
    /^pipe:/ {pipes++; next}
    /^anon_inode:/ {anonymous++; next}
    {
      files++
      sub(/\/[^\/]*$/, "")
      gsub(/[\001-\037\177\\]/, "?")
      if (++folders[$0] > most) {most = folders[$0]; folder = $0}
    }
    END {print pid, user, NR, limit + 0, sockets + 0, pipes + 0, anonymous + 0, files + 0, folder, process}'
  section open
  find "/proc/$pid/fd" -mindepth 1 -maxdepth 1 -printf '%f\t%l\0' | tr '\n\0' '?\n' | sort -n | tr -c '[:print:]\t\n' '?' | head -n 3000
}

disks() { # of what it has open; a file system that does not answer makes this part hang, and no other
  section space
  used_mounts | xargs -r -d '\n' timeout 4 df -PT | awk '!seen[$0]++'
  section inodes
  used_mounts | xargs -r -d '\n' timeout 4 df -PTi | awk '!seen[$0]++'
  section mounts
  tr -c '[:print:]\n' '?' <"/proc/$pid/mountinfo" | head -n 500
}

used_mounts() {
  { readlink "/proc/$pid/cwd"; find "/proc/$pid/fd" -mindepth 1 -maxdepth 1 -lname '/*' -printf '%l\n'; } 2>/dev/null |
    grep -v -e '^/dev/' -e '^/proc/' -e '^/memfd:' -e ' (deleted)$' | sed 's|/[^/]*$|/|' | sort -u | head -n 50
}

sockets() {
  section listening
  timeout 5 ss -Htlnp | grep -F "pid=$pid,"
  section groups
  printf 'sockets\tstate\tlocal_port\tpeer\tpeer_port\tpid\tprocess\n'
  # Ports that were drawn by lot (32768 and up) are one line with a count.
  timeout 8 ss -Htanp | grep -F "pid=$pid," | awk -v OFS='\t' -v pid="$pid" -v process="$(cell 60 <"/proc/$pid/comm")" '
    function port(address) {sub(/.*:/, "", address); return address + 0 > 0 && address + 0 < 32768 ? address : "*"}
    function host(address) {sub(/:[^:]*$/, "", address); return address}
    $1 != "LISTEN" {groups[$1 OFS port($4) OFS host($5) OFS port($5)]++}
    END {for (group in groups) print groups[group], group, pid, process}' | sort -rn | head -n 300
  section sockets
  timeout 8 ss -anp | grep -F "pid=$pid," | cut -c 1-300 | head -n 1000
}

calls() { # counted in the kernel for two seconds, where that is possible
  local lacks maps
  lacks=$(bpftrace_lacks)
  if [ -z "$lacks" ]; then
    trap : INT # bpftrace prints what it has when it gets one
    seen="\$pid == $pid"
    count_in_kernel syscalls opens tcp
    if [ "$program" ]; then
      maps=$(bpftrace_maps 2 "$program" 2>"$CAPTURE_SCRATCH/why") || lacks="bpftrace cannot count here: $(cell 300 <"$CAPTURE_SCRATCH/why")"
    else
      lacks=$unseen
    fi
  fi
  if [ "$lacks" ]; then
    section absent
    printf '%s\n' "$lacks"
  else
    section looked what=snapshot "pid=$pid" "machine=$(uname -m)" by=bpftrace
    printf '%s\n' "$maps"
    names_section -p "$pid"
  fi
}

part usage 10 usage
part limits 10 limits
part memory 15 memory
part threads 10 threads
part files 10 files
part disks 10 disks
part sockets 20 sockets
part calls 30 calls
parts_end

[ -d "/proc/$pid" ] || { section gone; echo "The process ended while it was looked at"; }
exit 0
