# Offers names of counters where they belong; else it fails.
_countd_names() {
    # bash breaks words at : and =, which stand in names: put together what stands together in the line.
    local line=$COMP_LINE name piece at
    local -a words=()
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

