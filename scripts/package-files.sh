#!/bin/sh
# Makes the files of a package that the program writes itself, below DIR: completions for
# shells. Usage: package-files.sh DIR
set -eu

dir=$1
rm -rf "$dir"
mkdir -p "$dir/usr/share"
program=$(mktemp -d)
trap 'rm -rf "$program"' EXIT
go build -trimpath -o "$program/tidemark" ./cmd/engine

write() { # SHELL FILE
	mkdir -p "$(dirname "$dir/$2")"
	"$program/tidemark" completion "$1" >"$dir/$2"
}
if "$program/tidemark" completion --help >/dev/null 2>&1; then
	write bash usr/share/bash-completion/completions/tidemark
	write zsh usr/share/zsh/vendor-completions/_tidemark
	write fish usr/share/fish/vendor_completions.d/tidemark.fish
fi
find "$dir" -type d -exec chmod 755 {} +
find "$dir" -type f -exec chmod 644 {} +
