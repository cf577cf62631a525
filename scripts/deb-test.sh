#!/bin/bash
# Tries a Debian package in a clean Debian: install, start, use, upgrade, remove, purge.
# Usage, as root: deb-test.sh OLD.deb NEW.deb
#
# No systemd runs there: the script does what it would do, with the user, the directory and
# the command that the unit names. SUITE is the release of Debian (default: bookworm).
set -euo pipefail

suite=${SUITE:-bookworm}
say() { echo "deb-test: $*"; }
fail() {
	echo "deb-test: $*" >&2
	exit 1
}

# --- inside: a network and a process tree of their own, nothing from outside ---
if [ "${1:-}" = --inside ]; then
	root=$2
	ip link set lo up
	mount -t proc proc "$root/proc"
	in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND="${frontend:-noninteractive}" "$@"; }
	unit=$root/usr/lib/systemd/system/tidemark.service
	of_unit() { sed -n "s/^$1=//p" "$unit"; }

	start() {
		user=$(of_unit User)
		chroot --userspec="$user:$(of_unit Group)" "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/var/lib/tidemark \
			sh -c "umask $(of_unit UMask) && cd $(of_unit WorkingDirectory) && exec $(of_unit ExecStart)" >"$root/engine.log" 2>&1 &
		engine=$!
		for _ in $(seq 300); do
			if client status >/dev/null 2>&1; then return; fi
			kill -0 $engine 2>/dev/null || break
			sleep 0.2
		done
		cat "$root/engine.log" >&2
		fail "the engine does not start"
	}
	stop() {
		kill -TERM $engine
		wait $engine || fail "the engine ends with code $?"
	}
	client() { in_root TIDEMARK_CONFIG=/etc/tidemark/engine.yaml tidemark "$@"; }
	has() { # TEXT COMMAND…: the output has the text
		local output
		output=$("${@:2}") || true
		case $output in *"$1"*) ;; *) fail "${*:2} prints no $1, but: $output" ;; esac
	}
	holds() { has '"value":"curious"' client query queries.agent.a1.get '{"key":"mood"}'; }
	is() { [ "$2" = "$3" ] || fail "$1 is $2, want $3"; }
	data=$root/var/lib/tidemark

	is "the owner of the data" "$(in_root stat -c '%U:%G %a' /var/lib/tidemark)" "tidemark:tidemark 700"
	is "the owner of the settings" "$(in_root stat -c '%U:%G %a' /etc/tidemark/engine.yaml)" "root:tidemark 640"
	is "the configuration files" "$(in_root dpkg-query -W -f '${Conffiles}' tidemark | awk 'NF { print $1 }')" /etc/tidemark/engine.yaml
	is "the place of the program" "$(in_root sh -c 'command -v tidemark')" /usr/bin/tidemark
	# deb-systemd-helper makes this link; systemd would start the unit by it.
	[ -L "$root/etc/systemd/system/multi-user.target.wants/tidemark.service" ] || fail "the service is not enabled"

	say "start, first command"
	start
	has '"outcome":"accepted"' client send commands.agent.a1.set '{"key":"mood","value":"curious"}'
	holds
	has '(managed)' client status
	stop

	say "upgrade"
	echo "log: warn" >>"$root/etc/tidemark/engine.yaml"
	in_root dpkg -i /new.deb >/dev/null
	grep -q "log: warn" "$root/etc/tidemark/engine.yaml" || fail "the upgrade changes the settings"
	[ "$(client version)" != "$(cat "$root/old-version")" ] || fail "the upgrade has not changed the version"
	start
	holds
	stop

	say "remove"
	in_root dpkg -r tidemark >/dev/null
	[ ! -e "$root/usr/bin/tidemark" ] || fail "the program stays after a removal"
	[ -e "$root/etc/tidemark/engine.yaml" ] || fail "the settings go with a removal"
	[ -d "$data/data" ] || fail "the data go with a removal"

	say "purge without an answer"
	in_root DEBCONF_DEBUG=developer dpkg -P tidemark >"$root/purge.log" 2>&1 || { cat "$root/purge.log"; fail "purge fails"; }
	grep -q 'INPUT high tidemark/purge-data' "$root/purge.log" || { cat "$root/purge.log"; fail "purge does not ask"; }
	[ ! -e "$root/etc/tidemark" ] || fail "the settings stay after a purge"
	[ -d "$data/data" ] || fail "the data go without a yes"
	is "the owner of the kept data" "$(in_root stat -c %U /var/lib/tidemark/data)" tidemark

	say "install again"
	in_root dpkg -i /new.deb >/dev/null
	start
	holds
	stop

	say "purge with a yes"
	in_root sh -c 'echo "tidemark tidemark/purge-data boolean true" | debconf-set-selections'
	in_root dpkg -P tidemark >/dev/null
	[ ! -e "$data" ] || fail "the data stay after a yes"
	! in_root getent passwd tidemark >/dev/null || fail "the user stays after a yes"
	[ -z "$(find "$root/etc/systemd" "$root/var/lib/systemd" -name '*tidemark*' 2>/dev/null)" ] || fail "links to the service stay"
	exit 0
fi

# --- outside: a clean root with the old package ---
[ "$(id -u)" = 0 ] || fail "needs root"
command -v debootstrap >/dev/null || fail "needs debootstrap: apt-get install debootstrap"
old=$(realpath "$1")
new=$(realpath "$2")
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
base=${XDG_CACHE_HOME:-$HOME/.cache}/tidemark-test/$suite.tar

if [ ! -e "$base" ]; then
	say "bootstrapping $suite"
	debootstrap --variant=minbase "$suite" "$root" >"$work/log" 2>&1 || { tail -20 "$work/log" && fail "debootstrap fails"; }
	mkdir -p "$(dirname "$base")"
	tar -C "$root" -cf "$base.$$" . && mv "$base.$$" "$base"
else
	mkdir "$root" && tar -C "$root" -xf "$base"
fi
cp "$old" "$root/old.deb"
cp "$new" "$root/new.deb"
cp /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # nothing starts by itself
chmod 755 "$root/usr/sbin/policy-rc.d"

say "install, with what the package recommends"
chroot "$root" env DEBIAN_FRONTEND=noninteractive sh -c '
	apt-get update -q && apt-get install -q -y /old.deb' >"$work/log" 2>&1 || { tail -30 "$work/log" && fail "apt-get install fails"; }
chroot "$root" /usr/bin/tidemark version >"$root/old-version"
unshare --net --mount --pid --fork --kill-child "$(realpath "$0")" --inside "$root"
say "passed"
