#!/usr/bin/env bash
# Builds the operator's image from the Dockerfile with buildah, without a registry, and checks it: image.sh VERSION.
# The builder image is made of this machine's Go and Debian's busybox-static, under the name that the Dockerfile has.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
export BUILDAH_ISOLATION=chroot
work=$(mktemp -d)
b() { buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"; }
trap 'b rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
fail() {
  echo "image: $*" >&2
  exit 1
}

builder=$(sed -n 's/^FROM .* \(golang:[^ ]*\) AS build$/\1/p' Dockerfile)
[ "golang:$(go env GOVERSION | sed 's/^go//')" = "$builder" ] || fail "the Dockerfile builds with $builder, this machine has $(go env GOVERSION)"
c=$(b from scratch)
root=$(b mount "$c")
mkdir -p "$root"/{bin,dev,proc,sys,root,go,usr/local,etc/ssl/certs} && mkdir -m 1777 "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do ln -sf busybox "$root/bin/$applet.tmp" && mv -n "$root/bin/$applet.tmp" "$root/bin/$applet"; done
rm -f "$root"/bin/*.tmp
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
cp -a "$(go env GOROOT)" "$root/usr/local/go"
b umount "$c" >/dev/null
b config --env PATH=/usr/local/go/bin:/bin --env GOPATH=/go --env GOTOOLCHAIN=local "$c"
b commit --quiet --rm "$c" "docker.io/library/$builder" >/dev/null

b bud --quiet --pull-never --timestamp "$(git log -1 --format=%ct)" --platform linux/amd64 --build-arg "VERSION=$version" --tag operator .
c=$(b from --pull-never localhost/operator)
root=$(b mount "$c")
# Another folder and another cache give the same program.
CGO_ENABLED=0 GOARCH=amd64 go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=$version" -o "$work/operator" ./cmd/operator
cmp "$work/operator" "$root/operator" || fail "the program is not reproducible"
files=$(cd "$root" && find . -type f | sort | xargs)
[ "$files" = "./etc/passwd ./etc/ssl/certs/ca-certificates.crt ./operator" ] || fail "it has other files than expected: $files"
size=$(du -sm "$root" | cut -f1)
((size < 60)) || fail "it has $size MB"
[ "$(b inspect --format '{{.OCIv1.Config.User}}' "$c")" = 65532:65532 ] || fail "it does not run as 65532"
# There is no loader and no library in it: a program that runs is static.
b run --user 65532:65532 "$c" /operator --version
echo "image: $size MB, reproducible, static, user 65532"
