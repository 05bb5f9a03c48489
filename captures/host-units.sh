#!/usr/bin/env bash
# Units of systemd that failed, or that are started again and again.
set -u

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

section uptime
cat /proc/uptime

if ! [ -d /run/systemd/system ] || ! command -v systemctl >/dev/null; then
  section unseen
  echo 'systemd does not run here: there are no units to look at'
  exit 0
fi

section units
timeout 5 systemctl list-units --all --plain --no-legend --no-pager --state=failed,activating | head -n 50

section details
units=$(timeout 5 systemctl list-units --all --plain --no-legend --no-pager --state=failed,activating | awk '{print $1}' | head -n 50)
if [ -n "$units" ]; then
  mapfile -t names <<<"$units"
  timeout 5 systemctl show --no-pager -p Id,ActiveState,SubState,Result,ExecMainStatus,NRestarts,StateChangeTimestampMonotonic -- "${names[@]}"
fi
exit 0
