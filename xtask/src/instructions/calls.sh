#!/bin/sh
# calls.sh WAY FILE OPERATION:TIMES ...: what each operation took, one line each: `sample`, the way, the operation, the two
# numbers of `calls`, and the seconds for which the machine had nothing to do, before and after.
way=$1 file=$2
shift 2
cd "${file%/*}" || exit 1
for call; do
    read -r _ before </proc/uptime
    # Words are split on purpose: two numbers in two lines.
    numbers=$(/mnt/suite/calls "${call%:*}" "${call#*:}" "$file") || exit 1
    read -r _ after </proc/uptime
    echo sample "$way" "${call%:*}" $numbers "$before" "$after"
done
