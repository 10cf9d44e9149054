# shellcheck shell=sh
# What the scripts in the virtual machine count with; they read it in.
passed=0
failed=0
is() { # name, wanted, command…
  name=$1
  want=$2
  shift 2
  out=$("$@" 2>&1)
  if [ "$out" = "$want" ]; then passed=$((passed + 1)); echo "ok $name"; else
    failed=$((failed + 1))
    echo "FAILED $name: $* -> $(printf '%s' "$out" | tail -n 3), wanted $want"
  fi
}
