#!/usr/bin/env bash
# Builds the operator's images from the Dockerfile with buildah, without a registry, and checks them: image.sh VERSION.
# The builder image is made of this machine's Go and Debian's busybox-static, under the name that the Dockerfile has.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
revision=$(git rev-parse HEAD)
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
made=$c

# build ARCH TAG: some versions of buildah look for the builder by the platform that is built, whatever FROM says.
build() {
  b config --arch "$1" "$made" && b commit --quiet "$made" "docker.io/library/$builder" >/dev/null
  b bud --quiet --pull-never --timestamp "$(git log -1 --format=%ct)" --platform "linux/$1" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --tag "$2" . >/dev/null
}

# check ARCH MACHINE: what holds for each platform. MACHINE is the number that ELF has for it.
check() {
  local size files labels
  build "$1" "operator-$1"
  c=$(b from --pull-never "localhost/operator-$1")
  root=$(b mount "$c")
  files=$(cd "$root" && find . -type f | sort | xargs)
  [ "$files" = "./etc/passwd ./etc/ssl/certs/ca-certificates.crt ./operator" ] || fail "$1 has other files than expected: $files"
  [ "$(od -An -tu2 -j18 -N2 "$root/operator" | xargs)" = "$2" ] || fail "the program of $1 is for another machine"
  size=$(du -sm "$root" | cut -f1)
  ((size < 60)) || fail "$1 has $size MB"
  [ "$(b inspect --format '{{.OCIv1.Architecture}} {{.OCIv1.Config.User}}' "$c")" = "$1 65532:65532" ] || fail "$1 is not of that architecture, or does not run as 65532"
  labels=$(b inspect --format '{{index .OCIv1.Config.Labels "org.opencontainers.image.version"}} {{index .OCIv1.Config.Labels "org.opencontainers.image.revision"}}' "$c")
  [ "$labels" = "$version $revision" ] || fail "$1 is labelled $labels"
  echo "image: $1, $size MB, user 65532"
}

check arm64 183
check amd64 62
# Another folder and another cache give the same program, and another build the same image.
CGO_ENABLED=0 GOARCH=amd64 go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=$version" -o "$work/operator" ./cmd/operator
cmp "$work/operator" "$root/operator" || fail "the program is not reproducible"
digest() { b inspect --type image --format '{{.FromImageDigest}}' "localhost/$1"; }
build amd64 again
[ "$(digest again)" = "$(digest operator-amd64)" ] || fail "the image is not reproducible"
# There is no loader and no library in it: a program that runs is static. It needs no root, and none that it can write to.
# shellcheck disable=SC2016 # the inner shell expands it
unshare --mount sh -ec 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"
  if touch "$1/file" 2>/dev/null; then exit 1; fi; exec chroot --userspec=65532:65532 "$1" /operator --version' sh "$root"
echo "image: reproducible ($(digest again)), static, runs on a read-only root"
