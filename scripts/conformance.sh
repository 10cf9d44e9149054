#!/bin/bash
# Other people's clients and test suites against a daemon of this tree, in namespaces of its own.
#   scripts/conformance.sh BIN_DIR IMAGES_DIR WORK_DIR [docker-py] [compose] [cli] [bollard]
#     [testcontainers] [wordpress] [plugins] [moby]
# docker-py  the integration tests in docker-py's own source distribution (PyPI), API 1.41, over TCP
# compose    Debian's docker-compose 1.29 with a project of three services
# cli        the stock docker command line through the life of a container
# bollard, testcontainers   the tests in the sources of these Rust crates (crates.io), which speak
#            through the socket and pull from registries of ours under the names they use
# wordpress  docker-compose with MySQL, WordPress and nginx (Debian's packages), and a browser
# plugins    docker, buildx and docker compose as Debian's next release has them, through builds and
#            the life of a project
# moby       moby's own integration tests, from the checkout that MOBY_DIR names (not by default); see
#            scripts/conformance/moby.sh
# Writes WORK_DIR/conformance.md, one table per suite; downloads once into WORK_DIR. Fails when a
# suite could not run; what its tests say is for the reader of the table.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,17p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd) images=$(cd "$2" && pwd)
mkdir -p "$3" && work=$(cd "$3" && pwd)
shift 3
[ $# -gt 0 ] || set -- docker-py compose cli bollard testcontainers wordpress plugins
lab=$work/lab
report=$work/conformance.md

daemon_start() {
  rm -rf "$lab" && mkdir -p "$lab/home"
  hub_certify
  setsid unshare --net --mount --propagation private sh -c '
    ip link set lo up
    mount --bind "$HUB/hosts" /etc/hosts
    mount -t tmpfs run /run
    for f in all default lo; do echo 0 >/proc/sys/net/ipv6/conf/$f/disable_ipv6 || true; done
    exec "$0" daemon "$@"' "$bin/estiba" \
    --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" \
    --config-file "$lab/daemon.json" -H "unix://$lab/s.sock" -H unix:///run/docker.sock \
    -H tcp://127.0.0.1:2375 \
    --allow-plain-tcp --cgroup-parent "/conformance-$$" >"$lab/log" 2>&1 </dev/null &
  daemon=$!
  for _ in $(seq 100); do
    if "$bin/estiba" -H "unix://$lab/s.sock" info >/dev/null 2>&1; then
      registry_start
      return
    fi
    kill -0 $daemon 2>/dev/null || break
    sleep 0.1
  done
  cat "$lab/log" >&2
  echo "the daemon does not answer" >&2
  exit 1
}

# Docker Hub as the daemon sees it: a registry of our own, under its name and with a certificate.
hub_certify() {
  export HUB=$lab/hub
  mkdir -p "$HUB/certs.d/registry-1.docker.io"
  echo "{\"registry-certificates\": [\"$HUB/certs.d\"]}" >"$lab/daemon.json"
  echo "127.0.0.1 localhost registry-1.docker.io" >"$HUB/hosts"
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry-1.docker.io \
    -addext subjectAltName=DNS:registry-1.docker.io -keyout "$HUB/key" -out "$HUB/ca.crt" \
    2>/dev/null
  cp "$HUB/ca.crt" "$HUB/certs.d/registry-1.docker.io"
}

registry_start() {
  nsenter --target "$(cat "$lab/pid")" --net -- "$bin/estiba" registry serve \
    --root "$lab/registry" --listen 127.0.0.1:443 --tls-certificate "$HUB/ca.crt" \
    --tls-key "$HUB/key" >>"$lab/registry.log" 2>&1 </dev/null &
  registry=$!
}

daemon_stop() {
  [ -n "${daemon:-}" ] || return 0
  ids=$("$bin/estiba" -H "unix://$lab/s.sock" ps -aq 2>/dev/null || true)
  [ -z "$ids" ] || "$bin/estiba" -H "unix://$lab/s.sock" rm -f $ids >/dev/null 2>&1 || true
  kill $daemon $registry 2>/dev/null || true
  wait $registry 2>/dev/null || true
  wait $daemon 2>/dev/null || true
  daemon=
  find /sys/fs/cgroup -depth -type d -path "*/conformance-$$*" -exec rmdir {} + 2>/dev/null || true
}
trap daemon_stop EXIT

# In the daemon's network and with its mounts, as a client of it.
inside() {
  HOME=$lab/home DOCKER_HOST=${host:-tcp://127.0.0.1:2375} nsenter \
    --target "$(cat "$lab/pid")" --net --mount --wd="$PWD" -- "$@"
}

# The names that the suites use, on Debian's static busybox: Alpine's users and directories, which
# some tests look for, are added.
images_load() {
  root=$(mktemp -d)
  tar -xf "$images/busybox.tar" -C "$root"
  echo 3.10.9 >"$root/etc/alpine-release"
  mkdir -p "$root/var/opt" "$root/proc" "$root/sys" "$root/dev"
  echo 'postgres:x:70:70::/var/lib/postgresql:/bin/sh' >>"$root/etc/passwd"
  echo 'postgres:x:70:' >>"$root/etc/group"
  tar -C "$root" -cf "$work/alpine.tar" .
  rm -rf "$root"
  path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  inside "$bin/estiba" import -c 'CMD ["/bin/sh"]' -c "ENV PATH=$path" "$work/alpine.tar" \
    alpine:3.10 >/dev/null
  for name in alpine:latest busybox:latest busybox:buildroot-2014.02 busybox:1; do
    inside "$bin/estiba" tag alpine:3.10 $name
  done
  cp "$images/busybox.tar" "$work/hello.tar"
  printf '#!/bin/sh\necho\necho "Hello from Docker!"\n' >"$work/hello" && chmod 755 "$work/hello"
  tar -C "$work" --append -f "$work/hello.tar" ./hello
  inside "$bin/estiba" import -c 'CMD ["/hello"]' "$work/hello.tar" hello-world >/dev/null
  inside "$bin/estiba" tag hello-world hello-world:linux
  for name in hello-world:linux alpine:3.10 alpine:latest busybox:latest hello-world:latest; do
    inside "$bin/estiba" push -q "$name"
  done
  inside "$bin/estiba" rmi hello-world:latest hello-world:linux >/dev/null
  plugin_push
}

# The plugin that the suites install, under its name: it says of itself what the real one does, and
# its program is our own tests'.
plugin_push() {
  mkdir -p "$work/sshfs/rootfs/bin" "$work/sshfs/rootfs/mnt/volumes"
  rustc --edition 2024 -O -C target-feature=+crt-static -o "$work/sshfs/rootfs/bin/driver" \
    "$here/../tests/programs/plugin.rs"
  cat >"$work/sshfs/config.json" <<'JSON'
{
  "description": "sshFS plugin for Docker",
  "documentation": "https://docs.docker.com/engine/extend/plugins/",
  "entrypoint": ["/bin/driver"],
  "env": [{"name": "DEBUG", "settable": ["value"], "value": "0"}],
  "interface": {"socket": "test.sock", "types": ["docker.volumedriver/1.0"]},
  "linux": {"capabilities": ["CAP_SYS_ADMIN"]},
  "network": {"type": "host"},
  "propagatedmount": "/mnt/volumes"
}
JSON
  inside "$bin/estiba" plugin create vieux/sshfs:latest "$work/sshfs" >/dev/null
  inside "$bin/estiba" plugin push vieux/sshfs:latest >/dev/null
  inside "$bin/estiba" plugin rm vieux/sshfs:latest >/dev/null
}

suite_docker_py() {
  version=6.1.3
  if [ ! -x "$work/venv/bin/pytest" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q "docker==$version" 'pytest<8' pytest-timeout \
      'requests<2.32' 'urllib3<2' websocket-client paramiko
  fi
  if [ ! -d "$work/docker-$version" ]; then
    (cd "$work" && "$work/venv/bin/pip" download -q --no-deps --no-binary :all: \
      "docker==$version" && tar -xf "docker-$version.tar.gz")
  fi
  daemon_start
  images_load
  cd "$work/docker-$version"
  rm -rf contexts
  # Swarm is apart; the credential stores are programs of the desktop.
  set +e
  DOCKER_TEST_API_VERSION=1.41 inside timeout 3000 "$work/venv/bin/python" -m pytest -q \
    -p no:cacheprovider --timeout 60 --tb=short --junitxml="$work/docker-py.xml" \
    --ignore-glob='*swarm*' --ignore-glob='*service*' --ignore-glob='*nodes*' \
    --ignore-glob='*secret*' --ignore-glob='*config_test*' --ignore tests/integration/credentials \
    tests/integration >"$work/docker-py.log" 2>&1
  set -e
  cd "$here"
  daemon_stop
  [ -s "$work/docker-py.xml" ] || { tail -20 "$work/docker-py.log" >&2; exit 1; }
  python3 "$here/conformance/table.py" "docker-py $version" "$work/docker-py.xml" >>"$report"
}

suite_compose() {
  command -v docker-compose >/dev/null || apt-get install -qq -y docker-compose >/dev/null
  daemon_start
  images_load
  cd "$here/conformance/project"
  outcome=passed
  {
    inside docker-compose up -d &&
      inside docker-compose exec -T front sh -c 'until nc back 80 </dev/null; do :; done' &&
      inside docker-compose ps && inside docker-compose logs --tail=3 &&
      inside docker-compose up -d --scale back=2 && inside docker-compose restart front &&
      inside docker-compose down -v
  } >"$work/compose.log" 2>&1 || outcome=failed
  cd "$here"
  daemon_stop
  printf '\n## docker-compose 1.29\n\nup, exec by name, ps, logs, scale, restart, down: %s\n' \
    "$outcome" >>"$report"
}

suite_cli() {
  docker=$(command -v docker) || { echo "the docker command line is not installed" >&2; exit 1; }
  daemon_start
  images_load
  cases "$("$docker" --version)" "$here/conformance/cli.txt" "$lab"
  daemon_stop
}

# The lines of a file, each a case, run in DIR by $docker: TITLE FILE DIR
cases() {
  printf '\n## %s\n\n| command | outcome |\n|---|---|\n' "$1" >>"$report"
  log=$work/$(basename "$2" .txt).log && : >"$log"
  while IFS= read -r line; do
    case $line in '' | '#'*) continue ;; esac
    echo "== $line" >>"$log"
    if (cd "$3" && inside sh -c "docker=$docker; $line") >>"$log" 2>&1 </dev/null; then
      outcome=passed
    else
      outcome=failed
    fi
    printf '| `%s` | %s |\n' "$(echo "$line" | sed 's/|/\\|/g; s/\$docker/docker/g')" "$outcome" \
      >>"$report"
  done <"$2"
}

# Packages of Debian's next release, unpacked into WORK_DIR/sid: their programs need no newer library.
sid_fetch() {
  mirror=http://deb.debian.org/debian
  mkdir -p "$work/sid"
  [ -s "$work/sid/Packages" ] ||
    curl -sSf "$mirror/dists/sid/main/binary-amd64/Packages.xz" | xz -d >"$work/sid/Packages"
  for package; do
    [ ! -e "$work/sid/$package" ] || continue
    file=$(awk -v wanted="$package" 'BEGIN { RS = ""; FS = "\n" }
      $1 == "Package: " wanted { for (n = 1; n <= NF; n++) if (sub("^Filename: ", "", $n)) print $n }' \
      "$work/sid/Packages")
    curl -sSf "$mirror/$file" -o "$work/sid/package.deb"
    dpkg-deb -x "$work/sid/package.deb" "$work/sid" && touch "$work/sid/$package"
  done
}

suite_plugins() {
  sid_fetch docker-cli docker-buildx docker-compose
  docker=$work/sid/usr/bin/docker
  daemon_start
  images_load
  mkdir -p "$lab/home/.docker/cli-plugins"
  cp "$work"/sid/usr/libexec/docker/cli-plugins/* "$lab/home/.docker/cli-plugins"
  cp -r "$here/conformance/app" "$here/conformance/services" "$lab"
  mkdir -p "$lab/services/state"
  cases "buildx $(HOME=$lab/home "$docker" buildx version | cut -d' ' -f2)" \
    "$here/conformance/buildx.txt" "$lab/app"
  cases "$(HOME=$lab/home "$docker" compose version)" "$here/conformance/compose.txt" "$lab/services"
  daemon_stop
}

# The sources of a crate, by itself, into DIR: CRATE VERSION DIR
crate_source() {
  [ -d "$3" ] && return
  mkdir -p "$work/fetch/src" && : >"$work/fetch/src/lib.rs"
  printf '[package]\nname = "fetch"\nedition = "2021"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
    "$1" "$2" >"$work/fetch/Cargo.toml"
  manifest=$(cargo metadata --quiet --format-version 1 --manifest-path "$work/fetch/Cargo.toml" |
    python3 -c 'import json, sys
print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == sys.argv[1]))' "$1")
  cp -r "$(dirname "$manifest")" "$3"
  printf '\n[workspace]\n' >>"$3/Cargo.toml"
}

# The tests of a crate in DIR with these arguments, one after the other: NAME VERSION DIR ARGUMENT…
crate_tests() {
  name=$1 version=$2 dir=$3
  shift 3
  printf '[profile.default.junit]\npath = "%s"\n' "$work/$name.xml" >"$work/nextest.toml"
  rm -f "$work/$name.xml"
  (cd "$dir" && CARGO_TARGET_DIR=$work/rust cargo nextest run --no-run "$@") >"$work/$name.log" 2>&1 || {
    tail -20 "$work/$name.log" >&2
    exit 1
  }
  (cd "$dir" && export CARGO_TARGET_DIR=$work/rust HOME_OF_CARGO=${CARGO_HOME:-$HOME/.cargo} &&
    host=unix://$lab/s.sock inside env CARGO_HOME="$HOME_OF_CARGO" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" \
      cargo nextest run --offline --no-fail-fast --test-threads 1 --config-file "$work/nextest.toml" \
      "$@") >>"$work/$name.log" 2>&1 || true
  [ -s "$work/$name.xml" ] || { tail -20 "$work/$name.log" >&2; exit 1; }
  python3 "$here/conformance/table.py" "$name $version" "$work/$name.xml" >>"$report"
}

suite_bollard() {
  version=0.21.1
  crate_source bollard "$version" "$work/bollard-$version"
  daemon_start
  images_load
  # The registry that its tests log in to, and the server they look at.
  export REGISTRY_PASSWORD=of-the-lab
  htpasswd -Bbn bollard "$REGISTRY_PASSWORD" >"$lab/accounts"
  nsenter --target "$(cat "$lab/pid")" --net -- "$bin/estiba" registry serve --root "$lab/private" \
    --htpasswd "$lab/accounts" >>"$lab/registry.log" 2>&1 </dev/null &
  private=$!
  inside "$bin/estiba" build -q -t fussybeaver/uhttpd "$here/conformance/uhttpd" >/dev/null
  echo "$REGISTRY_PASSWORD" | inside "$bin/estiba" login -u bollard --password-stdin localhost:5000
  inside "$bin/estiba" tag alpine:latest node:alpine
  inside "$bin/estiba" push -q node:alpine
  for name in hello-world:linux alpine:latest fussybeaver/uhttpd:latest; do
    inside "$bin/estiba" image inspect "$name" >/dev/null 2>&1 || inside "$bin/estiba" pull -q "$name"
    inside "$bin/estiba" tag "$name" "localhost:5000/$name"
    inside "$bin/estiba" push -q "localhost:5000/$name"
  done
  crate_tests bollard "$version" "$work/bollard-$version" --features buildkit,time,websocket \
    -E 'not (test(swarm) or test(service) or test(node) or test(secret) or test(config) or test(task)) or test(buildkit)'
  kill $private 2>/dev/null || true
  daemon_stop
}

suite_testcontainers() {
  version=0.28.0
  crate_source testcontainers "$version" "$work/testcontainers-$version"
  rm -rf "$work/testimages" && cp -r "$here/conformance/testimages" "$work/testimages"
  sid_fetch docker-compose
  daemon_start
  mkdir -p "$lab/home/.docker/cli-plugins"
  cp "$work"/sid/usr/libexec/docker/cli-plugins/docker-compose "$lab/home/.docker/cli-plugins"
  images_load
  inside "$bin/estiba" tag alpine:latest ubuntu:24.04
  for image in testcontainers/helloworld:1.3.0=helloworld curlimages/curl=curl; do
    inside "$bin/estiba" build -q -t "${image%=*}" "$here/conformance/${image#*=}" >/dev/null
  done
  # Other versions of the same, and what is pulled although it is here.
  inside "$bin/estiba" tag testcontainers/helloworld:1.3.0 testcontainers/helloworld:1.2.0
  inside "$bin/estiba" tag alpine:latest alpine:3.20
  for name in testcontainers/helloworld:1.3.0 testcontainers/helloworld:1.2.0 alpine:3.20; do
    inside "$bin/estiba" push -q "$name" >/dev/null
  done
  crate_tests testcontainers "$version" "$work/testcontainers-$version" \
    --features blocking,docker-compose,http_wait,properties-config,reusable-containers
  daemon_stop
}

# MariaDB, WordPress, PHP and nginx of Debian.
lemp_make() {
  [ -s "$work/lemp.tar" ] && return
  mmdebstrap --quiet --variant=minbase --format=tar \
    --include=nginx-light,mariadb-server,wordpress,php-fpm,php-mysql,procps,wordpress-theme-twentytwentythree \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/lemp.tar.part"
  mv "$work/lemp.tar.part" "$work/lemp.tar"
}

# What a browser does with a new WordPress: it is sent to the installation, fills in the form and
# finds its blog. (grep reads to the end: with -q it would stop curl, and the pipe would have failed.)
browse() {
  inside curl -sfL --retry 40 --retry-delay 1 --retry-all-errors http://127.0.0.1/ |
    grep 'WordPress' >/dev/null &&
    inside curl -sfL http://127.0.0.1/wp-admin/install.php?step=2 -d weblog_title=Containers \
      -d user_name=blogger -d admin_password=of-the-blog-owner -d admin_password2=of-the-blog-owner \
      -d pw_weak=on -d admin_email=blogger@example.test | grep 'Success' >/dev/null &&
    inside curl -sf http://127.0.0.1/ | grep '<title>Containers' >/dev/null
}

suite_wordpress() {
  command -v docker-compose >/dev/null || apt-get install -qq -y docker-compose >/dev/null
  lemp_make
  daemon_start
  inside "$bin/estiba" import "$work/lemp.tar" debian-lemp >/dev/null
  cd "$here/conformance/wordpress"
  outcome=passed
  {
    for image in mysql:8.0=mysql wordpress:5.1.1-fpm-alpine=wordpress nginx:1.15.12-alpine=nginx; do
      inside "$bin/estiba" build -q -t "${image%=*}" "${image#*=}" || outcome=failed
    done
    inside docker-compose up -d && browse && inside docker-compose ps &&
      inside docker-compose restart && inside curl -sf --retry 40 --retry-delay 1 \
      --retry-all-errors http://127.0.0.1/ | grep '<title>Containers' >/dev/null || outcome=failed
    inside docker-compose logs --tail=20
    inside docker-compose down -v || outcome=failed
  } >"$work/wordpress.log" 2>&1
  cd "$here"
  daemon_stop
  printf '\n## The WordPress project\n\nup, installed by a browser, restart, still there, down: %s\n' \
    "$outcome" >>"$report"
}

suite_moby() {
  [ -n "${MOBY_DIR:-}" ] || { echo "MOBY_DIR names no checkout of github.com/moby/moby" >&2; exit 1; }
  "$here/conformance/moby.sh" "$bin" "$images" "$work" "$MOBY_DIR" >>"$report" 2>"$work/moby.log"
}

: >"$report"
for suite in "$@"; do
  echo "== $suite" >&2
  "suite_${suite//-/_}"
done
cat "$report"
