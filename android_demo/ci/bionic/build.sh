#!/usr/bin/env bash
# Builds Android's C library names on top of glibc, so that the AAR's libraries load into a desktop's JVM.
#   build.sh ABI OUT_DIR        ABI: x86_64 or arm64-v8a
# Leaves libc.so, libm.so, libdl.so, liblog.so and libandroid.so in OUT_DIR. ZIG: the zig compiler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
abi=$1 out=$2
case $abi in
    x86_64) target=x86_64-linux-gnu.2.34 jump=jmp suffix=@PLT flags= ;;
    # With lse, atomics are instructions. As calls they link zig's compiler_rt, whose own memcpy and fmod then take the
    # place of glibc's, and the forwarding calls itself.
    arm64-v8a) target=aarch64-linux-gnu.2.34 jump=b suffix= flags=-mcpu=generic+lse ;;
    *) echo "build.sh: no ABI $abi" >&2; exit 2 ;;
esac
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A cache of its own: that of another zig on this machine may hold the same objects for other libraries.
export ZIG_GLOBAL_CACHE_DIR=${ZIG_GLOBAL_CACHE_DIR:-$(dirname "$(dirname "$ZIG")")-cache}
export ZIG_LOCAL_CACHE_DIR=$work/cache
compile() { "$ZIG" cc -target "$target" $flags -O2 -g0 -shared -fPIC -fno-sanitize=all -fno-builtin "$@"; }

# Exactly the names of Android's library: whatever else is linked in stays inside.
names=$(cat "$here/forward.txt" && sed -n 's/^ *BIONIC(\([^)]*\)).*/\1/p' "$here/adapters.c" | grep -vx name)
echo "LIBC { global: $(printf '%s; ' $names) local: *; };" > "$work/versions"
echo 'LIBC { global: *; };' > "$work/any"
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
    compile -Wl,-soname,$name.so -Wl,--version-script="$work/any" -o "$out/$name.so" "$work/empty.c"
done
