#!/usr/bin/env bash
# A file that the process $pid writes itself, into a folder of ours that its owner ($uid, $me is ours) may write into.

bytes() { # number → words
  awk -v n="$1" 'BEGIN {
    split("kB MB GB TB", unit, " ")
    for (u = 0; n >= 1000 && u < 4; u++) n /= 1000
    if (u) printf "%.1f %s\n", n, unit[u]; else printf "%d bytes\n", n
  }'
}

room() { # sets place, free and total of the scratch folder's file system
  place=${CAPTURE_SCRATCH%/*}
  # shellcheck disable=SC2046  # words are wanted
  set -- $(stat -f -c '%a %S %b' -- "$CAPTURE_SCRATCH")
  free=$(($1 * $2)) total=$(($3 * $2))
}

no_room() { # bytes → why they find no room; nothing where they do
  room
  if [ $(($1 * 12 / 10)) -gt "$free" ] || [ $((free - $1)) -lt $((total / 20)) ]; then
    echo "about $(bytes "$1") would be written, and $place has $(bytes "$free") of $(bytes "$total") left" \
      "(1.2 times as much is needed, and 5 % stay free): make /var/lib/capturebot/scratch on a larger disk"
  fi
}

take() { # name, how it begins: its file becomes ours, unless it is none; where we look at it, the process's owner cannot change it
  mv -- "$folder/$1" "$CAPTURE_SCRATCH/$1" 2>/dev/null || return
  [ -f "$CAPTURE_SCRATCH/$1" ] && [ ! -L "$CAPTURE_SCRATCH/$1" ] && [ "$(head -c ${#2} -- "$CAPTURE_SCRATCH/$1")" = "$2" ] && return
  rm -f -- "$CAPTURE_SCRATCH/$1"
  return 1
}

its_folder() { # sets folder, in which the process may write
  folder=$CAPTURE_SCRATCH/its
  mkdir -m 700 -- "$folder"
  if [ "$me" != "$uid" ]; then
    chmod 711 -- "$CAPTURE_SCRATCH"
    chown "$uid" -- "$folder"
  fi
}
