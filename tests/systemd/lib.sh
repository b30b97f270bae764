# What the scripts share.
set -euo pipefail
began=$(date +%s.%N)

# Says what went on when a script fails.
told() {
	status=$?
	if [ "$status" != 0 ] && [ "$status" != 133 ]; then
		echo "--- $0 ended with $status"
		systemctl --no-pager --lines=0 status countd.service countd.socket || true
		journalctl --no-pager -o short-precise --since "@$began"
	fi
	exit "$status"
}
trap told EXIT

fail() {
	echo "$0: $*"
	exit 1
}

# is WHAT ACTUAL EXPECTED
is() {
	[ "$2" = "$3" ] || fail "$1 is \"$2\" and not \"$3\""
}

# until_so WHAT COMMAND...: for things that nothing can be told to wait for. A minute and a half is a hang.
until_so() {
	what=$1 deadline=$((SECONDS + 90))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || fail "still not: $what"
		sleep 0.1
	done
}

# as USER COMMAND...: with what cron gives a job, and nothing else.
as() {
	user=$1 home=$(getent passwd "$1" | cut -d: -f6)
	shift
	(cd /; exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups -- \
		env -i HOME="$home" LOGNAME="$user" PATH=/usr/bin:/bin SHELL=/bin/sh "$@")
}

main_process() {
	systemctl show --property MainPID --value countd.service
}

logged() {
	journalctl --quiet --no-pager --unit countd.service --grep "$1"
}

# The counts of a counter in log files, added up.
added_up() {
	name=$1
	shift
	cat "$@" | sed -n "s/.* counter=\"*$name\"* count=\([0-9]*\) .*/\1/p" | awk "{ sum += \$1 } END { print sum + 0 }"
}

# Calls from several processes at once, which write to $load how much was acknowledged and what was not.
load_starts() {
	load=$(mktemp -d)
	: >"$load/refused"
	for caller in 1 2; do
		(
			n=0
			until [ -e "$load/stop" ]; do
				if countd incr load.once 2>>"$load/said"; then n=$((n + 1)); else echo "incr: $?" >>"$load/refused"; fi
			done
			echo "$n" >"$load/acknowledged.$caller"
		) &
	done
	for caller in 3 4; do
		(
			n=0
			until [ -e "$load/stop" ]; do
				echo load.$((n % 100))
				n=$((n + 1))
				[ $((n % 50)) != 0 ] || sleep 0.005
			done
			echo "$n" >"$load/acknowledged.$caller"
		) | (countd incr --stdin 2>>"$load/said" || echo "--stdin: $?" >>"$load/refused") &
	done
}

# Ends them; all that was acknowledged has to be counted, and nothing else.
load_adds_up() {
	: >"$load/stop"
	wait
	[ ! -s "$load/refused" ] || { sort "$load/refused" "$load/said" | uniq -c | head -20; fail "calls failed"; }
	acknowledged=$(awk "{ sum += \$1 } END { print sum }" "$load"/acknowledged.*)
	[ "$acknowledged" -gt 100 ] || fail "there was no load: $acknowledged"
	is "the total of the load" "$(countd get --sum 'load.*')" "$acknowledged"
}

# The first block of code in the README with this word in it.
recipe() {
	awk -v word="$1" '
		/^```/ { if (inside && index(block, word)) { printf "%s", block; exit } inside = !inside; block = ""; next }
		inside { block = block $0 "\n" }
	' /mnt/countd/README.md
}
