# ./dev breaks: does the simulation see what it should? Each patch below tests/simulation/breaks breaks the engine or an
# adapter in one place, in a copy of the sources; the simulation has to fail with it. Read by ./dev.
#
# A patch is a unified diff, made with little context so that it survives changes nearby, below lines that say
#     Breaks: what no longer happens
#     Invariant: which of docs/design/invariants.md
# It has to follow the code: one that does not apply is a failure.

breaks_folder=tests/simulation/breaks
breaks_source=build/breaks/source
breaks_build=build/breaks/build
breaks_seeds=10000

# mirror: makes the copy what the sources are. What is the same keeps its time, so that it is not compiled again.
mirror() {
    local file
    mkdir -p "$breaks_source"
    while read -r file; do
        [ -e "$file" ] || rm "$breaks_source/$file"
    done < <(cd "$breaks_source" && find . -type f)
    while read -r file; do
        cmp -s "$file" "$breaks_source/$file" && continue
        mkdir -p "$breaks_source/${file%/*}"
        cp "$file" "$breaks_source/$file"
    done < <(find ./CMakeLists.txt ./CMakePresets.json ./cmake ./lib ./adapters ./apps ./examples ./tests -type f)
}

build_broken() { cmake --build "$breaks_build" --target terrace_simulation >build/breaks/build.log 2>&1; }

# said_by PATCH FIELD: what stands after "FIELD: ", above the diff.
said_by() { sed -n "/^---/q; s/^$2: //p" "$1"; }

# run_broken SEEDS: on one process, so that the first seed that fails is the number of seeds that it took. Prints that
# and what was seen, or nothing.
run_broken() {
    local log=build/breaks/run.log
    if "$breaks_build/bin/terrace_simulation" --seeds "$1" --jobs 1 --no-shrinking >"$log" 2>&1; then
        return
    fi
    # Of a process that died, what it said last; of a world that failed a check, which.
    awk '
        /^terrace: broken invariant: / {
            said = substr($0, 10)
            sub(/ \(.*\/lib\//, " (lib/", said)
            sub(/:[0-9]+\)$/, ")", said)
        }
        /^seed [0-9]+: / { said = $0; sub(/^seed [0-9]+: /, "", said); sub(/: \{.*/, "", said) }
        /^again, and told: / { seed = $6 }
        END { print seed, (said != "" ? said : "the process ended") }
    ' "$log"
}

# try_break NAME: adds a row to build/breaks/table. 1: it went unseen, or could not be tried.
try_break() {
    local name=$1 patch=$breaks_folder/$1.patch seen seed
    mirror
    if ! patch --batch --forward --fuzz=2 -p1 -d "$breaks_source" <"$patch" >build/breaks/patch.log; then
        cat build/breaks/patch.log >&2
        complain "$patch does not apply: it has to follow the code"
        return 1
    fi
    if ! build_broken; then
        tail -n 30 build/breaks/build.log >&2
        complain "with $patch the simulation does not build"
        return 1
    fi
    seen=$(run_broken "$breaks_seeds")
    if [ -z "$seen" ]; then
        complain "$name: $breaks_seeds seeds did not see it"
        return 1
    fi
    seed=${seen%% *}
    say "$name: seed $seed, ${seen#* }"
    printf '| %s | %s | %s | %s |\n' "$(said_by "$patch" Breaks)" "$(said_by "$patch" Invariant)" "$seed" \
        "${seen#* }" >>build/breaks/table
}

# run_breaks [NAME...]: all of them unless told otherwise.
run_breaks() {
    local name unseen=0 all=("$breaks_folder"/*.patch)
    all=("${all[@]##*/}")
    [ $# -gt 0 ] || set -- "${all[@]%.patch}"
    for name; do
        [ -r "$breaks_folder/$name.patch" ] || fail "there is no $breaks_folder/$name.patch"
    done
    mirror
    configure release -S "$breaks_source" -B "$breaks_build" -DCMAKE_UNITY_BUILD=OFF
    say "building without any break"
    if ! build_broken; then
        tail -n 30 build/breaks/build.log >&2
        fail "the simulation does not build"
    fi
    [ -z "$(run_broken 1000)" ] || fail "the simulation fails without any break: $(tail -n 3 build/breaks/run.log)"

    printf '| break | invariant | seeds | what is seen |\n|---|---|---|---|\n' >build/breaks/table
    for name; do
        try_break "$name" || unseen=$((unseen + 1))
    done
    mirror
    cat build/breaks/table
    echo "$(($# - unseen)) seen, $unseen not"
    [ "$unseen" = 0 ]
}
