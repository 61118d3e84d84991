#!/bin/sh
# Process 1 of a guest: runs the suites. What it prints with `guest: ` in front is read by the one who started the guest.
. /mnt/suite/machine.sh
mkdir -p "$REPOSITORY"
mount --bind /mnt/suite/repository "$REPOSITORY"
# When the last run under `lsm` ends, the kernel takes each hook's entry down with a grace period of RCU tasks, 100 ms
# each, and who attaches next waits for all of them: three seconds of nothing for each test. While one run is in force
# the entries stay. It is nobody's leftover: its home and folders are its own. Where it can't start the suites take longer.
keeper=
if [ "$GAIT_ENGINE" = lsm ]; then
    mkdir -p /run/keeper/home /run/keeper/work
    (
        cd /run/keeper/work
        # No variable of the suites is for it.
        exec env -i PATH="$PATH" HOME=/run/keeper/home "$GAIT_BIN" exec --engine lsm --out-dir /run/keeper/out \
            -- /bin/sh -c 'echo in force >started; exec sleep 1000000'
    ) </dev/null >/run/keeper/said 2>&1 &
    keeper=$!
    tries=0
    while [ ! -e /run/keeper/work/started ] && kill -0 $keeper 2>/dev/null && [ $tries -lt 600 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    [ -e /run/keeper/work/started ] || echo "guest: no run is kept in force: $(head -n 1 /run/keeper/said)"
fi
echo "guest: uptime $(cat /proc/uptime), the second number of it idle, of all processors"
for suite in $SUITES; do
    # Words are split on purpose: none has a space.
    GAIT_SUITE_REPORT=/dev/ttyS1 /mnt/suite/target/debug/deps/"$suite" $WORDS </dev/null 2>&1
    echo "guest: ended $suite $?"
    echo "guest: uptime $(cat /proc/uptime)"
done
[ -z "$keeper" ] || { kill $keeper; wait $keeper; } 2>/dev/null
sync
echo "guest: done"
