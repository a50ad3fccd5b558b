#!/usr/bin/env bash
# Installs the programs that tests run besides Go's, where they are missing: as root on Debian or its kin. Elsewhere it names
# them, and the tests say what they leave out. Usage: hack/programs.sh tests|e2e|image...
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

# What each set runs, as program=package; "python3 requests" is a module of Python's.
declare -A sets=(
  [tests]="chromium=chromium curl=curl node=nodejs python3=python3 requests=python3-requests"
  [e2e]="curl=curl node=nodejs python3=python3 requests=python3-requests runc=runc ip=iproute2 nft=nftables iptables=iptables ipset=ipset"
  [image]="buildah=buildah busybox=busybox-static"
)

# there PROGRAM tells whether a program is installed.
there() {
  case $1 in
    requests) python3 -c 'import requests' 2>/dev/null ;;
    chromium) type -P "${CHROMIUM:-chromium}" >/dev/null ;;
    *) type -P "$1" >/dev/null ;;
  esac
}

[ $# -gt 0 ] || { echo "usage: hack/programs.sh ${!sets[*]}" >&2; exit 2; }
missing=()
for set in "$@"; do
  for pair in ${sets[$set]:?"there is no set $set; there are: ${!sets[*]}"}; do
    there "${pair%%=*}" || missing+=("${pair#*=}")
  done
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! type -P apt-get >/dev/null; then
  echo "hack/programs.sh: missing: ${missing[*]} (the names are Debian's packages)" >&2
  exit 0
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
