# Sourced after env.sh, in android_demo: the modules of the library, and what each is compiled against.
BACKENDS="ort lite litert mnn ncnn"

compile() { javac --release 8 -encoding UTF-8 -nowarn -Xlint:-options "$@"; }
java_of() { find "$@" -name '*.java'; }

official_jar() { # BACKEND: the jar that a user drops in; it is compiled against, and belongs to an app
    case $1 in
        lite) echo lite/libs/PaddlePredictor.jar ;;
        litert) echo litert/libs/litert.jar ;; # classes.jar of LiteRT's AAR
        mnn) echo mnn/libs/mnn.jar ;; # com.taobao.android of MNN's demo
    esac
}

runtime_title() {
    case $1 in lite) echo Paddle-Lite ;; litert) echo LiteRT ;; mnn) echo MNN ;; ncnn) echo ncnn ;; esac
}

runtime_jar() { # BACKEND WORK: prints the runtime's jar, or, where it was not dropped in, one of the stub's classes; ncnn has none
    local official
    official=$(official_jar "$1")
    if [ "$1" = ort ]; then
        echo "$AAR/classes.jar"
    elif [ ! -d "$1/src/stub" ]; then
        return
    elif [ -e "$official" ]; then
        echo "$official"
    else
        if [ ! -e "$2/$1-stub.jar" ]; then
            mkdir -p "$2/$1-stub"
            compile -d "$2/$1-stub" $(java_of "$1/src/stub")
            jar --create --file "$2/$1-stub.jar" -C "$2/$1-stub" .
        fi
        echo "$2/$1-stub.jar"
    fi
}

java8_api() { # WORK: prints a jar of Java 8's API, from the JDK; R8 does not read a JDK's own later classes
    local jdk sign=$1/ct.sym
    jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
    mkdir -p "$sign" "$1/java8"
    (
        cd "$sign"
        unzip -qo "$jdk/lib/ct.sym" '*8*/java.base/*' '*8*/java.logging/*'
        for module in *8*/*; do cp -r "$module/." "$1/java8"; done
    )
    find "$1/java8" -name '*.sig' -exec bash -c 'for file; do mv "$file" "${file%.sig}.class"; done' _ {} +
    jar --create --file "$1/java8.jar" -C "$1/java8" .
    echo "$1/java8.jar"
}

native_methods() { # MODULE ABI FOLDER: adds the module's own library beside the runtime's that was dropped in
    [ "$1" != ncnn ] || [ ! -e "$3/libncnn.so" ] || [ -e "$3/libsegexport_ncnn.so" ] || {
        "$here/fetch_tools.sh" ncnn zig
        "$here/build_ncnn.sh" "$2" "$3"
    }
}

artifact_of() { echo "segexport-$1"; } # MODULE: its Maven artifact

same_bytes() { # FOLDER: the same sources give the same archive
    find "$1" -exec touch -d '1980-01-01 UTC' {} +
}
