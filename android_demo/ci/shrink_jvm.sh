#!/usr/bin/env bash
# Shrinks the AARs of build_aar.sh as an app's build does, by R8 and the rules that they bring, into a jar for the JVM:
#   shrink_jvm.sh MAVEN OUT.jar MAIN [RULES]
# MAVEN: that folder. MAIN: the test class whose main is kept. RULES=none: without the AARs' rules. Needs: build_jvm.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
. "$here/modules.sh"
maven=$1 out=$2 main=$3
"$here/fetch_tools.sh" apk junit ort
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "-keep class $main { public static void main(java.lang.String[]); }" > "$work/main.pro"
inputs=() rules=(--pg-conf "$work/main.pro")
for aar in $(find "$maven" -name '*.aar' ! -name '*-coroutines-*' | sort); do # without what needs Kotlin
    name=$(basename "$aar" .aar)
    unzip -qo "$aar" classes.jar proguard.txt -d "$work/$name"
    inputs+=("$work/$name/classes.jar")
    [ "${4:-}" = none ] || rules+=(--pg-conf "$work/$name/proguard.txt")
done
[ "${4:-}" != none ] || { echo "-dontwarn **" > "$work/quiet.pro"; rules+=(--pg-conf "$work/quiet.pro"); }
class=${main//.//}
mkdir -p "$work/app/$(dirname "$class")"
cp "$BUILD/jvm/test/$class"*.class "$work/app/$(dirname "$class")/"
jar --create --file "$work/app.jar" -C "$work/app" .
jar --create --file "$work/android.jar" -C "$BUILD/jvm/android" .
java -Xmx2g -cp "$TOOLS/apk/d8.jar" com.android.tools.r8.R8 --classfile --release --output "$out" "${rules[@]}" \
    --lib "$(java8_api "$work")" --lib "$work/android.jar" --lib "$JSON_JAR" "$work/app.jar" "${inputs[@]}" "$AAR/classes.jar"
