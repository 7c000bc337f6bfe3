#!/usr/bin/env bash
# Fetches the tools of the Android build, by package name, into a cache; nothing is installed, root is not needed.
#   fetch_tools.sh GROUP...     junit: JUnit and Android's org.json     ort: ONNX Runtime's AAR     zig: a C compiler
#                               apk: aapt2, zipalign, apksigner, D8     api: a list of Android's API   arm64: qemu and a JRE
#                               count: qemu with plugins, a Python and ONNX Runtime for arm64 (`segexport bench --count`)
#                               kotlin: Kotlin's compiler and kotlinx.coroutines     ncnn: its sources
#                               cpp: a JSON header for runtimes/cpp     cpp-arm64: its libraries for arm64
#   fetch_tools.sh --lock       writes tools.lock anew with the digests of what the registries hold now
# The cache is $SEGEXPORT_ANDROID_TOOLS, else ~/.cache/segexport/android. Every file is held against tools.lock before it
# is opened, also one that lies there already, and what was changed after it was unpacked is fetched again.
# Exit 3: something could not be fetched, or is not what it was.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
lock=$here/tools.lock
downloads=$TOOLS/downloads

fail() { echo "fetch_tools: $*" >&2; exit 3; }

# Debian packages come through an apt of our own: the system's sources, but its own lists and no installed packages.
apt_for() {
    local arch=$1 state=$TOOLS/apt-$1
    shift
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    touch "$state/status"
    apt-get -q -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o Dir::State="$state" \
        -o Dir::State::status="$state/status" -o Dir::State::lists="$state/lists" -o Dir::Cache="$state/cache" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

download() { # KIND NAME VERSION: leaves one file in the current folder
    case $1 in
        deb-*)
            local arch=${1#deb-}
            command -v apt-get dpkg-deb > /dev/null || fail "$2 is a Debian package; this needs Debian 12's apt-get"
            if [ ! -e "$TOOLS/apt-$arch/updated" ]; then
                apt_for "$arch" update > /dev/null || fail "apt-get update failed"
                touch "$TOOLS/apt-$arch/updated"
            fi
            apt_for "$arch" download "$2=$3" > /dev/null 2> apt.log || {
                grep '^E:' apt.log >&2 || true
                rm -f "$TOOLS/apt-$arch/updated"
                fail "$2=$3 is not available; Debian 12 has it or a later version: review that, then run fetch_tools.sh --lock"
            }
            rm -f apt.log ;;
        npm) npm pack --silent "$2@$3" > /dev/null || fail "npm cannot fetch $2@$3" ;;
        sdist) # pip asks setup.py for the version, and ncnn's answers with the day: it is told the version's
            "${PYTHON:-python3}" -m pip install --quiet --no-deps --target clock 'setuptools>=77,<81' > pip.log 2>&1 || { tail -3 pip.log >&2; fail "pip cannot fetch setuptools"; }
            printf 'import time\nday = time.strptime("%s", "%%Y%%m%%d")\ntime.localtime = lambda *_: day\n' "${3##*.}" > clock/sitecustomize.py
            PYTHONPATH=$PWD/clock "${PYTHON:-python3}" -m pip download --quiet --no-deps --no-build-isolation --no-binary "$2" \
                "$2==$3" > pip.log 2>&1 || { tail -3 pip.log >&2; fail "pip cannot fetch the sources of $2==$3"; }
            rm -rf pip.log clock ;;
        wheel-*|cp3*-*) # cp310: a wheel of CPython 3.10, whatever this Python is
            local python=() abi=${1%%-*}
            [ "$abi" = wheel ] || python=(--python-version "3.${abi#cp3}" --implementation cp --abi "$abi")
            "${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary=:all: --platform "${1#*-}" \
                "${python[@]}" "$2==$3" > pip.log 2>&1 || { tail -3 pip.log >&2; fail "pip cannot fetch $2==$3"; }
            rm -f pip.log ;;
        *) fail "tools.lock: unknown kind $1" ;;
    esac
}

holds() { # FOLDER SHA256: whether one file lies there, and it is that
    [ -d "$1" ] && [ "$(find "$1" -type f -exec sha256sum {} + | cut -d' ' -f1)" = "$2" ]
}

