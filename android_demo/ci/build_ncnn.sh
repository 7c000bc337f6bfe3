#!/usr/bin/env bash
# Compiles the native methods of the module ncnn, against the headers of ncnn's sources.
#   build_ncnn.sh arm64-v8a|armeabi-v7a|x86_64|x86 OUT      OUT/libsegexport_ncnn.so for Android, which needs a libncnn.so
#   build_ncnn.sh jvm OUT                                   for this machine's JVM, with ncnn itself; needs cmake and g++
# Needs: fetch_tools.sh ncnn, and zig for Android.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
abi=$1 out=$2 source=$(realpath "$here/../ncnn/src/main/cpp/segexport_ncnn.c") ncnn=$TOOLS/ncnn
jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
options=(-std=c11 -O2 -Wall -Wextra -Wno-attributes -Werror -fPIC -fvisibility=hidden
    -I"$jdk/include" -I"$jdk/include/linux" -I"$ncnn/src")

if [ "$abi" = jvm ]; then # a few layers, for plain x86, hardly optimized: minutes instead of an hour
    layers=" BinaryOp Cast Clip Concat Convolution ConvolutionDepthWise Flatten InnerProduct Input Interp Packing Padding Pooling ReLU Split "
    without=()
    for layer in $(grep -oE '^ncnn_add_layer\(\w+' "$ncnn/src/CMakeLists.txt" | cut -d'(' -f2); do
        [[ $layers == *" $layer "* ]] || without+=("-DWITH_LAYER_$(echo "$layer" | tr '[:upper:]' '[:lower:]')=OFF")
    done
    for feature in VULKAN RUNTIME_CPU AVX AVX2 FMA F16C AVX512 XOP BUILD_TOOLS BUILD_EXAMPLES BUILD_BENCHMARK BUILD_TESTS PYTHON \
        PIXEL SIMPLEOCV OPENMP; do without+=("-DNCNN_$feature=OFF"); done
    cmake -S "$ncnn" -B "$work/ncnn" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DNCNN_INT8=OFF -DNCNN_SHARED_LIB=ON "${without[@]}" > "$work/cmake.log"
    cmake --build "$work/ncnn" --target ncnn -j "${JOBS:-2}" > "$work/build.log" 2>&1 || { tail -20 "$work/build.log" >&2; exit 1; }
    cp -P "$work/ncnn/src"/libncnn.so* "$out/"
    cc -shared "${options[@]}" -I"$work/ncnn/src" -o "$out/libsegexport_ncnn.so" "$source" -L"$out" -lncnn -Wl,-rpath,'$ORIGIN'
    exit
fi

case $abi in
    arm64-v8a) target=aarch64-linux-musl ;;
    armeabi-v7a) target=arm-linux-musleabi ;;
    x86_64) target=x86_64-linux-musl ;;
    x86) target=x86-linux-musl ;;
    *) echo "build_ncnn.sh: no ABI $abi" >&2; exit 2 ;;
esac
# What ncnn's cmake would write. The library's build may differ; these functions are the same in all that have a C API.
echo '#define NCNN_EXPORT' > "$work/ncnn_export.h"
sed -E 's/^#cmakedefine01 (NCNN_(STDIO|STRING|C_API|THREADS))$/#define \1 1/; s/^#cmakedefine01 (\w+)$/#define \1 0/; /^#cmakedefine /d' \
    "$ncnn/src/platform.h.in" > "$work/platform.h"
zig() { ZIG_GLOBAL_CACHE_DIR=$TOOLS/zig-cache ZIG_LOCAL_CACHE_DIR=$work/cache "$ZIG" cc -target "$target" -g0 "$@"; }
echo 'void ncnn_stands_for_the_library(void) {}' > "$work/empty.c"
zig -shared -nostdlib -Wl,-soname,libncnn.so -o "$work/libncnn.so" "$work/empty.c"
# Nothing of a C library is linked in: what little is used comes with libncnn.so, from Android's own.
zig "${options[@]}" -fno-stack-protector -fno-sanitize=all -I"$work" -c -o "$work/methods.o" "$source"
zig -shared -nostdlib -s -o "$out/libsegexport_ncnn.so" "$work/methods.o" "$work/libncnn.so" -Wl,-soname,libsegexport_ncnn.so \
    -Wl,-z,max-page-size=16384 -Wl,--allow-shlib-undefined -Wl,-z,undefs
