#!/usr/bin/env bash
# Checks what is installed below PREFIX as a stranger would use it, one CHECK after the other. WORK is an empty directory,
# or one of an earlier check.
#
#     check.sh WORK PREFIX CHECK...
#
#     headers    each public header compiles by itself, also by clang if there is one
#     cmake      a project finds the libraries by find_package(), builds, and runs
#     pkgconfig  the same with pkg-config
#     programs   `terrace` runs and says its version; man pages and completions are there
#
# CXX names the compiler, BOOST a directory that Boost is installed below, if it is not the system's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$1 prefix=$2
shift 2
compiler=${CXX:-g++}
boost_include=${BOOST:+-isystem $BOOST/include}
[ "${BOOST:-}" != /usr ] || boost_include= # it is where the compiler looks
warnings=(-Wall -Wextra -Wpedantic -Werror)

fail() {
    printf 'check: %s\n' "$*" >&2
    exit 1
}

# compile_header COMPILER HEADER OPTION...
compile_header() {
    # Not as a system header, which would be spared the warnings. Boost is one, wherever it lies.
    echo "#include <$2>" | "$1" -std=c++20 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "${@:3}" -x c++ - || {
        printf 'check: <%s> does not compile by itself with %s\n' "$2" "$1" >&2
        return 1
    }
}

check_headers() {
    local headers one compilers=("$compiler")
    mapfile -t headers < <(cd "$prefix/include" && find terrace -name '*.hpp' | sort)
    [ ${#headers[@]} -gt 40 ] || fail "there are only ${#headers[@]} headers below $prefix/include/terrace"
    [[ $compiler == *clang* ]] || ! command -v clang++ >/dev/null || compilers+=(clang++)
    export -f compile_header
    for one in "${compilers[@]}"; do
        printf '%s\n' "${headers[@]}" | xargs -P "$(nproc)" -I '{}' bash -c 'compile_header "$@"' compile "$one" '{}' \
            -I "$prefix/include" $boost_include || fail "not all headers compile"
    done
    echo "${#headers[@]} headers compile by themselves: ${compilers[*]}"
}

run_consumer() {
    rm -rf "$work/stored"
    mkdir "$work/stored"
    "$1" "$work/stored"
}

check_cmake() {
    rm -rf "$work/cmake"
    cmake -S "$here" -B "$work/cmake" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix;${BOOST:-}" \
        -DCMAKE_CXX_FLAGS="${warnings[*]}" >"$work/cmake.log" || fail "the project cannot be configured: $work/cmake.log"
    cmake --build "$work/cmake"
    run_consumer "$work/cmake/consumer"
}

check_pkgconfig() {
    local flags libraries modules=(terrace_adapter_memory terrace_adapter_file terrace_adapter_segment
        terrace_adapter_fault terrace_adapters terrace_cuda terrace_configuration terrace_metrics)
    PKG_CONFIG_PATH=$(find "$prefix" -name terrace.pc -printf '%h')
    export PKG_CONFIG_PATH
    [ -n "$PKG_CONFIG_PATH" ] || fail "there is no terrace.pc below $prefix"
    flags=$(pkg-config --cflags "${modules[@]}")
    libraries=$(pkg-config --libs "${modules[@]}")
    # shellcheck disable=SC2086 # they are words
    {
        $compiler -std=c++20 "${warnings[@]}" $boost_include $flags -c "$here/main.cpp" -o "$work/main.o"
        $compiler -std=c++20 "${warnings[@]}" $boost_include -c "$here/neighbour.cpp" -o "$work/neighbour.o"
        $compiler "$work/main.o" "$work/neighbour.o" $libraries -Wl,-rpath,"$(pkg-config --variable=libdir terrace)" \
            -o "$work/consumer"
    }
    run_consumer "$work/consumer"
}

check_programs() {
    local file
    "$prefix/bin/terrace" --version
    "$prefix/bin/terrace" generate --conversations 2 --out "$work/trace.jsonl"
    rm -rf "$work/replayed"
    "$prefix/bin/terrace" replay --trace "$work/trace.jsonl" --l1 4MiB --object-bytes 4KiB --l2 "file:$work/replayed" \
        --verify --no-progress >"$work/replay.log" || fail "a replay fails: $work/replay.log"
    for file in man/man1/terrace.1 man/man1/terrace-replay.1 bash-completion/completions/terrace \
        zsh/vendor-completions/_terrace fish/vendor_completions.d/terrace.fish; do
        [ -s "$prefix/share/$file" ] || [ -s "$prefix/share/$file.gz" ] || fail "$prefix/share/$file is missing"
    done
}

mkdir -p "$work"
for check; do
    case $check in
    headers | cmake | pkgconfig | programs) "check_$check" ;;
    *) fail "there is no check $check" ;;
    esac
done
