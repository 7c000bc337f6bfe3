#!/usr/bin/env bash
# Compiles core, the backends, what of the app is plain Java, and their tests for a desktop's JVM, into $BUILD/jvm.
# Needs: fetch_tools.sh junit ort
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
cd "$here/.."
out=$BUILD/jvm
rm -rf "$out" && mkdir -p "$out"/{main,test,stub,android}
compile() { javac --release 8 -encoding UTF-8 -Werror -Xlint:all,-options,-path,-classfile "$@"; }
sources() { find "$@" -name '*.java'; }
compile -d "$out/stub" $(sources {lite,litert,mnn}/src/stub)
compile -d "$out/main" -cp "$JSON_JAR:$AAR/classes.jar:$out/stub" \
    $(sources {core,ort,lite,litert,mnn,ncnn}/src/main app/src/main/java/dev/segexport/demo/work)
# The camera of the app: against the API's stubs, and run against doubles of it in app/src/test
compile -nowarn -Xlint:none -d "$out/android" $(sources ci/stubs)
compile -d "$out/main" -cp "$out/main:$out/android" app/src/main/java/dev/segexport/demo/LiveCamera.java
compile -d "$out/test" -cp "$out/main:$JSON_JAR:$AAR/classes.jar:$JUNIT_JARS" \
    $(sources core/src/testFixtures {core,ort,lite,litert,mnn,ncnn,app}/src/test ort/src/desktop)
