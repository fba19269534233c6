# zsh_completions.zsh FOLDER LINE: prints what zsh would offer for the end of LINE, with the functions in FOLDER, one a line.
# The completion system works in an interactive shell only, so it gets one, in a terminal of its own.
zmodload zsh/zpty || exit 1
zpty inner zsh -f -i
zpty -w inner "PS1= PROMPT_EOL_MARK= fpath=($1 \$fpath); unsetopt zle_bracketed_paste 2>/dev/null; stty -echo; autoload -Uz compinit; compinit -u -D"
zpty -w inner 'compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    local -a offered; builtin compadd -A offered "$@"; builtin compadd "$@"; print -l -- "offered:"$^offered
}'
zpty -w inner 'zstyle ":completion:*" list-max 0; LISTMAX=10000; print -r -- re""ady'
zpty -r inner text '*ready*'
zpty -w -n inner "$2"$'\t'
zpty -w -n inner $'\C-u'
zpty -w inner 'print -r -- do""ne'
zpty -r inner text '*done*'
zpty -d inner
print -r -- $text | grep -o 'offered:[^[:space:][:cntrl:]]*' | cut -d : -f 2 | sort -u
