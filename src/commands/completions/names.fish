# Names of counters where they belong. fish puts no space after what ends in a dot or a comma.
function __fish_countd_names
    set -l words (commandline -opc)
    command $words[1] completions -- $words (commandline -ct) 2>/dev/null </dev/null
end

