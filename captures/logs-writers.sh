#!/usr/bin/env bash
# Which logs processes have open. It comes after choose-process.sh and logs-pieces.sh.
#
#   add_unit UNIT   adds a unit's journal to units, or refuses it, saying why
#   discover        adds the logs of the process or program that pid= or app= name, or prints which there are to choose from

journal() { timeout -k 1 "$PATIENCE_S" journalctl --unit="$unit" --no-pager --quiet --output=short-iso "$@" 2>/dev/null; }

add_unit() {
  local unit=$1 complaint
  if ! command -v journalctl >/dev/null; then
    refuse "There is no journal here (journalctl is not installed), so that unit=$unit says nothing; name a file with path="
    return
  fi
  if [ -z "$(journal --lines=1)" ]; then
    complaint=$(timeout 5 journalctl --unit="$unit" --lines=1 --no-pager 2>&1 >/dev/null | grep -m 1 -o 'Users in groups.*see all messages\|No journal files were[^.]*\|insufficient permissions' | head -n 1)
    case $complaint in
      *Users* | *insufficient*) refuse "The journal of $unit may not be read by $(id -un): log in as root, or add $(id -un) to the group systemd-journal" ;;
      *) refuse "The journal holds nothing of the unit $unit${complaint:+: $complaint}" ;;
    esac
    return
  fi
  units+=("$unit")
}

# Of every process but those that ask: pid, key (its unit, else its script or name), unit, whether it matches (exact, part or -), command.
programs() {
  local each=$$ ours=' ' app=${PARAM_APP:-} number=${PARAM_PID:-0} rss program command name unit script match
  while [ "${each:-0}" -gt 1 ]; do # what asks has $app on its command line
    ours="$ours$each "
    each=$(sed -n 's/^PPid:\t//p' "/proc/$each/status" 2>/dev/null)
  done
  while IFS=$'\t' read -r each _ _ _ _ rss program command; do
    if [ "$rss" -eq 0 ] || [[ $ours == *" $each "* ]]; then continue; fi # threads of the kernel have no memory
    { read -r name <"/proc/$each/comm"; } 2>/dev/null || continue
    name_of "$each"
    plain name
    case $script in *' '* | '') script=$name ;; esac # a title, which each of its processes has its own of
    match=-
    if [ "$number" -gt 0 ]; then
      [ "$each" != "$number" ] || match=exact
    elif [[ $app && " $unit $unit.service $script ${script%.*} $name $program " == *" $app "* ]]; then
      match=exact
    elif [[ $app && $command == *"$app"* ]]; then
      match=part
    fi
    printf '%s\t%s\t%s\t%s\t%s\n' "$each" "${unit:-$script}" "$unit" "$match" "$command"
  done < <(processes)
}

