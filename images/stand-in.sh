#!/usr/bin/env bash
# Makes a local stand-in for the public base image where no registry can be reached: the same Debian, its own
# python3.13, laid out as the public image is. What apt and pip of this machine are told goes for it, too.
#
#   images/stand-in.sh IMAGE        as root on Debian, with mmdebstrap and docker
set -euo pipefail
image=$1
suite=trixie

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Where this machine gets Debian from, whatever Debian it is itself.
uri_of() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" | head -n 1
}
debian=$(uri_of Debian)
security=$(uri_of Debian-Security)
[ -n "$debian" ] || { echo "apt knows no Debian mirror yet: apt-get update" >&2; exit 1; }
keys=/usr/share/keyrings/debian-archive-keyring.gpg
sources=("deb [signed-by=$keys] $debian $suite main" "deb [signed-by=$keys] $debian $suite-updates main")
[ -z "$security" ] || sources+=("deb [signed-by=$keys] $security $suite-security main")

# Where pip gets packages from; an authority of this machine's own is for pip alone and never in an image.
asked() { python3 -m pip config get "global.$1" 2>/dev/null || python3 -m pip config get ":env:.$1" 2>/dev/null; }
echo '[global]' >"$work/pip.conf"
for key in index-url extra-index-url trusted-host timeout; do
  if value=$(asked "$key"); then echo "$key = $value" >>"$work/pip.conf"; fi
done
if cert=$(asked cert); then
  cp "$cert" "$work/pip-ca.crt"
  echo 'cert = /etc/pip-ca.crt' >>"$work/pip.conf"
fi

cat >"$work/as-the-public-image" <<'SCRIPT'
set -e
cd "$1"
# Neither has bytecode, nor the mark that keeps pip away; both have python in /usr/local/bin.
find usr/lib -name '*.pyc' -delete
rm -f usr/lib/python3*/EXTERNALLY-MANAGED
for name in python python3 python3.13; do ln -s /usr/bin/python3.13 "usr/local/bin/$name"; done
rm -rf var/lib/apt/lists/* var/cache/apt/* var/log/*
SCRIPT

mmdebstrap --quiet --variant=minbase \
  --include=ca-certificates,netbase,tzdata,python3,python3-venv \
  --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook="sh $work/as-the-public-image \"\$1\"" \
  --customize-hook="for file in $work/pip.conf $work/pip-ca.crt; do [ ! -e \$file ] || cp \$file \"\$1/etc/\"; done" \
  "$suite" "$work/root.tar" "${sources[@]}"
docker import --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'CMD ["python3"]' "$work/root.tar" "$image" >/dev/null
