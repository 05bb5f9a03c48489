#!/usr/bin/env bash
# How large the heap of the JVM $pid is, and whether it can leave a file: shared by the heap's scripts.

DUMPED_PERCENT=130 # of the heap in use: a dump says more of each object than the heap holds

heap_of() { # what GC.heap_info says → bytes in use, all generations: "used 54081K"; a ZGC says "used 512M"
  grep -E '^ *(garbage-first heap|def new generation|tenured generation|PSYoungGen|ParOldGen|PSOldGen|par new generation|concurrent mark-sweep generation|Z ?Heap|[0-9]+[KMG] max)' |
    grep -oE 'used [0-9]+[KMG]?|[0-9]+[KMG] used' | awk '
      {n = $1 == "used" ? $2 : $1; unit = substr(n, length(n)); size = n + 0}
      unit == "K" {size *= 1024} unit == "M" {size *= 1048576} unit == "G" {size *= 1073741824}
      {sum += size}
      END {printf "%.0f\n", sum}'
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
