#!/usr/bin/env bash
# Builds Android's C library names on top of glibc, so that the AAR's libraries load into a desktop's JVM.
#   build.sh ABI OUT_DIR        ABI: x86_64 or arm64-v8a
# Leaves libc.so, libm.so, libdl.so, liblog.so and libandroid.so in OUT_DIR. ZIG: the zig compiler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
abi=$1 out=$2
case $abi in
    x86_64) target=x86_64-linux-gnu.2.34 jump=jmp suffix=@PLT ;;
    arm64-v8a) target=aarch64-linux-gnu.2.34 jump=b suffix= ;;
    *) echo "build.sh: no ABI $abi" >&2; exit 2 ;;
esac
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() { "$ZIG" cc -target "$target" -O2 -g0 -shared -fPIC -fno-sanitize=all -fno-builtin "$@"; }

echo 'LIBC { global: *; };' > "$work/versions"
while read -r name; do
    printf '.globl to_%s\n.type to_%s, STT_FUNC\nto_%s: %s %s%s\n.symver to_%s, %s@LIBC\n' \
        "$name" "$name" "$name" "$jump" "$name" "$suffix" "$name" "$name"
done < "$here/forward.txt" > "$work/forward.S"
echo 'int android_has_this_library_too;' > "$work/empty.c"

compile -Wl,-soname,libc.so -Wl,--version-script="$work/versions" -o "$out/libc.so" \
    "$here/adapters.c" "$work/forward.S" -lm -ldl -lpthread
if readelf -rW "$out/libc.so" | grep 'JU\?MP_SLOT.*@LIBC'; then
    echo "build.sh: glibc has no such function, the forwarding would call itself; it needs an adapter" >&2
    exit 1
fi
compile -Wl,-soname,liblog.so -o "$out/liblog.so" "$here/log.c"
for name in libm libdl libandroid; do
    compile -Wl,-soname,$name.so -Wl,--version-script="$work/versions" -o "$out/$name.so" "$work/empty.c"
done
