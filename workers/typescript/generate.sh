#!/bin/sh
# Generates src/gen from the .proto files, with protoc of the repository's .venv and the plugin of package.json.
#   workers/typescript/generate.sh           writes src/gen
#   workers/typescript/generate.sh --check   fails if src/gen is not what the .proto files say
# The result is committed: whoever builds the package or the page then needs neither Python nor protoc.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
plugin=$here/node_modules/.bin/protoc-gen-es
out=$here/src/gen
if ! "$python" -c 'import grpc_tools' 2>/dev/null; then
    echo "generate.sh: $python has no grpcio-tools; deploy/setup.sh makes it" >&2
    exit 1
fi
if ! [ -x "$plugin" ]; then
    echo "generate.sh: $plugin is missing; run npm ci in $here" >&2
    exit 1
fi
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
"$python" -m grpc_tools.protoc -I "$root/proto" "--plugin=protoc-gen-es=$plugin" \
    --es_out="$new" --es_opt=target=ts,import_extension=js "$root"/proto/spatialdb/v1/*.proto
if [ "${1:-}" = --check ]; then
    diff -r "$new" "$out" >&2 || { echo "generate.sh: src/gen is not up to date; run it without --check" >&2; exit 1; }
else
    rm -rf "$out"
    cp -R "$new" "$out"
fi
