#!/usr/bin/env bash
# Compiles the module for coroutines for a JVM: build_kotlin.sh CLASSPATH OUT [tests]
# CLASSPATH: core's classes; for the tests, those of build_jvm.sh too. Needs: fetch_tools.sh junit kotlin
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
. "$here/versions.sh"
cd "$here/.."
sources=(coroutines/src/main/kotlin)
[ "${3:-}" != tests ] || sources+=(coroutines/src/test/kotlin)
mkdir -p "$2"
# The language of the version that Gradle compiles with, so that an app with that version can read the classes.
java -Xmx1g -cp "$KOTLIN_JARS" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -no-stdlib -no-reflect -jvm-target 1.8 -Werror \
    -language-version "${KOTLIN%.*}" -api-version "${KOTLIN%.*}" -Xsuppress-version-warnings \
    -module-name segexport-coroutines -cp "$1:$JUNIT_JARS:$KOTLIN_JARS" -d "$2" "${sources[@]}"
