#!/bin/sh
# Makes root filesystem archives from Debian packages, for `estiba import`: no registry is needed.
#   scripts/images.sh DIR [busybox] [debian]
# busybox.tar  one static binary and its applets (package busybox-static), about 1 MB
# debian.tar   a minimal Debian with nginx (mmdebstrap), about 150 MB; takes about a minute
# An archive that is there already is left as it is.
set -eu
dir=${1:?usage: scripts/images.sh DIR [busybox] [debian]}
shift
[ $# -gt 0 ] || set -- busybox debian
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make_busybox() {
  root=$work/busybox
  mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/var/www" "$root/home" "$root/mnt"
  install -d -m 1777 "$root/tmp"
  cp /bin/busybox "$root/bin/busybox"
  for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo 'www-data:x:33:33:www-data:/var/www:/bin/false' >>"$root/etc/passwd"
  echo 'nobody:x:65534:65534:nobody:/home:/bin/false' >>"$root/etc/passwd"
  printf 'root:x:0:\nwww-data:x:33:\nusers:x:100:www-data\nnogroup:x:65534:\n' >"$root/etc/group"
  tar --numeric-owner --owner=0 --group=0 --sort=name --mtime=@0 -C "$root" -cf "$dir/busybox.tar.part" .
}

make_debian() {
  mmdebstrap --quiet --variant=minbase --include=nginx-light,procps \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --format=tar \
    bookworm "$dir/debian.tar.part"
}

for image in "$@"; do
  [ -s "$dir/$image.tar" ] && continue
  echo "making $dir/$image.tar" >&2
  "make_$image"
  mv "$dir/$image.tar.part" "$dir/$image.tar"
done
