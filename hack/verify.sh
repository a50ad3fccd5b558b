#!/usr/bin/env bash
# Checks that what is generated is up to date and that the code is formatted, then lints. It compares before
# and after, so it can be run with uncommitted work; in a clean clone that is the same as `git diff`.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
complain() {
  echo "verify: $*" >&2
  failed=1
}

# unchanged TARGET PATH...: regenerates, and complains when that changes a file.
unchanged() {
  local target=$1 before after
  shift
  before=$(find "$@" -type f -print0 2>/dev/null | sort -z | xargs -0r sha256sum)
  make --no-print-directory "$target" >/dev/null
  after=$(find "$@" -type f -print0 2>/dev/null | sort -z | xargs -0r sha256sum)
  if [ "$before" != "$after" ]; then
    { diff <(echo "$before") <(echo "$after") || true; } | sed -n 's/^[<>] [0-9a-f]*  /  /p' | sort -u >&2
    complain "the files above were not up to date; they are now: look at them, and commit them ('make $target')"
  fi
}

unchanged generate api
unchanged manifests config/crd/bases config/rbac
unchanged chart charts
unchanged docs docs/api.md
unchanged fmt api cmd controllers devzone internal test hack

for module in . devzone test hack/tools{,/helm,/lint} hack/kubernetes/{controlplane,etcd,containerd,kuberouter} hack/gitops; do
  (cd "$module" && go mod tidy -diff >/dev/null) || complain "go.mod or go.sum in $module is not tidy: run 'go mod tidy' there"
done

while IFS= read -r file; do
  head -n 2 "$file" | cmp -s - hack/boilerplate.go.txt || complain "$file does not begin with the two lines of hack/boilerplate.go.txt"
done < <(find api cmd controllers devzone hack internal test -name '*.go' ! -name 'zz_generated.*')

for crd in config/crd/bases/*.yaml; do
  [ "$(wc -c <"$crd")" -lt 65536 ] || complain "$crd is over 64 KB: it has to fit into an annotation, with room to spare"
  ! grep -qE '^ +default:' "$crd" || complain "$crd has a default: GitOps tools would see drift. Resolve defaults in code"
done

[ "$failed" -eq 0 ] || exit 1
make --no-print-directory lint lint-api
echo "verify: all is well"
