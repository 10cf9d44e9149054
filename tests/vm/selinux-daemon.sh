#!/bin/sh
# SELinux under the daemon, inside the virtual machine of tests/vm/selinux.sh, which has loaded the policy: each
# container's processes have the policy's label with categories of their own, on every path that starts one (law E4), and
# so have the files that are made for it; what `z` and `Z` ask for; labels that were asked for, and none (law C6).
export DOCKER_HOST=unix:///run/selinux.sock PATH=/usr/sbin:/usr/bin:/sbin:/bin:/payload
. /payload/checks.sh
# What a package of container policies says, in the types of this policy, which has none for containers.
mkdir -p /etc/selinux/default/contexts
echo SELINUXTYPE=default >/etc/selinux/config
cat >/etc/selinux/default/contexts/lxc_contexts <<'C'
# labels of containers
process = "system_u:system_r:svirt_t:s0"
file = "system_u:object_r:svirt_image_t:s0"
C
modules
bare='--iptables=false --bridge=none'
run='estiba run --rm --network none'
own=$(tr -d '\0' </proc/self/attr/current)
current="tr -d '\\0' </proc/self/attr/current; echo"
ls_z() { # file
  /payload/tools/ld-linux-x86-64.so.2 --library-path /payload/tools /payload/tools/ls -Zd "$1" | cut -d ' ' -f 1
}
# What a command says, with any two categories said as such.
two() { "$@" | sed 's/:c[0-9]*,c[0-9]*$/:two/'; }
inspect() { # container, what
  estiba inspect -f "{{$2}}" "$1"
}
label_in() { # container, file
  ls_z "/proc/$(inspect "$1" .State.Pid)/root$2"
}

# 1. switched off
# shellcheck disable=SC2086
begin $bare
import >/dev/null
is off-info '' sh -c 'estiba info --format "{{.SecurityOptions}}" | grep name=selinux'
is off "$own" $run busybox sh -c "$current"
is off-says-so yes sh -c "$run --security-opt label=type:initrc_t busybox true 2>&1 | grep -q 'selinux-enabled is not on' && echo yes"
finish

# 2. processes
# shellcheck disable=SC2086
begin $bare --selinux-enabled
process=system_u:system_r:svirt_t:s0:two files=system_u:object_r:svirt_image_t:s0:two
is info yes sh -c 'estiba info --format "{{.SecurityOptions}}" | grep -q name=selinux && echo yes'
is run "$process" two $run busybox sh -c "$current"
estiba run -d --name aa --network none --ipc shareable --tmpfs /memory -v vol:/volume \
  --mount type=image,source=busybox,target=/image --health-interval 1s --health-cmd "$current" \
  busybox sleep 1000 >/dev/null
label=$(inspect aa .ProcessLabel)
mounts=$(inspect aa .MountLabel)
check inspected "$process" "$(two echo "$label")"
check inspected-mounts "$files" "$(two echo "$mounts")"
check one-level "${label##*:s0:}" "${mounts##*:s0:}"
is exec "$label" estiba exec aa sh -c "$current"
is exec-of-another-user "$label" estiba exec -u 1000 aa sh -c "$current"
is exec-privileged "$label" estiba exec --privileged aa sh -c "$current"
is health-check "$label" sh -c 'for _ in $(seq 300); do
  said=$(estiba inspect -f "{{range .State.Health.Log}}{{.Output}}{{end}}" aa | head -n 1)
  [ -n "$said" ] && break; usleep 100000; done; echo "$said"'
is seen-outside "$label" sh -c "tr -d '\0' </proc/$(inspect aa .State.Pid)/attr/current"
estiba run -d --name bb --network none --init busybox sleep 1000 >/dev/null
differs() { [ "$(inspect bb .ProcessLabel)" != "$label" ] && two inspect bb .ProcessLabel; }
is categories-of-its-own "$process" differs
is init "$(inspect bb .ProcessLabel)" estiba exec bb sh -c "tr -d '\\0' </proc/1/attr/current; echo"
mkdir -p /tmp/step && printf 'FROM busybox\nRUN (%s) >/said\nRUN --mount=type=cache,target=/cache (%s) >/cache/x\n' \
  "$current" "$current" >/tmp/step/Dockerfile
estiba build -q -t step --network none /tmp/step >/dev/null
is build-step "$process" two $run step cat /said
for posture in '--userns host' '--security-opt profile=docker' '--security-opt no-new-privileges=false'; do
  # shellcheck disable=SC2086
  is "run $posture" "$process" two $run $posture busybox sh -c "$current"
done

# 3. files
for file in / /bin /memory /dev /dev/null /dev/shm /dev/mqueue /dev/pts /etc/hosts /etc/resolv.conf /etc/hostname \
  /proc/kcore /image/bin; do
  is "label of $file" "$mounts" label_in aa $file
