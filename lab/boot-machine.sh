#!/bin/sh
# Process 1 of a lab machine, started in net, mount, pid, uts and ipc namespaces of its own: builds the mounts, says
# "ready", then only reaps. Killing it kills everything in the machine at once, like a power failure.
#   boot-machine.sh HOSTNAME DISK   a node with its own /etc, /opt, /var/lib (kept in DISK) and /run (lost)
#   boot-machine.sh HOSTNAME        a machine that shares the host's files
# With $KUBELET set, a node is made ready for kubelet and containerd, which keep their files in DISK.
set -eu

echo "$1" > /proc/sys/kernel/hostname
ip link set lo up

# A sysfs shows the network namespace in which it was mounted; the cgroup mounts below the old one are kept.
keep=/dev/shm # any empty mount point will do: this mount namespace is private
mount -t tmpfs tmpfs "$keep"
mkdir "$keep/cgroup"
mount --rbind /sys/fs/cgroup "$keep/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$keep/cgroup" /sys/fs/cgroup
umount -l "$keep"
mount -t bpf bpf /sys/fs/bpf

if [ $# -gt 1 ]; then
  for folder in etc opt var/lib; do
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$2/$folder,workdir=$2/work/$folder" "/$folder"
  done
  if [ -n "${KUBELET:-}" ]; then
    # Beside the overlays: an overlay cannot be the upper layer of another one, as the containers' are.
    for folder in kubelet containerd; do
      mkdir -p "/var/lib/$folder"
      mount --bind "$2/$folder" "/var/lib/$folder"
    done
    mount --bind "$2/log" /var/log
    tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
    echo "$1" > /etc/hostname
    echo 1 > /proc/sys/net/ipv4/ip_forward
  fi
  # Last, because DISK is below /run.
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/lock /run/netns /run/carbonado /run/runc /run/containers /run/empty /run/container-root
  # Read-only: an overlay without an upper layer needs two lower ones. nosuid: ping's file capability, which containers
  # do not have, would else keep it from starting; it needs none in them.
  mount -t overlay overlay -o nosuid,lowerdir=/run/empty:/ /run/container-root
fi
if [ -n "${KUBELET:-}" ]; then mount --make-rshared /; fi # what a CSI driver mounts must reach other containers

# SIGCHLD ignored across exec: the kernel itself reaps the orphans that process 1 inherits.
echo ready
exec env --ignore-signal=CHLD sleep infinity > /dev/null 2>&1 < /dev/null
