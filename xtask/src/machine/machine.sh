# Read first by process 1 of a guest: makes an ordinary machine of it, and sees to it that it is turned off, whatever
# happens. What is printed with `guest: ` in front is read by the one who started the guest.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TZ=UTC
busybox=/mnt/suite/busybox
trap 'sync; $busybox poweroff -f' EXIT
mkdir -p /dev/pts /dev/shm /run
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t securityfs security /sys/kernel/security
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do [ -e "/dev/${n#*:}" ] || ln -s "/proc/self/fd/${n%:*}" "/dev/${n#*:}"; done
$busybox ip link set lo up
$busybox hostname guest
echo 1 >/proc/sys/kernel/printk
. /mnt/suite/settings
$busybox stty -F /dev/ttyS1 raw -echo
echo "guest: kernel $(uname -r)"
echo "guest: lsm $(cat /sys/kernel/security/lsm)"
