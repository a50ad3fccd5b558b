#!/usr/bin/env bash
# Fuzzes every fuzz target of the modules, one after the other: go test takes one at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: hack/fuzz.sh DURATION}

grep -rl --include='*_test.go' '^func Fuzz' api cmd controllers devzone internal test | sort | while read -r file; do
  grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | cut -d' ' -f2 | while read -r target; do
    echo "fuzzing $(dirname "$file") $target for $time"
    go test -C "$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time" . </dev/null
  done
done