# Of pids on standard input: pid, descriptor and path of what each writes to that is, or may be, a log; or "journal" as its path.
open_logs() {
  sed 's|.*|/proc/&/fd|' | tr '\n' '\0' | xargs -0 -r sh -c 'timeout 6 find "$@" -mindepth 1 -maxdepth 1 -type l -printf "%h\t%f\t%l\n" 2>/dev/null' sh |
    awk -F '\t' -v OFS='\t' '
      NF != 3 || $1 !~ /^\/proc\/[0-9]+\/fd$/ {next}
      {split($1, path, "/")}
      $3 ~ /^socket:/ && ($2 == 1 || $2 == 2) && !journal[path[3]]++ {print path[3], $2, "journal"}
      $3 ~ /^\// && $3 !~ /^\/(dev|proc|sys|memfd:|SYSV|etc|usr)/ && $3 !~ /[\001-\037\177\\]/ && !seen[path[3] $3]++ {print path[3], $2, $3}' |
    while IFS=$'\t' read -r pid fd path; do
      if [ "$path" != journal ]; then
        flags=''
        while read -r key value; do [ "$key" != flags: ] || flags=$value; done 2>/dev/null <"/proc/$pid/fdinfo/$fd"
        [[ $flags =~ ^[0-7]+$ ]] || continue
        # for writing; and only at the end, where its name does not make it a log
        [ $((8#$flags & 3)) -gt 0 ] || continue
        is_log "${path% (deleted)}" || [ $((8#$flags & 8#2003)) -eq $((8#2001)) ] || continue
        [ -f "/proc/$pid/fd/$fd" ] || continue
      fi
      printf '%s\t%s\t%s\n' "$pid" "$fd" "$path"
    done
}

sizes() {
  grep -v $'\tjournal$' | while IFS=$'\t' read -r pid fd path; do
    printf '%s\t%s\t%s\n' "$pid" "$(stat -Lc '%s'$'\t''%Y' "/proc/$pid/fd/$fd" 2>/dev/null)" "$path"
  done
}

# What could be captured: of each unit or program its log that grows fastest, the busiest first. Looks twice, a second apart.
candidates() { # the processes, the number of those that match
  local found earlier later
  found=$(cut -f 1 <<<"$1" | open_logs | head -n 150)
  earlier=$(sizes <<<"$found")
  sleep 1
  later=$(sizes <<<"$found")
  section candidates "matches=$2"
  printf 'app\tpid\tuser\tlogs\tpath\tbytes\trate_bytes\tidle_s\tcommand\n'
  {
    printf '%s\n' "$1" | sed 's/^/process\t/'
    printf '%s\n' "$earlier" | sed 's/^/earlier\t/'
    printf '%s\n' "$later" | sed 's/^/later\t/'
    ! command -v journalctl >/dev/null || printf '%s\n' "$found" | grep $'\tjournal$' | sed 's/^/journal\t/'
  } | awk -F '\t' -v now="$now" '
    $1 == "process" {key[$2] = $3; unit[$2] = $4; command[$2] = $6}
    $1 == "earlier" && NF == 5 {size[$2, $5] = $3}
    $1 == "later" && NF == 5 && ($2 in key) {
      k = key[$2]
      grown = ($2, $5) in size && $3 > size[$2, $5] ? $3 - size[$2, $5] : 0
      logs[k]++
      if (!(k in pid) || grown > rate[k] || (grown == rate[k] && $4 > written[k])) {pid[k] = $2; rate[k] = grown; written[k] = $4; path[k] = $5; bytes[k] = $3}
    }
    $1 == "journal" && unit[$2] != "" && !((k = key[$2]) in pid) {pid[k] = $2; path[k] = "journal"; logs[k] = 1}
    END {
      for (k in pid) {
        idle = written[k] && written[k] < now ? now - written[k] : 0
        printf "%d\t%d\t%s\t%d\t%d\t%s\t%.0f\t%d\t%d\t%s\n", rate[k], written[k], k, pid[k], logs[k], path[k], bytes[k], rate[k], idle, command[pid[k]]
      }
    }' | sort -k1,1rn -k2,2rn | head -n 20 | cut -f 3- | while IFS=$'\t' read -r app pid rest; do
    printf '%s\t%s\t%s\t%s\n' "$app" "$pid" "$(stat -c %U "/proc/$pid" 2>/dev/null)" "$rest"
  done
}

discover() {
  local all found keys pid fd path name real unit each hidden journals=' '
  all=$(programs)
  if [ "${PARAM_PID:-0}" -eq 0 ] && [ -z "${PARAM_APP:-}" ]; then
    candidates "$all" 0
    return
  fi
  found=$(awk -F '\t' '$4 == "exact"' <<<"$all")
  [ "$found" ] || found=$(awk -F '\t' '$4 == "part"' <<<"$all")
  if [ -z "$found" ]; then
    if [ "${PARAM_PID:-0}" -gt 0 ]; then refuse "No process has pid $PARAM_PID here any more"
    else refuse "No process here matches app=$PARAM_APP"; fi
    candidates "$all" 0
    return
  fi
  keys=$(cut -f 2 <<<"$found" | sort -u | wc -l)
  if [ "$keys" -gt 1 ]; then
    candidates "$found" "$keys"
    return
  fi
  section process
  printf 'pid\tapp\tcommand\n'
  cut -f 1,2,5 <<<"$found" | head -n 20
  name=$(head -n 1 <<<"$found" | cut -f 2)
  while IFS=$'\t' read -r pid fd path; do
    if [ "$path" = journal ]; then
      unit=$(sed -n 's|.*/\([^/]*\.service\).*|\1|p' "/proc/$pid/cgroup" 2>/dev/null | tail -n 1)
      if [ "$unit" ] && [[ $journals != *" $unit "* ]] && command -v journalctl >/dev/null; then
        journals+="$unit "
        [ -z "$(journal --lines=1)" ] || units+=("$unit")
      fi
      continue
    fi
    real=${path% (deleted)}
    # By its name where that still means the same file, there or here, so that its rotated files are found beside it.
    for each in "/proc/$pid/root$real" "$real" "/proc/$pid/fd/$fd"; do
      [ "$(stat -Lc %d:%i -- "$each" 2>/dev/null)" = "$(stat -Lc %d:%i "/proc/$pid/fd/$fd" 2>/dev/null)" ] || continue
      add_log "$each" "$real" appended
      break
    done
  done < <(cut -f 1 <<<"$found" | open_logs)
  if [ "$logs" -eq 0 ] && [ ${#units[@]} -eq 0 ]; then
    hidden=$(cut -f 1 <<<"$found" | while read -r pid; do [ -r "/proc/$pid/fd" ] || echo "$pid"; done | wc -l)
    if [ "$hidden" -gt 0 ]; then refuse "What $name has open may not be seen by $(id -un): log in as root or as its user, or name the log with path="
    else refuse "$name has no log open: it may write to the journal (unit=), or elsewhere (path=)"; fi
  fi
}
