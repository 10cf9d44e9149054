#!/bin/sh
# Fuzzes what reads bytes from outside. Corpora are kept in fuzz/corpus; what crashes lands in
# fuzz/artifacts and belongs, once repaired, into the corpus.
#   scripts/fuzz.sh [-s seconds-per-target] [-m] [target...]      -m: reduce the corpora first
# Any toolchain will do, with a C++ compiler; FUZZ_FEATURES=--no-default-features leaves the API's
# target out.
set -eu
cd "$(dirname "$0")/../fuzz"
seconds=60 reduce=
while getopts s:m option; do
  case $option in s) seconds=$OPTARG;; m) reduce=1;; *) exit 2;; esac
done
shift $((OPTIND - 1))
host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes, without the address sanitizer: all but one of our crates are safe code.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
 -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=16"
export RUSTFLAGS
# shellcheck disable=SC2086
cargo build --release --target "$host" ${FUZZ_FEATURES:-}
bin=${CARGO_TARGET_DIR:-target}/$host/release
if [ $# -eq 0 ]; then
  for file in fuzz_targets/*.rs; do
    name=$(basename "$file" .rs)
    if [ -x "$bin/$name" ]; then set -- "$@" "$name"; fi
  done
fi
failed=
for target in "$@"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  if [ -n "$reduce" ]; then
    mkdir -p "artifacts/reduced"
    "$bin/$target" -merge=1 -max_len=4096 "artifacts/reduced" "corpus/$target" >/dev/null 2>&1
    rm -rf "corpus/$target" && mv "artifacts/reduced" "corpus/$target"
  fi
  # Found inputs stay in a directory of their own: -m takes over what adds something.
  mkdir -p "artifacts/found/$target"
  printf '%s: ' "$target"
  if nice "$bin/$target" "artifacts/found/$target" "corpus/$target" -max_total_time="$seconds" \
      -max_len=4096 -timeout=10 -rss_limit_mb=1024 -artifact_prefix="artifacts/$target/" \
      -print_final_stats=1 >"artifacts/$target.log" 2>&1; then
    awk '$1 == "stat::number_of_executed_units:" { runs = $2 }
      $1 == "stat::average_exec_per_sec:" { printf "%d runs, %d a second\n", runs, $2 }' \
      "artifacts/$target.log"
  else
    echo FAILED; tail -20 "artifacts/$target.log"; failed="$failed $target"
  fi
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
