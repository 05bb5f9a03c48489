#!/usr/bin/env bash
# Open files by process against its limit, and space that deleted but open files hold.
set -u

word() { tr -d '\n' 2>/dev/null <"$1" | tr -c '[:print:]' '?'; } # one that cannot break a table

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

section system
printf 'allocated\tunused\tmost\n'
cat /proc/sys/fs/file-nr

# "pid open sockets pipes anonymous files folder": the folder is the one that most of its files lie in.
counts=$(printf '%s\0' /proc/[0-9]*/fd |
  xargs -0 sh -c 'timeout 6 find "$@" -mindepth 1 -maxdepth 1 -printf "%h\t%l\n" 2>/dev/null' sh |
  awk -F '\t' '
    $1 !~ /^\/proc\/[0-9]+\/fd$/ {next}
    {
      split($1, path, "/")
      pid = path[3]
      open[pid]++
      if ($2 ~ /^socket:/) sockets[pid]++
      else if ($2 ~ /^pipe:/) pipes[pid]++
      else if ($2 ~ /^anon_inode:/) anonymous[pid]++
      else {
        files[pid]++
        sub(/\/[^\/]*$/, "", $2)
        gsub(/[\001-\037\177\\]/, "?", $2)
        if (++folders[pid, $2] > most[pid] + 0) {most[pid] = folders[pid, $2]; folder[pid] = $2}
      }
    }
    END {for (pid in open) printf "%d\t%d\t%d\t%d\t%d\t%d\t%s\n", pid, open[pid], sockets[pid], pipes[pid], anonymous[pid], files[pid], folder[pid]}' |
  sort -t "$(printf '\t')" -k2,2rn | head -n 40)

section processes
printf 'pid\tuser\topen\tlimit\tsockets\tpipes\tanonymous\tfiles\tfolder\tprocess\n'
[ -z "$counts" ] || printf '%s\n' "$counts" | while IFS="$(printf '\t')" read -r pid open sockets pipes anonymous files folder; do
  limit=$(awk '/^Max open files/ {print $4}' "/proc/$pid/limits" 2>/dev/null)
  user=$(stat -c %U "/proc/$pid" 2>/dev/null) || continue
  process=$(word "/proc/$pid/comm")
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$pid" "$user" "$open" "${limit:-0}" "$sockets" "$pipes" "$anonymous" "$files" "$folder" "$process"
done

section deleted
printf 'bytes\tpid\tuser\tprocess\tfile\tmount\tdisk_bytes\tdisk_free\n'
# What a file takes on its disk counts, and not its length: a sparse one may take nothing.
printf '%s\0' /proc/[0-9]*/fd |
  xargs -0 sh -c 'timeout 4 find -L "$@" -mindepth 1 -maxdepth 1 -type f -links 0 -size +10240k -printf "%b\t%D:%i\t%p\n" 2>/dev/null' sh |
  sort -t "$(printf '\t')" -k2,2 -u | sort -rn | head -n 20 | while IFS="$(printf '\t')" read -r blocks _ path; do
  file=$(readlink -n "$path" | tr -c '[:print:]' '?')
  case $file in /memfd:* | /SYSV* | /dev/* | '') continue ;; esac
  pid=${path#/proc/}
  pid=${pid%%/*}
  user=$(stat -c %U "/proc/$pid" 2>/dev/null) || continue
  disk=$(timeout 2 stat -fL -c '%b %a %S' "$path" 2>/dev/null) || continue
  read -r all free size <<<"$disk"
  folder=${file% (deleted)}
  folder=${folder%/*}/
  # Empty where the path means something else here than in there, as it does for a process in a container.
  mount=
  [ "$(stat -Lc %d "$path" 2>/dev/null)" != "$(timeout 2 stat -c %d "$folder" 2>/dev/null)" ] ||
    mount=$(timeout 2 stat -c %m "$folder" 2>/dev/null | tr -c '[:print:]\n' '?')
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$((blocks * 512))" "$pid" "$user" "$(word "/proc/$pid/comm")" "$file" "$mount" "$((all * size))" "$((free * size))"
done

section unseen
hidden=0
for folder in /proc/[0-9]*/fd; do [ -r "$folder" ] || hidden=$((hidden + 1)); done
[ "$hidden" -eq 0 ] || echo "not shown without root: $hidden processes of other users"
exit 0
