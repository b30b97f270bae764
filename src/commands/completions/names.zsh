# Offers names of counters where they belong; else it fails.
_countd_names() {
    local -a names whole parts
    names=(${(f)"$(command "${(Q)words[1]}" completions -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)"})
    (( $#names )) || return 1
    whole=(${names:#*[.,]})
    parts=(${(M)names:#*[.,]})
    (( $#parts )) && compadd -S '' -a parts
    (( $#whole )) && compadd -a whole
    return 0
}

