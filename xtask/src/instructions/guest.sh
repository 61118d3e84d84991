#!/bin/sh
# Process 1 of a guest whose clock counts instructions: makes the calls of `calls.c` in several ways, in turn, and writes
# what they took to the report. The rounds' first, in which caches are filled and the machine still starts, is number 0.
. /mnt/suite/machine.sh
folder=${FILE%/*}
mount -t tmpfs -o mode=1777 tmp /tmp
mkdir -p "$folder" /run/home /run/out
echo measured >"$FILE"
echo measured >"$SHORT"
calls=/mnt/suite/calls.sh

# guarded ENGINE POLICY WORD ...: takes the place of the shell that runs it.
guarded() {
    engine=$1 policy=$2
    shift 2
    exec env HOME=/run/home /mnt/suite/gait exec --json --engine "$engine" --policy "/mnt/suite/$policy" --workspace "$folder" \
        --out-dir /run/out --identity bench -- "$@"
}

# told WAY COMMAND ...: its output is the report's, with a line on how it ended. Before it starts, the kernel has taken down
# what the last run attached, which takes three seconds. A clock of instructions does not wait where nobody has any.
told() {
    told_way=$1
    shift
    sleep 20
    ("$@") >/run/told 2>/run/errors </dev/null
    code=$?
    cat /run/told >/dev/ttyS1
    echo "ended $told_way $code $(tail -n 1 /run/errors)" >/dev/ttyS1
    rm -rf /run/out/* /run/home/.gait
}

# in_force COMMAND ...: runs it beside a guarded program that does nothing.
in_force() {
    rm -f "$folder/started"
    guarded lsm patterns.yaml /bin/sh -c 'echo >"$1"; exec sleep 100000' sh "$folder/started" >/dev/null 2>&1 &
    guard=$!
    until [ -e "$folder/started" ]; do
        kill -0 $guard || return 1
        sleep 0.1
    done
    # What starting leaves to be done is over then.
    sleep 5
    "$@"
    ended=$?
    kill $guard
    wait $guard
    return $ended
}

# What the guard's programs in the kernel took so far, in nanoseconds, by what the kernel says of its descriptors.
programs_ns() {
    cat /proc/[0-9]*/fdinfo/* 2>/dev/null |
        awk '$1 == "prog_id:" { id = $2 } $1 == "run_time_ns:" { sum[id] = $2 } END { for (id in sum) all += sum[id]; print all + 0 }'
}

# programs WAY POLICY FILE: what they take for opens of FILE. The guarded program waits before and after it.
programs() {
    way=$1 policy=$2 file=$3 opens=${CALLS%% *}
    rm -f "$folder"/step-*
    echo 1 >/proc/sys/kernel/bpf_stats_enabled
    (guarded lsm "$policy" /bin/sh -c 'echo >step-1; until [ -e step-2 ]; do sleep 1; done
        sh "$0" "$@"; echo >step-3; until [ -e step-4 ]; do sleep 1; done' "$calls" "$way" "$file" "$opens") &
    guard=$!
    for step in 1 3; do
        until [ -e "$folder/step-$step" ]; do
            kill -0 $guard || return 1
            sleep 1
        done
        echo "programs ${opens#*:} $(programs_ns)"
        echo >"$folder/step-$((step + 1))"
    done
    wait $guard
    ended=$?
    echo 0 >/proc/sys/kernel/bpf_stats_enabled
    return $ended
}

cd "$folder" || exit 1
round=0
while [ $round -le "$ROUNDS" ]; do
    echo "round $round" >/dev/ttyS1
    # Words are split on purpose: calls have no space.
    told bare sh $calls bare "$FILE" $CALLS
    told lsm guarded lsm patterns.yaml /bin/sh $calls lsm "$FILE" $CALLS
    told notify guarded notify patterns.yaml /bin/sh $calls notify "$FILE" $CALLS
    told none guarded lsm none.yaml /bin/sh $calls none "$FILE" $CALLS
    told landlock /mnt/suite/landlock /bin/sh $calls landlock "$FILE" $CALLS
    told outside in_force sh $calls outside "$FILE" $CALLS
    told programs programs programs patterns.yaml "$FILE"
    told programs-none programs programs-none none.yaml "$FILE"
    told programs-short programs programs-short patterns.yaml "$SHORT"
    round=$((round + 1))
done
sync
echo "guest: done"
