#!/bin/sh
# The inside of differential.sh: starts the daemons, builds, compares.
set -eu
ip link set lo up
mkdir -p "$lab/docker" "$lab/estiba" "$lab/buildah" "$lab/out"
dockerd --data-root "$lab/docker/data" --exec-root "$lab/docker/run" --pidfile "$lab/docker/pid" \
  --host "unix://$lab/docker.sock" --storage-driver overlay2 --bridge none --iptables=false \
  --ip6tables=false >"$lab/dockerd.log" 2>&1 &
# In a network of its own: both daemons want the same bridge.
unshare --net sh -c 'ip link set lo up; exec "$@"' - "$bin/estiba" daemon --data-root "$lab/estiba/data" --exec-root "$lab/estiba/run" \
  --pidfile "$lab/estiba/pid" --config-file "$lab/estiba/none.json" --host "unix://$lab/estiba.sock" \
  --cgroup-parent /estiba-differential >"$lab/estiba.log" 2>&1 &
wait_for() { n=0; until [ -S "$1" ] || [ $n -ge 300 ]; do sleep 0.1; n=$((n + 1)); done; }
wait_for "$lab/docker.sock"; wait_for "$lab/estiba.sock"
sleep 1
ours() { DOCKER_HOST="unix://$lab/estiba.sock" "$bin/estiba" "$@"; }
theirs() { DOCKER_HOST="unix://$lab/docker.sock" DOCKER_CONFIG="$lab/docker/config" "$docker20" "$@"; }
bah() { buildah --root "$lab/buildah/root" --runroot "$lab/buildah/run" --storage-driver overlay "$@"; }
have_docker=yes
theirs version >/dev/null 2>&1 || { have_docker=no; echo "dockerd does not run here: $(tail -1 "$lab/dockerd.log")" >&2; }
for image in busybox debian; do
  ours import -c 'CMD ["sh"]' "$images/$image.tar" "$image:latest" >/dev/null
  [ $have_docker = no ] || theirs import -c 'CMD ["sh"]' "$images/$image.tar" "$image:latest" >/dev/null
  made=$(bah from scratch)
  bah add -q "$made" "$images/$image.tar" / >/dev/null
  bah config --cmd '["sh"]' "$made"
  bah commit -q "$made" "localhost/$image:latest" >/dev/null
  bah rm "$made" >/dev/null 2>&1 || :
done
cd "$lab/context"
build() { # builder name file arguments…
  builder=$1; name=$2; file=$3; shift 3
  case $builder in
  ours) ours build -q -f "$file" -t "case/$name" "$@" . && ours save -o "$lab/out/$name.ours.tar" "case/$name" ;;
  buildkit) DOCKER_BUILDKIT=1 theirs build -q --network none -f "$file" -t "case/$name" "$@" . && theirs save -o "$lab/out/$name.buildkit.tar" "case/$name" ;;
  legacy) DOCKER_BUILDKIT=0 theirs build -q --network none -f "$file" -t "case/$name" "$@" . && theirs save -o "$lab/out/$name.legacy.tar" "case/$name" ;;
  buildah) bah build -q --isolation chroot --format docker -f "$file" -t "localhost/case/$name" "$@" . && bah push -q "localhost/case/$name" "docker-archive:$lab/out/$name.buildah.tar" ;;
  esac
}
# Blanks between fields are one for `read`, also where a field is empty; bars are not.
grep -v '^#' "$here/tests/dockerfiles/INDEX.tsv" | tr '\t' '|' | while IFS='|' read -r name by arguments _; do
  case " $names " in "  " | *" $name "*) ;; *) continue ;; esac
  for builder in $by; do
    [ "$builder" != plan ] || continue
    [ $have_docker = yes ] || case $builder in buildkit | legacy) continue ;; esac
    # shellcheck disable=SC2086
    build "$builder" "$name" "$here/tests/dockerfiles/$name.Dockerfile" $arguments \
      >"$lab/out/$name.$builder.log" 2>&1 </dev/null ||
      echo "failed" >"$lab/out/$name.$builder.failed"
  done
  python3 "$here/scripts/differential/compare.py" "$lab/out" "$name" "$result" $by || true
  rm -f "$lab/out/$name".*.tar
done
python3 "$here/scripts/differential/compare.py" --sum "$result"
