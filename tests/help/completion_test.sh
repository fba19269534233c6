#!/usr/bin/env bash
# completion_test.sh TERRACE: what bash completes after the script that `TERRACE completion bash` prints, and zsh and fish
# after theirs, where there are any.
set -euo pipefail
program=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
PATH=$folder:$PATH
ln -s "$program" "$folder/terrace"
mkdir "$folder/files" "$folder/files/directory"
touch "$folder/files/trace.jsonl"
cd "$folder/files"

# expect SHELL FOUND WANTED LINE
expect() {
    if [ "$2" != "$3" ]; then
        printf '%s: "%s" is completed to "%s", expected "%s"\n' "$1" "$4" "$2" "$3" >&2
        failed=1
    fi
}

# in_bash WANTED WORD...: what the last word, which may be empty, is completed to
in_bash() {
    local wanted=$1
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _terrace || : # compopt fails where nothing is being completed
    expect bash "$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs)" "$wanted" "$*"
}

terrace completion bash >script.bash
bash -n script.bash
# shellcheck source=/dev/null
source script.bash
[ "$(complete -p terrace)" = 'complete -F _terrace terrace' ] || failed=1
in_bash 'replay' terrace re
in_bash 'bench completion config generate inspect man replay' terrace ''
in_bash '--help --version -h' terrace -
in_bash '--prefault --prefetch-policy --prefill-rate' terrace replay --pref
in_bash 'lru' terrace replay --eviction l
in_bash 'isolated_lru lru none s3fifo' terrace replay --eviction ''
in_bash 's3fifo' terrace replay --eviction = s # as bash splits --eviction=s
in_bash 'asap real' terrace replay --pace ''
in_bash 'trace.jsonl' terrace replay --trace t
in_bash 'directory' terrace bench --directory d
in_bash 'directory' terrace bench l1 --directory d # an option of the command above
in_bash '' terrace replay --requests ''
in_bash 'adapter all l1 prefetch replay scale slow-tier store' terrace bench ''
in_bash 'slow-tier' terrace bench --directory replay sl # a value is no command
in_bash '--html' terrace bench all --ht
in_bash 'bash fish zsh' terrace completion ''
in_bash 'trace.jsonl' terrace inspect --list t
rm script.bash

if command -v fish >/dev/null; then
    terrace completion fish >script.fish
    in_fish() { expect fish "$(HOME=$folder fish -N -c "source script.fish; complete -C '$2'" | cut -f 1 | sort | xargs)" "$1" "$2"; }
    in_fish 'replay' 'terrace re'
    in_fish 'bench completion config generate inspect man replay' 'terrace '
    in_fish '--prefault --prefetch-policy --prefill-rate' 'terrace replay --pref'
    in_fish 'isolated_lru lru none s3fifo' 'terrace replay --eviction '
    in_fish 'trace.jsonl' 'terrace replay --trace t'
    in_fish 'directory/' 'terrace bench l1 --directory d'
    in_fish 'adapter all l1 prefetch replay scale slow-tier store' 'terrace bench '
    in_fish 'bash fish zsh' 'terrace completion '
    rm script.fish
fi

if command -v zsh >/dev/null; then
    mkdir functions
    terrace completion zsh >functions/_terrace
    in_zsh() { # what is typed before zsh's line editor is up is lost, on a busy machine: then it is typed again
        local offered='' attempt
        for attempt in 1 2 3 4 5; do
            offered=$(HOME=$folder timeout 30 zsh -f "$here/zsh_completions.zsh" "$PWD/functions" "$2" | sort | xargs)
            [ -z "$offered" ] || break
        done
        expect zsh "$offered" "$1" "$2"
    }
    in_zsh 'replay' 'terrace re'
    in_zsh 'bench completion config generate inspect man replay' 'terrace '
    in_zsh '--prefault --prefetch-policy --prefill-rate' 'terrace replay --pref'
    in_zsh 'isolated_lru lru none s3fifo' 'terrace replay --eviction '
    in_zsh 's3fifo' 'terrace replay --eviction=s'
    in_zsh 'adapter all l1 prefetch replay scale slow-tier store' 'terrace bench '
    in_zsh '--html' 'terrace bench l1 --ht'
    in_zsh 'bash fish zsh' 'terrace completion '
fi

exit "$failed"
