#!/bin/busybox sh
# The guest's first process: mounts the root of the machine that runs it, read-only with a layer of its own above it in
# memory, so that its programs, the checkout and the Node of the checkout are there; then goes on in second-stage.sh.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module"; done
checkout=$(sed -n 's/.*carbonado.checkout=\([^ ]*\).*/\1/p' /proc/cmdline)

mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro host /host
mount -t tmpfs -o size=75% tmpfs /scratch
mkdir /scratch/upper /scratch/work
mount -t overlay -o lowerdir=/host,upperdir=/scratch/upper,workdir=/scratch/work overlay /root
for system in proc sys dev; do mount --move /$system /root/$system; done
exec switch_root /root /bin/sh "$checkout/test/guest/second-stage.sh"
