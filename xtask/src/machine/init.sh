#!/bin/busybox sh
# The guest's first program, in its initial memory disk: mounts the root file system and hands over.
export PATH=/bin
/bin/busybox mkdir -p /dev /proc /sys /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || echo "guest: no module $module"
done </modules/order
tries=0
while [ ! -b /dev/vdb ] && [ $tries -lt 200 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
mount -t ext4 /dev/vda /root && mount -t ext4 -o ro /dev/vdb /root/mnt/suite && [ -x /root/mnt/suite/guest.sh ] || {
    echo "guest: no root file system"
    poweroff -f
}
for folder in dev proc sys; do mount --move /$folder /root/$folder; done
exec switch_root /root /mnt/suite/guest.sh
