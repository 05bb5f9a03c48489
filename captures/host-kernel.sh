#!/usr/bin/env bash
# Warnings and errors of the kernel, with the machine's age so that "when" can be told: processes killed
# for lack of memory, I/O errors, hung tasks, full tables.
set -u

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

section uptime
cat /proc/uptime

section messages
levels=emerg,alert,crit,err,warn
if messages=$(dmesg --level="$levels" 2>&1); then
  printf '%s\n' "$messages" | tail -n 500
elif messages=$(journalctl -k -b -p warning -n 500 -o short-monotonic --no-pager --quiet 2>&1) && [ -n "$messages" ]; then
  printf '%s\n' "$messages"
else
  section unseen
  echo "kernel messages cannot be read by $(id -un): that needs root, the group adm or systemd-journal, or kernel.dmesg_restrict=0"
fi
exit 0
