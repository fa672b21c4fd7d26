#!/usr/bin/env bash
# Builds a collector from a manifest beside this file, once: collector/build.sh [--path] [manifest.yaml]
# Prints where the binary is; --path only says where it would be. It is kept outside the checkout, by the manifest's hash,
# in NEXUS_COLLECTOR_CACHE, else the user's cache folder. Needs Go and the Go module proxy.
set -euo pipefail
only_path=
[ "${1:-}" != --path ] || { only_path=yes; shift; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
manifest=$here/${1:-manifest.yaml}
cache=${NEXUS_COLLECTOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nexus-otel/collector}
# what it says counts, not its comments
place=$cache/$(grep -v "^ *#" "$manifest" | cksum | tr " " -)
binary=$place/nexus-otelcol

[ -n "$only_path" ] || [ -x "$binary" ] || {
  # the builder is of the same release as the receiver that it builds
  version=$(sed -n 's/.*receiver\/otlpreceiver \(v[0-9.]*\)$/\1/p' "$manifest")
  export GOTOOLCHAIN=local CGO_ENABLED=0
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "building $binary: some minutes the first time" >&2
  GOBIN="$cache/builder-$version" go install "go.opentelemetry.io/collector/cmd/builder@$version" >&2
  (cd "$work" && "$cache/builder-$version/builder" --config "$manifest" --skip-strict-versioning=false) >&2
  # whole or not at all: two that build at once do not meet
  mkdir -p "$place"
  mv "$work/build/nexus-otelcol" "$binary.$$"
  mv "$binary.$$" "$binary"
}
echo "$binary"
