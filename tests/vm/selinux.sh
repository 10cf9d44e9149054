#!/bin/sh
# SELinux, inside the virtual machine, permissive under Debian's policy: the label that a document asks for is on the
# first process and on an exec, that of its mounts on what they show, and one that the policy does not know fails the
# start (law C6).
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/payload
. /payload/checks.sh
mount -t selinuxfs selinuxfs /sys/fs/selinux
is policy '' dd if=/payload/policy of=/sys/fs/selinux/load bs=16M status=none
is permissive 0 cat /sys/fs/selinux/enforce
# Of this policy the types for what virtual machines are kept in; it has none for containers.
label=system_u:system_r:svirt_t:s0:c1,c2
files=system_u:object_r:svirt_image_t:s0:c1,c2
mkdir -p /var/bundle/rootfs /var/shared
tar -C /var/bundle/rootfs -xf /payload/busybox.tar
echo inside >/var/shared/file
document() { # label of the process, label of mounts, word…
  process=$1 mounts=$2
  shift 2
  words=$(printf ', "%s"' "$@")
  cat >/var/bundle/config.json <<END
{"ociVersion": "1.2.0", "root": {"path": "rootfs"},
 "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin:/sbin"], "args": [${words#, }],
   "selinuxLabel": "$process"},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
   {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
   {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
   {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
   {"destination": "/mnt", "type": "bind", "source": "/var/shared", "options": ["bind"]}],
 "linux": {"mountLabel": "$mounts", "cgroupsPath": "/selinux/one",
   "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]}}
END
}
run() { # as document
  document "$@"
  estiba-runtime run --bundle /var/bundle one </dev/null 2>&1 | tr -d '\0'
}
is process "$label" run $label $files cat /proc/self/attr/current
is forked "$label" run $label $files sh -c 'cat /proc/self/attr/current; true'
unlabelled() { [ "$(run '' '' cat /proc/self/attr/current)" = "$(tr -d '\0' </proc/self/attr/current)" ] && echo yes; }
is without-a-label yes unlabelled
unknown() { run no:such:label:s0 '' true | grep -q 'no:such:label:s0\|attr/exec' && echo refused; }
is unknown-label refused unknown
document $label $files sleep 1000
is detached '' sh -c 'estiba-runtime run -d --bundle /var/bundle one </dev/null >/dev/null 2>&1'
pid=$(estiba-runtime state one | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
is seen-outside "$label" sh -c "tr -d '\0' </proc/$pid/attr/current"
label_of() { # file in the container
  /payload/tools/ld-linux-x86-64.so.2 --library-path /payload/tools /payload/tools/ls -Zd "/proc/$pid/root$1" | cut -d ' ' -f 1
}
is tmpfs $files label_of /tmp
is devices $files label_of /dev
is device $files label_of /dev/null
is message-queues $files label_of /dev/mqueue
is made-inside '' estiba-runtime exec one touch /tmp/x
is made-inside-labelled $files label_of /tmp/x
other_file() { [ "$(label_of /mnt/file)" != $files ] && echo yes; }
is binds-keep-theirs yes other_file
is exec "$label" sh -c "estiba-runtime exec one cat /proc/self/attr/current | tr -d '\0'"
other=system_u:system_r:svirt_t:s0:c3
is exec-of-another-label $other sh -c "estiba-runtime exec --process-label $other one cat /proc/self/attr/current | tr -d '\0'"
is deleted '' estiba-runtime delete --force one
[ $failed = 0 ] || dmesg | grep -i selinux | tail -n 20
echo "vm, SELinux: $passed passed, $failed failed"
[ $failed = 0 ]
