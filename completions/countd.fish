# Names of counters where they belong. fish puts no space after what ends in a dot or a comma.
function __fish_countd_names
    set -l words (commandline -opc)
    command $words[1] completions -- $words (commandline -ct) 2>/dev/null </dev/null
end

# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_countd_global_optspecs
    string join \n socket= h/help V/version
end

function __fish_countd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_countd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_countd_using_subcommand
    set -l cmd (__fish_countd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c countd -n "__fish_countd_needs_command" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countd -n "__fish_countd_needs_command" -s V -l version -d 'Print version'
complete -c countd -n "__fish_countd_needs_command" -f -a "serve" -d 'Keeps the counters, and writes what each gained to stdout, a log file or a collector every flush interval. Runs in the foreground until SIGTERM or SIGINT; SIGHUP opens the log files again'
complete -c countd -n "__fish_countd_needs_command" -f -a "incr" -d 'Adds to counters: all of them or, when refused, none. A counter begins to be when it is first counted. When this returns 0 the increment is counted once, exactly once, whatever process crashes afterwards'
complete -c countd -n "__fish_countd_needs_command" -f -a "run" -d 'Runs a command and exits with its status. Counts one more of NAME,result=ok if that is 0, else of NAME,result=fail, and adds how long it ran to NAME.milliseconds, both or neither'
complete -c countd -n "__fish_countd_needs_command" -f -a "dump" -d 'Shows counters at one moment: totals since each was created. In byte order as `NAME TOTAL`; on a terminal as a table'
complete -c countd -n "__fish_countd_needs_command" -f -a "get" -d 'Prints a counter\'s total, or the sum of several, and nothing else'
complete -c countd -n "__fish_countd_needs_command" -f -a "delete" -d 'Forgets counters, and prints `NAME TOTAL` of each as it was. What they gained since the last flush is still reported. Needs root or the daemon\'s own user'
complete -c countd -n "__fish_countd_needs_command" -f -a "flush" -d 'Writes the reports now, without waiting for the flush interval, and returns when every sink has its report. Needs root or the daemon\'s own user'
complete -c countd -n "__fish_countd_needs_command" -f -a "status" -d 'Shows the daemon\'s health in numbers, problems first'
complete -c countd -n "__fish_countd_needs_command" -f -a "verify" -d 'Reads a state folder without a daemon, and says what is in it and whether it is sound: whether `countd serve` would start from it'
complete -c countd -n "__fish_countd_needs_command" -f -a "completions" -d 'Prints a script that teaches a shell to complete countd\'s commands and options'
complete -c countd -n "__fish_countd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c countd -n "__fish_countd_using_subcommand serve" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand serve" -l socket-mode -d 'Permission bits of the socket, octal, whatever the umask [default: 0666 in /run/countd, else 0600]' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l socket-group -d 'Group of the socket, by name or number [default: that of the process]' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l interval -d 'Time from one flush to the next, such as 5s, 500ms or 2m; a bare number is seconds [default: 5s]' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l offset -d 'With --aligned, how long after those moments: less than the interval, or auto, which differs from host to host and stays the same on each, so that a fleet does not flush at one moment [default: 0s]' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l log-file -d 'Append reports to this file; - is stdout, the default. May be given several times' -r -F
complete -c countd -n "__fish_countd_using_subcommand serve" -l sink -d 'Where reports go, as KIND:WHERE?OPTIONS, such as graphite://HOST:PORT; SINKS in man countd-serve has all kinds. May be given several times' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l owed-max -d 'Memory for reports that sinks have not taken, all together; past it the oldest are merged [default: 64MiB]' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l format -d 'Format of reports: plain, logfmt, json, graphite or statsd [default: logfmt in a log file, plain on stdout]' -r -f -a "plain\t''
logfmt\t''
json\t''
graphite\t''
statsd\t''"
complete -c countd -n "__fish_countd_using_subcommand serve" -l idle -d 'Whether counters that gained nothing are left out of a report: omit, or written as 0: zero [default: omit]' -r -f -a "omit\t''
zero\t''"
complete -c countd -n "__fish_countd_using_subcommand serve" -l state-dir -d 'Folder of the journal and checkpoints [default: /var/lib/countd as root, else ~/.local/state/countd]' -r -f -a "(__fish_complete_directories)"
complete -c countd -n "__fish_countd_using_subcommand serve" -l spool-dir -d 'Folder that requests are taken from which found no daemon [default: /var/spool/countd with the socket in /run/countd, else spool in the state folder]' -r -f -a "(__fish_complete_directories)"
complete -c countd -n "__fish_countd_using_subcommand serve" -l fsync -d 'When an increment is safe from a power cut: always (before it is acknowledged), everysec, or no (when the kernel writes it). No mode loses an acknowledged increment when a process crashes [default: everysec]' -r -f -a "always\t''
everysec\t''
no\t''"
complete -c countd -n "__fish_countd_using_subcommand serve" -l max-counters -d 'Counters there may be [default: 1000000]' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l max-counters-per-user -d 'Counters that one user may create; root and the daemon\'s user may create all [default: a quarter of all]' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l max-connections -d 'Clients that may be connected at a time [default: 1024]' -r -f
complete -c countd -n "__fish_countd_using_subcommand serve" -l aligned -d 'Flush at multiples of the interval by the wall clock'
complete -c countd -n "__fish_countd_using_subcommand serve" -l ephemeral -d 'Keep no state: totals start at 0 each time'
complete -c countd -n "__fish_countd_using_subcommand serve" -l check -d 'Read all settings, say what would be served and where, and exit: 0, or 2 if a setting is wrong. Nothing is touched'
complete -c countd -n "__fish_countd_using_subcommand serve" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand incr" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand incr" -l by -d 'How much to add to each NAME that has no amount of its own; 0 only makes the counter [default: 1]' -r -f
complete -c countd -n "__fish_countd_using_subcommand incr" -s t -l tag -d 'A tag for each NAME or line' -r -f
complete -c countd -n "__fish_countd_using_subcommand incr" -l timeout -d 'How long to try, such as 500ms, up to 60s [default: 2s]. With --stdin: how long to wait for a daemon that is gone [default: for ever]' -r -f
complete -c countd -n "__fish_countd_using_subcommand incr" -l spool-dir -d 'That folder [default: /var/spool/countd, else that of the user\'s own daemon]' -r -f -a "(__fish_complete_directories)"
complete -c countd -n "__fish_countd_using_subcommand incr" -l stdin -d 'Read lines NAME, NAME N or NAME=N from standard input, and count them until it ends. A bad line is refused with a message; the others count'
complete -c countd -n "__fish_countd_using_subcommand incr" -l print -d 'Print the new totals, one a line in the order of the names'
complete -c countd -n "__fish_countd_using_subcommand incr" -l best-effort -d 'Exit 0 whatever becomes of the increment, also with a bad name, tag or amount; say what went wrong'
complete -c countd -n "__fish_countd_using_subcommand incr" -l spool -d 'When no daemon is there, leave what is to be counted in a spool folder: it is counted once, when a daemon is'
complete -c countd -n "__fish_countd_using_subcommand incr" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand run" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand run" -s t -l tag -d 'A tag for the counters, other than result' -r -f
complete -c countd -n "__fish_countd_using_subcommand run" -l timeout -d 'How long to try to count once the command has ended, such as 500ms, up to 60s [default: 2s]' -r -f
complete -c countd -n "__fish_countd_using_subcommand run" -l spool-dir -d 'That folder [default: /var/spool/countd, else that of the user\'s own daemon]' -r -f -a "(__fish_complete_directories)"
complete -c countd -n "__fish_countd_using_subcommand run" -l best-effort -d 'Run the command also with a bad name or tag, uncounted; say what is wrong'
complete -c countd -n "__fish_countd_using_subcommand run" -l spool -d 'When no daemon is there, leave what is to be counted in a spool folder: it is counted once, when a daemon is'
complete -c countd -n "__fish_countd_using_subcommand run" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand dump" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand dump" -s t -l tag -d 'Only counters that have this tag with a value that matches' -r -f
complete -c countd -n "__fish_countd_using_subcommand dump" -l format -d 'plain, table, json (one object a line), csv or prometheus. Default: table on a terminal, else plain' -r -f -a "plain\t''
table\t''
json\t''
csv\t''
prometheus\t''"
complete -c countd -n "__fish_countd_using_subcommand dump" -l sort -d 'name, total, since-flush or last-seen. Numbers sort from the largest, times from the latest' -r -f -a "name\t''
total\t''
since-flush\t''
last-seen\t''"
complete -c countd -n "__fish_countd_using_subcommand dump" -l timeout -d 'How long to wait for the answer, such as 10s or 500ms [default: 10s]' -r -f
complete -c countd -n "__fish_countd_using_subcommand dump" -l since-flush -d 'Print what was gained since the last flush in place of the totals'
complete -c countd -n "__fish_countd_using_subcommand dump" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand get" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand get" -s t -l tag -d 'A tag of the counter; with --sum the value is a pattern' -r -f
complete -c countd -n "__fish_countd_using_subcommand get" -l default -d 'Print this number if there is no such counter; never for a missing daemon' -r -f
complete -c countd -n "__fish_countd_using_subcommand get" -l timeout -d 'How long to wait for the answer, such as 2s or 500ms [default: 2s]' -r -f
complete -c countd -n "__fish_countd_using_subcommand get" -l since-flush -d 'Print what was gained since the last flush in place of the total'
complete -c countd -n "__fish_countd_using_subcommand get" -l sum -d 'Add up all counters that match'
complete -c countd -n "__fish_countd_using_subcommand get" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand delete" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand delete" -s t -l tag -d 'Only counters that have this tag with a value that matches' -r -f
complete -c countd -n "__fish_countd_using_subcommand delete" -l timeout -d 'How long to wait for the answer, such as 2s or 500ms [default: 2s]' -r -f
complete -c countd -n "__fish_countd_using_subcommand delete" -s n -l dry-run -d 'Forget nothing; print which counters it would be'
complete -c countd -n "__fish_countd_using_subcommand delete" -l ignore-missing -d 'A name that is not there is no failure'
complete -c countd -n "__fish_countd_using_subcommand delete" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand flush" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand flush" -l timeout -d 'How long to wait for the sinks, such as 10s or 500ms [default: 10s]' -r -f
complete -c countd -n "__fish_countd_using_subcommand flush" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand status" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand status" -l wait -d 'Wait up to this long, such as 10s, until there is a daemon and it answers [default: do not wait]' -r -f
complete -c countd -n "__fish_countd_using_subcommand status" -l format -d 'table or json (one object)' -r -f -a "table\t''
json\t''"
complete -c countd -n "__fish_countd_using_subcommand status" -l timeout -d 'How long to wait for an answer, such as 2s or 500ms [default: 2s]' -r -f
complete -c countd -n "__fish_countd_using_subcommand status" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand verify" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand verify" -l format -d 'table or json (one object)' -r -f -a "table\t''
json\t''"
complete -c countd -n "__fish_countd_using_subcommand verify" -l repair -d 'Cut a damaged journal at its last good record. The original is kept beside it'
complete -c countd -n "__fish_countd_using_subcommand verify" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand completions" -l socket -d 'The daemon\'s socket' -r -F
complete -c countd -n "__fish_countd_using_subcommand completions" -s h -l help -d 'Print help'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "serve" -d 'Keep the counters: the daemon'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "incr" -d 'Add to counters, exactly once'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "run" -d 'Run a command, and count how it ended and how long it took'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "dump" -d 'Show counters'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "get" -d 'Print one number'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "delete" -d 'Forget counters'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "flush" -d 'Write the reports now'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "status" -d 'Show the daemon\'s health'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "verify" -d 'Check a state folder without a daemon'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c countd -n "__fish_countd_using_subcommand help; and not __fish_seen_subcommand_from serve incr run dump get delete flush status verify completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c countd -n "__fish_countd_using_subcommand serve" -f
complete -c countd -n "__fish_countd_using_subcommand incr" -f -a "(__fish_countd_names)"
complete -c countd -n "__fish_countd_using_subcommand run" -a "(__fish_countd_names)"
complete -c countd -n "__fish_countd_using_subcommand dump" -f -a "(__fish_countd_names)"
complete -c countd -n "__fish_countd_using_subcommand get" -f -a "(__fish_countd_names)"
complete -c countd -n "__fish_countd_using_subcommand delete" -f -a "(__fish_countd_names)"
complete -c countd -n "__fish_countd_using_subcommand flush" -f
complete -c countd -n "__fish_countd_using_subcommand status" -f
complete -c countd -n "__fish_countd_using_subcommand verify" -f -a "(__fish_complete_directories)"
complete -c countd -n "__fish_countd_using_subcommand completions" -f -a "bash zsh fish"