fetch() { # KIND NAME VERSION SHA256: prints the path of the verified file
    local folder=$downloads/$1-${2//\//-}-$3 work
    if ! holds "$folder" "$4"; then # also what lies there already is held against tools.lock
        rm -rf "$folder"
        mkdir -p "$downloads"
        work=$(mktemp -d "$downloads/part.XXXXXX")
        echo "fetching $2 $3" >&2
        (cd "$work" && download "$1" "$2" "$3") || { rm -rf "$work"; exit 3; }
        if ! holds "$work" "$4"; then
            rm -rf "$work"
            fail "$2 $3 is not the file that tools.lock names (another sha256); it was not opened"
        fi
        mv "$work" "$folder"
    fi
    find "$folder" -type f
}

state() { # GROUP LINES: a digest of what tools.lock asks for and of everything that lies unpacked
    {
        echo "$2"
        cd "$TOOLS/$1"
        find . -type f ! -name .complete -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
        find . -type l -printf '%p %l\n' | LC_ALL=C sort
    } | sha256sum
}

unpack() { # GROUP FILE
    local root=$TOOLS/$1
    mkdir -p "$root"
    case $1:$2 in count:*.whl) unzip -qo "$2" -d "$root/site"; return ;; esac # whole, for the Python of this group
    case $2 in
        *.deb) dpkg-deb -x "$2" "$root" ;;
        *onnxruntime*.tgz)
            tar -xzf "$2" -C "$root" --strip-components=3 package/Plugins/Android/onnxruntime.aar
            mkdir -p "$root/aar" && unzip -qo "$root/onnxruntime.aar" -d "$root/aar" ;;
        *.tgz) tar -xzf "$2" -C "$root" ;;
        *mobsf*.whl)
            unzip -qoj "$2" '*/bundletool-all-*.jar' '*/apktool_*.jar' -d "$root"
            mv "$root"/bundletool-all-*.jar "$root/d8.jar"
            unzip -qoj "$root"/apktool_*.jar prebuilt/linux/aapt2_64 brut/androlib/android-framework.jar -d "$root"
            chmod +x "$root/aapt2_64" && rm "$root"/apktool_*.jar ;;
        *kotlin_jupyter_kernel*.whl) unzip -qoj "$2" 'run_kotlin_kernel/jars/*' -d "$root" ;;
        *onnxruntime*.whl)
            unzip -qoj "$2" 'onnxruntime/capi/libonnxruntime.so.*' -d "$root/onnxruntime"
            ln -sf "$(cd "$root/onnxruntime" && ls)" "$root/onnxruntime/libonnxruntime.so.1" ;;
        *.tar.gz) tar -xzf "$2" -C "$root" --strip-components=1 ;;
        *.whl) unzip -qo "$2" -d "$root" && chmod +x "$root"/ziglang/zig ;;
    esac
}

if [ "${1:-}" = --lock ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    while read -r group kind name version _; do
        case $kind in
            deb-*)
                [ -e "$work/${kind#deb-}" ] || { apt_for "${kind#deb-}" update > /dev/null && touch "$work/${kind#deb-}"; }
                version=$(apt_for "${kind#deb-}" --print-uris download "$name" | awk '{print $2}' | cut -d_ -f2)
                version=${version//%3a/:} ;;
        esac
        mkdir "$work/one"
        (cd "$work/one" && download "$kind" "$name" "$version")
        echo "$group $kind $name $version $(sha256sum < "$(find "$work/one" -type f)" | cut -d' ' -f1)"
        rm -rf "$work/one"
    done < "$lock" > "$work/lock"
    cp "$work/lock" "$lock"
    exit
fi

[ $# -gt 0 ] || { sed -n '2,8s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
for wanted in "$@"; do
    stamp=$TOOLS/$wanted/.complete
    lines=$(grep "^$wanted " "$lock") || fail "no group $wanted; there are: $(cut -d' ' -f1 "$lock" | sort -u | xargs)"
    [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(state "$wanted" "$lines")" ] && continue
    rm -rf "${TOOLS:?}/$wanted"
    while read -r group kind name version sha256; do
        file=$(fetch "$kind" "$name" "$version" "$sha256") || exit 3
        unpack "$group" "$file"
        rm -rf "$(dirname "$file")"
    done <<< "$lines"
    state "$wanted" "$lines" > "$stamp"
done
