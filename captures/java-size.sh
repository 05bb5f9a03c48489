#!/usr/bin/env bash
# How large the heap of the JVM $pid is, and whether a file of its own would find room: shared by the heap's scripts.

DUMPED_PERCENT=130 # of the heap in use: a dump says more of each object than the heap holds

bytes() { # number → words
  awk -v n="$1" 'BEGIN {
    split("kB MB GB TB", unit, " ")
    for (u = 0; n >= 1000 && u < 4; u++) n /= 1000
    if (u) printf "%.1f %s\n", n, unit[u]; else printf "%d bytes\n", n
  }'
}

heap_of() { # what GC.heap_info says → bytes in use, all generations: "used 54081K"; a ZGC says "used 512M"
  grep -E '^ *(garbage-first heap|def new generation|tenured generation|PSYoungGen|ParOldGen|PSOldGen|par new generation|concurrent mark-sweep generation|Z ?Heap|[0-9]+[KMG] max)' |
    grep -oE 'used [0-9]+[KMG]?|[0-9]+[KMG] used' | awk '
      {n = $1 == "used" ? $2 : $1; unit = substr(n, length(n)); size = n + 0}
      unit == "K" {size *= 1024} unit == "M" {size *= 1048576} unit == "G" {size *= 1073741824}
      {sum += size}
      END {printf "%.0f\n", sum}'
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

no_file() { # why the JVM can leave no file for us; nothing where it can
  if [ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]; then
    echo "it runs in a container, where its file would lie: run jcmd in there"
  elif [ "${as_owner[0]}" = sudo ]; then
    echo "the file would belong to $user: log in as root or $user"
  elif [[ ${tools[0]} != */jcmd ]]; then
    echo "that takes jcmd"
  fi
}

take() { # name, how it begins: its file becomes ours, unless it is none; where we look at it, the JVM's owner cannot change it
  mv -- "$folder/$1" "$CAPTURE_SCRATCH/$1" 2>/dev/null || return
  [ -f "$CAPTURE_SCRATCH/$1" ] && [ ! -L "$CAPTURE_SCRATCH/$1" ] && [ "$(head -c ${#2} -- "$CAPTURE_SCRATCH/$1")" = "$2" ] && return
  rm -f -- "$CAPTURE_SCRATCH/$1"
  return 1
}

its_folder() { # sets folder, in which the JVM may write
  folder=$CAPTURE_SCRATCH/its
  mkdir -m 700 -- "$folder"
  if [ "$me" != "$uid" ]; then
    chmod 711 -- "$CAPTURE_SCRATCH"
    chown "$uid" -- "$folder"
  fi
}
