#!/bin/sh
# Runs tests: by cargo-nextest where it is installed, else by cargo itself.
#   scripts/cargo-test.sh <arguments of cargo test>
set -eu
if cargo nextest --version >/dev/null 2>&1; then
  profile=default
  if [ -n "${CI:-}" ]; then profile=ci; fi
  exec cargo nextest run --profile "$profile" "$@"
fi
exec cargo test --no-fail-fast "$@"