done
is made-inside '' estiba exec aa touch /new
is made-inside-labelled "$mounts" label_in aa /new
shared=system_u:object_r:svirt_image_t:s0
is volume $shared label_in aa /volume
mkdir -p /srv/private/deep /srv/shared /srv/plain /srv/other
for dir in private/deep shared plain other; do echo content >/srv/$dir/file; done
ln -s /srv/other /srv/private/link
before=$(ls_z /srv/plain/file)
estiba run -d --name cc --network none -v /srv/private:/private:Z -v /srv/shared:/shared:z -v /srv/plain:/plain \
  busybox sleep 1000 >/dev/null
theirs=$(inspect cc .MountLabel)
is private "$theirs" label_in cc /private/deep/file
is private-top "$theirs" ls_z /srv/private
is private-link "$theirs" ls_z /srv/private/link
is no-link-is-followed "$before" ls_z /srv/other/file
is shared $shared label_in cc /shared/file
is plain "$before" ls_z /srv/plain/file
is private-of-the-next '' $run -v /srv/private:/private:Z busybox true
taken() { [ "$(ls_z /srv/private/deep/file)" != "$theirs" ] && two ls_z /srv/private/deep/file; }
is private-of-the-next-alone "$files" taken
refused() { # words of the refusal, words…
  said=$1
  shift
  # shellcheck disable=SC2086
  $run "$@" 2>&1 | grep -q "$said" && echo refused
}
is system-places refused refused 'SELinux relabeling of /etc is not allowed' -v /etc:/x:Z busybox true
ln -s /etc /srv/innocent
is system-places-by-a-link refused refused 'SELinux relabeling of /etc is not allowed' -v /srv/innocent:/x:z busybox true

# 4. what was asked for
is type system_u:system_r:initrc_t:s0:two two $run --security-opt label=type:initrc_t busybox sh -c "$current"
is level system_u:system_r:svirt_t:s0:c5,c6 $run --security-opt label=level:s0:c5,c6 busybox sh -c "$current"
is colon system_u:system_r:svirt_t:s0:c5,c6 $run --security-opt label:level:s0:c5,c6 busybox sh -c "$current"
is unknown-type refused refused 'no_such_t' --security-opt label=type:no_such_t busybox true
is unknown-filetype refused refused 'overlay labelled .*no_such_t' --security-opt label=filetype:no_such_t busybox true
is bad-option refused refused 'Bad label option' --security-opt label=nonsense busybox true
free=system_u:object_r:svirt_image_t:s0:c1022,c1023
estiba run -d --name dd --network none --security-opt label=disable busybox sleep 1000 >/dev/null
is disable "$own" estiba exec dd sh -c "$current"
is disable-inspected "|$free|[label=disable]" inspect dd '.ProcessLabel}}|{{.MountLabel}}|{{.HostConfig.SecurityOpt'
is disable-files $free label_in dd /
is privileged "$own" $run --privileged busybox sh -c "$current"
is pid-of-the-host "$own" $run --pid host busybox sh -c "$current"
estiba create --name ee --privileged busybox >/dev/null
is privileged-inspected "|[label=disable]" inspect ee '.ProcessLabel}}|{{.HostConfig.SecurityOpt'
is pid-of-another "$label" $run --pid container:aa busybox sh -c "$current"
is ipc-of-another "$label" $run --ipc container:aa busybox sh -c "$current"
is different-others refused refused "labels aren't the same" --ipc container:aa --pid container:bb busybox true

# 5. it lasts
crash
# shellcheck disable=SC2086
begin $bare --selinux-enabled
is after-a-crash "$label" inspect aa .ProcessLabel
is exec-after-a-crash "$label" estiba exec aa sh -c "$current"
estiba restart -t 0 aa >/dev/null
is restarted "$label" estiba exec aa sh -c "$current"
is restarted-files "$mounts" label_in aa /new
finish
# shellcheck disable=SC2086
begin $bare
estiba restart -t 0 aa >/dev/null
is what-was-made-keeps-it "$label" estiba exec aa sh -c "$current"
is new-ones-have-none "$own" $run busybox sh -c "$current"
estiba rm -f aa bb cc dd ee >/dev/null
finish

# 6. no labels for containers, and that said
rm /etc/selinux/default/contexts/lxc_contexts
# shellcheck disable=SC2086
begin $bare --selinux-enabled
is no-contexts-told yes sh -c 'grep -q "the policy has no labels for containers" /run/selinux.log && echo yes'
is no-contexts-info '' sh -c 'estiba info --format "{{.SecurityOptions}}" | grep name=selinux'
is no-contexts "$own" $run busybox sh -c "$current"
finish
summary 'SELinux, the daemon'
