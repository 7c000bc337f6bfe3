#!/usr/bin/env bash
# JUnit on a JVM: test_jvm.sh [ABI]      ABI: x86_64 (default) or arm64-v8a
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
"$here/build_jvm.sh"
tests=$(cd "$BUILD/jvm/test" && find . -name '*Test.class' | sed 's|^\./||; s|/|.|g; s|\.class$||' | sort)
"$here/java.sh" "${1:-x86_64}" -Dgolden="${GOLDEN:-$here/../../tests/golden/preprocess}" \
    -Dgolden.video="$here/../../tests/golden/video" \
    ${MODELS:+-Dmodels="$MODELS"} org.junit.runner.JUnitCore $tests
