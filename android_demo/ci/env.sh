# Sourced by the scripts here: where the tools lie, what their parts are called, where the build goes.
TOOLS=${SEGEXPORT_ANDROID_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/segexport/android}
BUILD=${SEGEXPORT_ANDROID_BUILD:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/build/ci}
JSON_JAR=$TOOLS/junit/usr/share/java/com.android.json.jar
JUNIT_JARS=$TOOLS/junit/usr/share/java/junit4.jar:$TOOLS/junit/usr/share/java/hamcrest.jar
AAR=$TOOLS/ort/aar
# A compiler, the standard library and kotlinx.coroutines, as Jupyter's Kotlin kernel brings them.
KOTLIN_JARS=$(printf '%s:' "$TOOLS"/kotlin/kotlin-jupyter-kernel-*-all.jar "$TOOLS"/kotlin/kotlin-stdlib-*.jar "$TOOLS"/kotlin/annotations-*.jar)
ZIG=$TOOLS/zig/ziglang/zig
export ZIG
