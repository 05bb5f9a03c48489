#!/usr/bin/env bash
# What bpftrace counts for captures/trace.sh and others; it comes after bpftrace.sh. Each function `count_…` prints one program: system
# calls, opens that fail, disk requests, new processes, TCP connections, of the processes for which $seen is true.
#
#   count_in_kernel PART…      adds those that this kernel can tell to $program, and why not to $unseen
#   names_section [-p PID]     who the processes are that still run

seen='$pid > 0'
program='' unseen='' known=''

names_section() {
  section names
  printf 'pid\tuser\tname\n'
  [ $# -gt 0 ] || set -- -e
  ps "$@" -o pid=,user:32=,comm= | awk '{pid = $1; user = $2; sub(/^ *[^ ]+ +[^ ]+ +/, ""); gsub(/[\001-\037\177\\]/, "?"); printf "%s\t%s\t%s\n", pid, user, $0}' | head -n 4000
}

count_syscalls() {
  cat <<PROGRAM
tracepoint:raw_syscalls:sys_enter { WHO; if ($seen) { @calls[\$pid, comm] = count(); @call[\$pid, args->id] = count(); } }
PROGRAM
}

count_opens() {
  local entries='' exits='' name
  for name in open openat openat2; do # some machines have not all of them
    [[ $known == *$'\n'"syscalls/sys_exit_$name"$'\n'* ]] || continue
    entries="$entries${entries:+, }tracepoint:syscalls:sys_enter_$name"
    exits="$exits${exits:+, }tracepoint:syscalls:sys_exit_$name"
  done
  cat <<PROGRAM
$entries { @in_file[tid] = args->filename; }
$exits /@in_file[tid]/ {
  WHO;
  if ($seen) {
    @opens[\$pid, comm] = count();
    if (args->ret < 0) { @failed[\$pid, -args->ret, comm] = count(); @failed_files[\$pid, -args->ret, str(@in_file[tid])] = count(); }
  }
  delete(@in_file[tid]);
}
PROGRAM
}

count_disk() {
  cat <<PROGRAM
tracepoint:block:block_rq_issue /args->nr_sector > 0/ { @in_disk[args->dev, args->sector] = nsecs; }
tracepoint:block:block_rq_complete {
  \$start = @in_disk[args->dev, args->sector];
  if (\$start > 0) {
    \$us = (nsecs - \$start) / 1000;
    @disk_us[args->dev] = hist(\$us); @disk_all[args->dev] = sum(\$us); @disk_most[args->dev] = max(\$us); @disk_count[args->dev] = count();
    delete(@in_disk[args->dev, args->sector]);
  }
}
tracepoint:block:block_bio_queue /args->nr_sector > 0/ { WHO; if ($seen) { @disk_by[args->dev, \$pid, comm] = sum(args->nr_sector * 512); } }
PROGRAM
}

count_processes() { # a thread is no process: 0x10000 is CLONE_THREAD
  cat <<PROGRAM
tracepoint:task:task_newtask /!(args->clone_flags & 0x10000)/ {
  WHO;
  if ($seen) { @forks[\$pid, comm] = count(); @in_parent[args->pid] = \$pid; }
}
tracepoint:sched:sched_process_exec {
  \$by = @in_parent[pid];
  if (\$by > 0) { @execs[\$by, str(args->filename)] = count(); }
}
tracepoint:sched:sched_process_exit /pid == tid/ { delete(@in_parent[pid]); }
PROGRAM
}

count_tcp() { # states: 1 ESTABLISHED, 2 SYN_SENT, 7 CLOSE
  cat <<PROGRAM
tracepoint:sock:inet_sock_set_state /args->protocol == 6/ {
  if (args->newstate == 2) { WHO; if ($seen) { @in_who[args->skaddr] = \$pid; @in_name[args->skaddr] = comm; } }
  if (args->oldstate == 2) {
    \$by = @in_who[args->skaddr];
    if (\$by > 0) {
      if (args->newstate == 1) { @connected[\$by, args->dport, ntop(args->daddr_v6), @in_name[args->skaddr]] = count(); }
      if (args->newstate == 7) { @refused[\$by, args->dport, ntop(args->daddr_v6), @in_name[args->skaddr]] = count(); }
    }
    delete(@in_who[args->skaddr]);
    delete(@in_name[args->skaddr]);
  }
}
PROGRAM
}

needed_by() { # part → the tracepoints that it needs
  case $1 in
    syscalls) echo raw_syscalls/sys_enter ;;
    opens) echo syscalls/sys_enter_openat syscalls/sys_exit_openat ;;
    disk) echo block/block_rq_issue block/block_rq_complete block/block_bio_queue ;;
    processes) echo task/task_newtask sched/sched_process_exec sched/sched_process_exit ;;
    tcp) echo sock/inet_sock_set_state ;;
  esac
}

count_in_kernel() {
  local part needed
  known=$'\n'$(tracepoints 'raw_syscalls/*' 'syscalls/sys_*_open*' 'block/*' 'task/*' 'sched/*' 'sock/*')$'\n'
  if [[ $known != *[a-z]* ]]; then
    unseen="no tracepoint of the kernel can be seen: run mount -t tracefs tracefs /sys/kernel/tracing"$'\n'
    return
  fi
  for part in "$@"; do
    for needed in $(needed_by "$part"); do
      [[ $known == *$'\n'"$needed"$'\n'* ]] && continue
      unseen="$unseen$part: this kernel was built without the tracepoint $needed"$'\n'
      continue 2
    done
    program="$program$("count_$part")"$'\n'
  done
}
