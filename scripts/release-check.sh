#!/bin/bash
# Tries a release before there is one: goreleaser accepts its configuration, two builds in
# two places give the same bytes, the programs are static, the module installs with
# go install, and the Debian package lives through its life (scripts/deb-test.sh, as root).
# What is not committed is not in it. GORELEASER and CYCLONEDX name the programs. QUICK=1
# builds for linux/amd64 alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "release-check: $*"; }
fail() {
	echo "release-check: $*" >&2
	exit 1
}

work=$(mktemp -d)
chmod 755 "$work"
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
commit=$(git rev-parse HEAD)
export GORELEASER_CURRENT_TAG=v0.1.0 CYCLONEDX
"$GORELEASER" check

snapshot() { # DIRECTORY, further options of goreleaser
	local dir=$1
	shift
	[ -d "$dir" ] || { git clone -q . "$dir" && git -C "$dir" checkout -q "$commit"; }
	cp "$dir/.goreleaser.yaml" "$work/goreleaser.yaml"
	if [ "${QUICK:-}" = 1 ]; then
		sed -i -e 's/^    goos: .*/    goos: [linux]/' -e 's/^    goarch: .*/    goarch: [amd64]/' "$work/goreleaser.yaml"
	fi
	(cd "$dir" && "$GORELEASER" release --config "$work/goreleaser.yaml" --snapshot --clean "$@") >"$work/log" 2>&1 || {
		tail -50 "$work/log" >&2
		fail "the snapshot fails"
	}
}
sums() { (cd "$1/dist" && find . -name 'tidemark*' -type f | sort | xargs sha256sum); }

say "two snapshots"
snapshot "$work/one"
snapshot "$work/another/place"
sums "$work/one" >"$work/one.sums"
sums "$work/another/place" >"$work/another.sums"
diff "$work/one.sums" "$work/another.sums" || fail "two builds give other bytes"
files=(linux_amd64.tar.gz linux_amd64.cdx.json amd64.deb)
[ "${QUICK:-}" = 1 ] || files+=(linux_arm64.tar.gz darwin_amd64.tar.gz darwin_arm64.tar.gz darwin_arm64.cdx.json arm64.deb)
for file in "${files[@]}"; do
	grep -q "_$file\$" "$work/one.sums" || fail "there is no …_$file"
done
sed 's/^/  /' "$work/one.sums"
for program in "$work"/one/dist/tidemark_linux_*/tidemark; do
	go version -m "$program" | grep -q CGO_ENABLED=0 || fail "$program is built with cgo"
done

say "go install …/cmd/engine@latest"
module=github.com/tidemark-engine/tidemark
versions=$work/proxy/$module/@v
mkdir -p "$versions"
others=() # modules of their own are not part of this one
for file in $(git ls-tree -r --name-only "$commit" | grep '/go\.mod$'); do others+=(":(exclude)$(dirname "$file")"); done
git archive --format=zip --prefix="$module@v0.1.0/" -o "$versions/v0.1.0.zip" "$commit" . "${others[@]}"
git show "$commit:go.mod" >"$versions/v0.1.0.mod"
echo v0.1.0 >"$versions/list"
echo '{"Version":"v0.1.0","Time":"2026-01-01T00:00:00Z"}' >"$versions/v0.1.0.info"
! grep -q '^replace' go.mod || fail "go.mod has a replace directive, and go install refuses it"
# In an empty directory, with a module cache of its own beside the one that exists.
(mkdir "$work/empty" && cd "$work/empty" && GOFLAGS=-modcacherw GOMODCACHE="$work/modules" GOBIN="$work/bin" GONOSUMDB=$module \
	GOPROXY="file://$work/proxy,file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" go install "$module/cmd/engine@latest") ||
	fail "go install fails"
"$work/bin/engine" version

say "a newer package"
cp "$work"/one/dist/tidemark_*_amd64.deb "$work/old.deb"
GORELEASER_CURRENT_TAG=v0.2.0 snapshot "$work/one" --skip=sbom,archive
cp "$work"/one/dist/tidemark_*_amd64.deb "$work/new.deb"
if [ "$(id -u)" = 0 ]; then
	scripts/deb-test.sh "$work/old.deb" "$work/new.deb"
else
	say "the Debian package is not tried: that needs root"
fi
say "passed"
