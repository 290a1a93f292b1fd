# Copies what distroless' python3 image is made of: whole packages, python's and those it depends on, no more.
set -eu
packages="base-files ca-certificates libbz2-1.0 libc6 libcrypt1 libdb5.3t64 libexpat1 libffi8 libgcc-s1 liblzma5
  libncursesw6 libnsl2 libpython3.13-minimal libpython3.13-stdlib libreadline8t64 libsqlite3-0 libssl3t64
  libstdc++6 libtinfo6 libtirpc3t64 libuuid1 libzstd1 media-types netbase openssl python3.13 python3.13-minimal
  tzdata zlib1g"
mkdir "$1"
for package in $packages; do
  dpkg-query --show "$package" >/dev/null 2>&1 || continue
  dpkg-query --listfiles "$package" | while read -r path; do
    if [ -f "$path" ] || [ -L "$path" ]; then echo "$path"; fi
  done
done | sort -u | tar --create --no-recursion --files-from - | tar --extract --directory "$1"
for name in lib lib64; do [ -L "$1/$name" ] || ln -s "usr/$name" "$1/$name"; done
cp -a /etc/ssl/certs "$1/etc/ssl/"
mkdir -p "$1/usr/local/bin" && cp -a /usr/local/bin/python3* "$1/usr/local/bin/"
python3 -m compileall -q --invalidation-mode unchecked-hash -s "$1" -p / "$1/usr/lib/python3.13"
