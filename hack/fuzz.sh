#!/usr/bin/env bash
# Fuzzes every fuzz target of the module, one after the other: go test takes one at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: hack/fuzz.sh DURATION}

grep -rl --include='*_test.go' '^func Fuzz' api cmd controllers internal test | sort | while read -r file; do
  grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | cut -d' ' -f2 | while read -r target; do
    echo "fuzzing $(dirname "$file") $target for $time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")" </dev/null
  done
done
