#!/usr/bin/env bash
# Builds a signed, aligned APK without Google's SDK and without Gradle.
#   build_apk.sh FLAVOUR [OUT.apk]      FLAVOUR: ort, lite, litert, mnn, ncnn or full (all runtimes)
# Models come from app/src/main/assets/model (`segexport android` writes them). ABIS: default arm64-v8a; KEYSTORE,
# KEYSTORE_PASSWORD: default is a debug key that is made once. SHRINK=1: R8 removes and renames what it can, by the
# modules' consumer-rules.pro. Fetches the tools that it needs (fetch_tools.sh).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
. "$here/versions.sh"
. "$here/modules.sh"
cd "$here/.."
flavour=${1:-ort}
abis=${ABIS:-arm64-v8a}
case $flavour in
    ort | lite | litert | mnn | ncnn) modules="core $flavour" ;;
    full) modules="core ort lite litert mnn ncnn" ;;
    *) echo "build_apk.sh: no flavour $flavour; there are ort, lite, litert, mnn, ncnn and full" >&2; exit 2 ;;
esac
mkdir -p "$BUILD"
out=$(realpath -m "${2:-$BUILD/segexport-$flavour.apk}")
"$here/fetch_tools.sh" apk junit ort

apk=$TOOLS/apk
zipalign() { # wants the libraries that came with it
    LD_LIBRARY_PATH=$apk/usr/lib/x86_64-linux-gnu/android:$apk/usr/lib/x86_64-linux-gnu:$apk/lib/x86_64-linux-gnu:$apk/usr/lib:$apk/usr/lib/p7zip \
        "$apk/usr/lib/android-sdk/build-tools/debian/zipalign" "$@"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{stubs,generated,classes,dex,assets/model}
started=$SECONDS

echo "resources"
"$apk/aapt2_64" compile --dir app/src/main/res -o "$work/resources.zip"
assets=app/src/main/assets
[ -d "$assets" ] || { assets=$work/assets; echo "  no model in app/src/main/assets/model: the app will say so"; }
# Gradle adds the package as well
sed "s/<manifest /&package=\"$APPLICATION_ID\" /" app/src/main/AndroidManifest.xml > "$work/AndroidManifest.xml"
# Resources of API 34, the newest that a package has; its own manifest still says 6.0
"$apk/aapt2_64" link -o "$work/app.apk" -I "$apk/android-framework.jar" --compile-sdk-version-code 34 --compile-sdk-version-name 14 \
    --manifest "$work/AndroidManifest.xml" --min-sdk-version "$MIN_SDK" --target-sdk-version "$TARGET_SDK" --version-code "$VERSION_CODE" \
    --version-name "$VERSION_NAME" --java "$work/generated" --proguard "$work/rules.pro" -A "$assets" -0 .onnx -0 .nb -0 .tflite --auto-add-overlay \
    "$work/resources.zip"

echo "classes"
compile -d "$work/stubs" $(java_of ci/stubs)
runtimes=$AAR/classes.jar
packaged=("$work/classes.jar")
keep=(app/proguard-rules.pro core/consumer-rules.pro)
for module in ${modules#core}; do
    runtime=$(runtime_jar "$module" "$work")
    keep+=("$module/consumer-rules.pro")
    [ -n "$runtime" ] || continue
    runtimes=$runtimes:$runtime
    case $runtime in *-stub.jar) ;; *) packaged+=("$runtime") ;; esac
done
compile -d "$work/classes" -cp "$work/stubs:$JSON_JAR:$runtimes" \
    $(java_of $(printf '%s/src/main/java ' $modules) app/src/main/java "$work/generated")
jar --create --file "$work/classes.jar" -C "$work/classes" .
jar --create --file "$work/stubs.jar" -C "$work/stubs" .
jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
to_dex() { java -Xmx2g -cp "$apk/d8.jar" "com.android.tools.r8.$1" --release --min-api "$MIN_SDK" --output "$work/dex" "${@:2}"; }
if [ "${SHRINK:-}" = 1 ]; then
    rules=()
    for file in "$work/rules.pro" "${keep[@]}"; do rules+=(--pg-conf "$file"); done
    mkdir -p "$(dirname "$out")"
    to_dex R8 --pg-map-output "${out%.apk}.mapping.txt" "${rules[@]}" --lib "$(java8_api "$work")" --lib "$work/stubs.jar" \
        --lib "$JSON_JAR" "${packaged[@]}"
else
    onto=()
    for runtime in ${runtimes//:/ }; do onto+=(--classpath "$runtime"); done
    to_dex D8 --lib "$jdk" --lib "$work/stubs.jar" --classpath "$JSON_JAR" "${onto[@]}" "${packaged[@]}"
fi

echo "libraries"
for abi in $abis; do
    mkdir -p "$work/lib/$abi"
    case $modules in *ort*) cp "$AAR/jni/$abi"/*.so "$work/lib/$abi/" ;; esac
    for module in $modules; do
        title=$(runtime_title "$module")
        [ -n "$title" ] || continue
        if [ -d "$module/src/main/jniLibs/$abi" ]; then
            cp "$module/src/main/jniLibs/$abi"/*.so "$work/lib/$abi/"
            native_methods "$module" "$abi" "$work/lib/$abi"
        else
            echo "  no $title library for $abi in $module/src/main/jniLibs: the app will say that it is missing"
        fi
    done
done

echo "package"
same_bytes "$work/dex"
same_bytes "$work/lib"
(cd "$work/dex" && TZ=UTC zip -qX9 "$work/app.apk" classes*.dex)
(cd "$work" && find lib -name '*.so' | sort | TZ=UTC xargs -r zip -qX0 app.apk)
zipalign -f 16384 "$work/app.apk" "$work/aligned.apk" # 16 KB pages, which Android 15 may have
keystore=${KEYSTORE:-$BUILD/debug.p12} password=${KEYSTORE_PASSWORD:-android}
if [ ! -e "$keystore" ]; then
    keytool -genkeypair -keystore "$keystore" -storetype PKCS12 -storepass "$password" -alias debug \
        -keyalg RSA -keysize 2048 -validity 10000 -dname CN=debug > /dev/null
fi
apksigner() { java -jar "$apk/usr/share/java/apksigner.jar" "$@"; }
export KEYSTORE_PASSWORD=$password
apksigner sign --ks "$keystore" --ks-pass env:KEYSTORE_PASSWORD --min-sdk-version "$MIN_SDK" --out "$work/signed.apk" "$work/aligned.apk"
apksigner verify --verbose --min-sdk-version "$MIN_SDK" "$work/signed.apk" | grep -E 'v[234] scheme|Number of signers'
zipalign -c 16384 "$work/signed.apk"
mkdir -p "$(dirname "$out")"
mv "$work/signed.apk" "$out"
echo "$out: $(stat -c %s "$out") bytes, $((SECONDS - started)) s"
