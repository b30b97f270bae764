# Names of counters where they belong; else what the rest of this script has to offer.
_countd() {
    local -a words=()
    _countd_names "$@" && return 0
    _countd_words "$@"
    local word=${words[${#words[@]} - 1]} offered command
    [[ $word != -* ]] || return 0
    # Options are for who has begun one: where nothing else fits, bash would insert what they all begin with.
    local -a offers=("${COMPREPLY[@]}")
    COMPREPLY=()
    for offered in "${offers[@]}"; do
        [[ $offered == -* ]] || COMPREPLY+=("$offered")
    done
    ((${#COMPREPLY[@]} == 0)) || return 0
    for command in "${words[@]:1}"; do
        case $command in
            incr | get | dump | delete)
                # A name or a tag belongs here, and none is known: no file does.
                compopt +o default +o bashdefault 2>/dev/null
                return 0
                ;;
            run | verify) return 0 ;;
        esac
    done
}

# Offers names of counters where they belong; else it fails. Leaves the line in `words`, as it was typed.
_countd_names() {
    # bash breaks words at : and =, which stand in names: put together what stands together in the line.
    local line=$COMP_LINE name piece at
    for ((at = 0; at <= COMP_CWORD; at++)); do
        piece=${COMP_WORDS[at]}
        if ((at > 0)) && [[ $line != [[:blank:]]* ]]; then
            words[${#words[@]} - 1]+=$piece
        else
            line=${line#"${line%%[![:blank:]]*}"}
            words+=("$piece")
        fi
        line=${line#"$piece"}
    done
    # What is offered takes the place of $2, the end of the word after its last break.
    local word=${words[${#words[@]} - 1]}
    [[ $word == *"$2" ]] || return 1
    local kept=${word%"$2"}
    COMPREPLY=()
    while IFS= read -r name; do
        COMPREPLY+=("${name#"$kept"}")
    done < <(command "$1" completions -- "${words[@]//[\"\'\\]/}" 2>/dev/null </dev/null)
    ((${#COMPREPLY[@]} > 0)) || return 1
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[.,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}

