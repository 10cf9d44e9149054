#!/bin/sh
# Runs a command in a small virtual machine: Debian's cloud kernel under qemu's software emulation,
# cgroup v2 alone, AppArmor, an ext4 root made of busybox and a payload directory.
#   scripts/vm.sh WORK PAYLOAD COMMAND…
# WORK keeps the kernel package between runs. PAYLOAD appears as /payload; COMMAND runs there as
# root and its exit status is this script's. Nothing of the host but these two directories is read.
# VM_ROOTFS names an archive of a root with systemd, which is the first process then, instead of busybox's; VM_KERNEL
# are words for the kernel, instead of those that leave control groups of version 2 alone; VM_MODULE is the security
# module, instead of apparmor.
set -eu
work=${1:?usage: scripts/vm.sh WORK PAYLOAD COMMAND…}
payload=$2
shift 2
mkdir -p "$work"
work=$(cd "$work" && pwd)

# 1. the kernel, from Debian's package
if ! ls "$work"/kernel/boot/vmlinuz-* >/dev/null 2>&1; then
  apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 || apt-get update -qq
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
  rm -rf "$work/deb" && mkdir -p "$work/deb" && chmod 0777 "$work/deb"
  (cd "$work/deb" && apt-get download -qq "$package" >/dev/null 2>&1)
  dpkg-deb -x "$work"/deb/*.deb "$work/kernel"
  rm -rf "$work/deb"
fi
kernel=$(ls "$work"/kernel/boot/vmlinuz-*)
release=${kernel##*/vmlinuz-}
modules=$work/kernel/lib/modules/$release

# 2. an initramfs that finds the disk
rm -rf "$work/initramfs" "$work/root"
mkdir -p "$work/initramfs/bin" "$work/initramfs/dev" "$work/initramfs/new"
cp /bin/busybox "$work/initramfs/bin/"
mkdir -p "$work/initramfs/lib/modules/$release"
cp "$modules/kernel/drivers/virtio/"*.ko "$modules/kernel/drivers/block/virtio_blk.ko" \
  "$work/initramfs/lib/modules/$release/"
busybox depmod -b "$work/initramfs" "$release"
cat >"$work/initramfs/init" <<'I'
#!/bin/busybox sh
/bin/busybox modprobe virtio_pci
/bin/busybox modprobe virtio_blk
/bin/busybox mount -t devtmpfs dev /dev
i=0; while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do /bin/busybox usleep 50000; i=$((i+1)); done
/bin/busybox mount -t ext4 /dev/vda /new
exec /bin/busybox switch_root /new INIT
I
sed -i "s#INIT#${VM_ROOTFS:+/sbin}/init#" "$work/initramfs/init"
chmod +x "$work/initramfs/init"
(cd "$work/initramfs" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs.gz"

# 3. the root disk
root=$work/root
mkdir -p "$root"
[ -z "${VM_ROOTFS:-}" ] || tar -C "$root" -xf "$VM_ROOTFS"
mkdir -p "$root/bin" "$root/sbin" "$root/lib/modules" "$root/proc" "$root/sys" "$root/dev" \
  "$root/run" "$root/tmp" "$root/etc" "$root/root" "$root/var/lib" "$root/payload"
cp /bin/busybox "$root/bin/"
if [ -z "${VM_ROOTFS:-}" ]; then
  for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"; done
  ln -sf ../bin/busybox "$root/sbin/modprobe"
fi
mkdir -p "$root/lib/modules/$release/kernel"
cp -r "$modules/kernel/net" "$modules/kernel/fs" "$modules/kernel/lib" "$modules/kernel/crypto" \
  "$root/lib/modules/$release/kernel/"
mkdir -p "$root/lib/modules/$release/kernel/drivers/block"
cp -r "$modules/kernel/drivers/net" "$root/lib/modules/$release/kernel/drivers/"
cp "$modules/kernel/drivers/block/loop.ko" "$root/lib/modules/$release/kernel/drivers/block/"
cp "$modules"/modules.builtin* "$modules"/modules.order "$root/lib/modules/$release/" 2>/dev/null || true
# kmod's modprobe reads tables that busybox's depmod does not write.
if [ -n "${VM_ROOTFS:-}" ]; then
  chroot "$root" depmod "$release"
else
  busybox depmod -b "$root" "$release"
fi
cp -r "$payload/." "$root/payload/"
if [ -n "${VM_ROOTFS:-}" ]; then
  printf '%s\n' '#!/bin/sh' 'cd /payload' "$*" 'echo "vm-exit-status: $?"; sync; systemctl poweroff -ff' >"$root/run-payload"
  chmod +x "$root/run-payload"
  echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
  printf '%s\n' '[Unit]' 'After=dbus.service' '[Service]' 'Type=exec' 'ExecStart=/run-payload' 'StandardOutput=tty' \
    'StandardError=tty' 'TTYPath=/dev/ttyS0' 'Environment=HOME=/root' 'Delegate=yes' >"$root/etc/systemd/system/payload.service"
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  ln -sf ../payload.service "$root/etc/systemd/system/multi-user.target.wants/payload.service"
  ln -sf /dev/null "$root/etc/systemd/system/serial-getty@ttyS0.service"
  ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
else
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo 'root:x:0:' >"$root/etc/group"
  echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
fi
[ -n "${VM_ROOTFS:-}" ] || {
  echo '#!/bin/sh'
  echo 'export PATH=/bin:/sbin:/payload HOME=/root'
  echo 'mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev 2>/dev/null'
  echo 'mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm'
  echo 'mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp'
  echo 'mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t securityfs securityfs /sys/kernel/security'
  echo 'for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done'
  echo 'ip link set lo up; cd /payload'
  printf '%s\n' "$*"
  echo 'echo "vm-exit-status: $?"; sync; poweroff -f'
} >"$root/init"
[ ! -e "$root/init" ] || chmod +x "$root/init"
rm -f "$work/disk.img"
mke2fs -q -t ext4 -d "$root" "$work/disk.img" "${VM_DISK:-1536M}"

# 4. run it
log=$work/console.log
timeout "${VM_TIMEOUT:-900}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m "${VM_MEMORY:-1536}" \
  -nographic -no-reboot -nodefaults -serial stdio -kernel "$kernel" -initrd "$work/initramfs.gz" \
  -drive "file=$work/disk.img,if=virtio,format=raw,cache=unsafe" \
  -append "console=ttyS0 ${VM_ROOTFS:+systemd.firstboot=0 systemd.show_status=1} quiet panic=-1 ${VM_MODULE:-apparmor}=1 security=${VM_MODULE:-apparmor} ${VM_KERNEL:-cgroup_no_v1=all} init=${VM_ROOTFS:+/sbin}/init" \
  </dev/null 2>&1 | tr -d '\r\033' | tee "$log"
status=$(sed -n 's/^vm-exit-status: //p' "$log" | tail -n 1)
rm -rf "$root" "$work/initramfs" "$work/disk.img"
[ -n "$status" ] || { echo "the machine ended without reporting a status" >&2; exit 1; }
exit "$status"
