#!/bin/sh
# Second part of the guest's start, on the root of the machine that runs it: mounts, drivers, then the test files one
# after the other. What the tests print goes to the console, their results to the second serial line.
argument() { for word in $(cat /proc/cmdline); do case $word in "$1"=*) echo "${word#*=}" ;; esac; done; }
checkout=$(argument carbonado.checkout)
export HOME=/root PATH="$checkout/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export DM_DISABLE_UDEV=1 # there is none: device mapper's tools make the device nodes themselves

mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /lib/modules 2>/dev/null || mkdir -p /lib/modules
ln -s "$checkout/build/guest/kernel/lib/modules/$(uname -r)" /lib/modules/
ip link set lo up
hostname guest
stty raw -echo < /dev/ttyS1
modprobe -a nvme virtio-rng # the hardware of guest.ts; tests load what else they need
echo "guest: ready after $(cut -d' ' -f1 /proc/uptime) s"

for file in $(argument carbonado.files | tr , ' '); do
  name=$(basename "$file" .mjs)
  GUEST_FILE=$name node "$checkout/build/guest/$file"
  echo "{\"file\":\"$name\",\"exitCode\":$?}" > /dev/ttyS1
done
echo "guest: done after $(cut -d' ' -f1 /proc/uptime) s"
exec /bin/busybox poweroff -f
