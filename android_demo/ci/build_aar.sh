#!/usr/bin/env bash
# Builds the library's modules as AARs, in a folder that is a Maven repository, without Google's SDK and without Gradle.
#   build_aar.sh [OUT]      OUT: default $BUILD/maven
# A module that has libraries in src/main/jniLibs packs them. Fetches the tools that it needs (fetch_tools.sh).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
. "$here/versions.sh"
. "$here/modules.sh"
cd "$here/.."
out=$(realpath -m "${1:-$BUILD/maven}")
"$here/fetch_tools.sh" junit ort kotlin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

dependency() { # GROUP ARTIFACT VERSION [SCOPE [TYPE]]
    printf '    <dependency>\n      <groupId>%s</groupId>\n      <artifactId>%s</artifactId>\n      <version>%s</version>\n' "$1" "$2" "$3"
    [ -z "${5:-}" ] || printf '      <type>%s</type>\n' "$5"
    printf '      <scope>%s</scope>\n    </dependency>\n' "${4:-compile}"
}

dependencies() { # MODULE: as in its build.gradle
    [ "$1" = core ] || dependency "$GROUP" "$(artifact_of core)" "$VERSION_NAME" compile aar
    case $1 in
        ort) dependency com.microsoft.onnxruntime onnxruntime-android "$ONNXRUNTIME" runtime aar ;;
        litert) dependency com.google.ai.edge.litert litert "$LITERT" runtime aar ;;
        coroutines)
            dependency org.jetbrains.kotlinx kotlinx-coroutines-core "$COROUTINES"
            dependency org.jetbrains.kotlin kotlin-stdlib "$KOTLIN" ;;
    esac
}

pom() { # MODULE
    cat << END
<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>$GROUP</groupId>
  <artifactId>$(artifact_of "$1")</artifactId>
  <version>$VERSION_NAME</version>
  <packaging>aar</packaging>
  <licenses>
    <license>
      <name>Apache-2.0</name>
      <url>https://www.apache.org/licenses/LICENSE-2.0</url>
    </license>
  </licenses>
  <dependencies>
$(dependencies "$1")
  </dependencies>
</project>
END
}

pack() { # FOLDER FILE: a zip whose bytes depend on the folder's files alone
    same_bytes "$1"
    (cd "$1" && find . -type f | sed 's|^\./||' | LC_ALL=C sort | TZ=UTC zip -qX9 -@ "$2")
}

classpath=$JSON_JAR
for module in core $BACKENDS coroutines; do
    content=$work/$module
    mkdir -p "$content/META-INF/com/android/build/gradle" "$work/$module-classes"
    case $module in
        core) compile -d "$work/core-classes" -cp "$classpath" $(java_of core/src/main/java) ;;
        coroutines) "$here/build_kotlin.sh" "$classpath" "$work/coroutines-classes" ;;
        *) compile -d "$work/$module-classes" -cp "$classpath:$(runtime_jar "$module" "$work")" $(java_of "$module/src/main/java") ;;
    esac
    pack "$work/$module-classes" "$content/classes.jar"
    [ "$module" = core ] && classpath=$classpath:$content/classes.jar
    cat > "$content/AndroidManifest.xml" << END
<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="$GROUP.$module">
    <uses-sdk android:minSdkVersion="$MIN_SDK" />
</manifest>
END
    : > "$content/R.txt" # no resources
    cp "$module/consumer-rules.pro" "$content/proguard.txt"
    printf '%s\n' aarFormatVersion=1.0 aarMetadataVersion=1.0 minCompileSdk=1 minCompileSdkExtension=0 \
        minAndroidGradlePluginVersion=1.0.0 coreLibraryDesugaringEnabled=false \
        > "$content/META-INF/com/android/build/gradle/aar-metadata.properties"
    if [ -d "$module/src/main/jniLibs" ]; then
        cp -r "$module/src/main/jniLibs" "$content/jni"
        for abi in "$content/jni"/*; do native_methods "$module" "$(basename "$abi")" "$abi"; done
    fi
    [ ! -d "$module/src/main/assets" ] || cp -r "$module/src/main/assets" "$content/assets"
    official=$(official_jar "$module")
    [ -z "$official" ] || [ ! -e "$official" ] || { mkdir "$content/libs" && cp "$official" "$content/libs/"; }

    artifact=$(artifact_of "$module")
    place=$out/${GROUP//.//}/$artifact/$VERSION_NAME
    name=$artifact-$VERSION_NAME
    rm -rf "$place" && mkdir -p "$place"
    pack "$content" "$place/$name.aar"
    pom "$module" > "$place/$name.pom"
    mkdir "$work/$module-sources"
    for language in java kotlin; do
        [ ! -d "$module/src/main/$language" ] || cp -r "$module/src/main/$language/." "$work/$module-sources"
    done
    pack "$work/$module-sources" "$place/$name-sources.jar"
    echo "$place/$name.aar: $(stat -c %s "$place/$name.aar") bytes"
done
