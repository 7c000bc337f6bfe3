#!/usr/bin/env bash
# Runs Java with the classes of build_jvm.sh and the AAR's own Android libraries, unchanged.
#   java.sh ABI ARGUMENT...      ABI: x86_64 (this machine's JVM) or arm64-v8a (a JVM for arm64 in qemu-user)
# Needs: fetch_tools.sh junit ort zig, and arm64 for arm64-v8a. CLASSES: a classpath in place of build_jvm.sh's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
abi=$1
shift
native=$BUILD/native/$abi
if [ ! -e "$native/libonnxruntime.so" ]; then
    part=$(mktemp -d)
    "$here/bionic/build.sh" "$abi" "$part"
    mkdir -p "$native"
    cp "$part"/*.so "$AAR/jni/$abi"/*.so "$native/"
    rm -rf "$part"
fi
options=(-Donnxruntime.native.path="$native" -Djava.awt.headless=true
    -cp "${CLASSES:-$BUILD/jvm/test:$BUILD/jvm/main:$AAR/classes.jar}:$JSON_JAR:$JUNIT_JARS")
case $abi in
    x86_64) LD_LIBRARY_PATH=$native exec java "${options[@]}" "$@" ;;
    arm64-v8a)
        root=$TOOLS/arm64
        exec "$root/usr/bin/qemu-aarch64-static" -L "$root" \
            -E LD_LIBRARY_PATH="$root/lib/aarch64-linux-gnu:$root/usr/lib/aarch64-linux-gnu:$native" \
            "$root/usr/lib/jvm/java-17-openjdk-arm64/bin/java" "${options[@]}" "$@" ;;
esac
