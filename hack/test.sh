#!/usr/bin/env bash
# Runs tests of all modules and prints what the go command says in JSON: gotestsum makes one report of it. Usage:
#   hack/test.sh all|unit [FLAG...]
# "unit" leaves out what needs a control plane or a browser. MODULES and PACKAGES narrow it down.
#
# What has many goroutines of ours runs with the race detector. The rest is built as programs are, so that the go command
# compiles the libraries of the tests and of the programs that they start once.
set -euo pipefail
cd "$(dirname "$0")/.."
set=$1
shift

# raced PACKAGE reports whether a package, without the operator's path, runs with the race detector.
raced() {
  case $1 in
    internal/refresh) return 1 ;; # a pure function, a million times
    test/integration/binding | test/integration/install) return 1 ;; # reconcilers, one step at a time
    test/integration/*) return 0 ;;
    test/*) return 1 ;; # they start programs
  esac
}

# unit PACKAGE reports whether a package needs neither a control plane nor a browser.
unit() {
  case $1 in
    test/demo | test/house | test/sbom | test/testenv/*) return 0 ;;
    test/*) return 1 ;;
  esac
}

failed=0
for module in ${MODULES:-. devzone test}; do
  plain=() race=()
  for package in $(cd "$module" && go list "${PACKAGES:-./...}"); do
    name=${package#github.com/keycardai/keycard-operator/}
    if [ "$set" = unit ]; then
      ! unit "$name" || plain+=("$package")
    elif raced "$name"; then
      race+=("$package")
    else
      plain+=("$package")
    fi
  done
  # Tests wait for servers and for time to pass: more packages at once than there are processors keep these busy.
  run=(go test -C "$module" -json -p 4 -parallel 6 -timeout 20m)
  [ ${#race[@]} -eq 0 ] || "${run[@]}" -race "$@" "${race[@]}" || failed=1
  [ ${#plain[@]} -eq 0 ] || CGO_ENABLED=0 GOFLAGS="$(go env GOFLAGS) -trimpath" "${run[@]}" "$@" "${plain[@]}" || failed=1
done
exit $failed
