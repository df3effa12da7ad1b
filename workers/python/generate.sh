#!/bin/sh
# Generates Python code from the .proto files, with the repository's own .venv: for the SDK (spatialdb/v1), and for the
# examples, which use no SDK (examples/generated).
#   workers/python/generate.sh
# To prepare: python3 -m venv .venv && .venv/bin/pip install -r workers/python/requirements.txt
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
if ! "$python" -c 'import grpc_tools' 2>/dev/null; then
    echo "generate.sh: $python has no grpcio-tools; install $here/requirements.txt into it" >&2
    exit 1
fi

# generate OUT FILES...: made aside and moved into place, so that a worker that starts meanwhile finds all or none.
generate() {
    out=$1
    shift
    rm -rf "$out.new"
    mkdir -p "$out.new"
    "$python" -m grpc_tools.protoc -I "$root/proto" -I "$root/snapshots/earth/schema" \
        --python_out="$out.new" --pyi_out="$out.new" --grpc_python_out="$out.new" "$@"
}

generate "$here/examples/generated" "$root"/proto/spatialdb/v1/*.proto "$root"/snapshots/earth/schema/*.proto
rm -rf "$here/examples/generated"
mv "$here/examples/generated.new" "$here/examples/generated"

generate "$here/spatialdb/v1" "$root"/proto/spatialdb/v1/*.proto
rm -rf "$here/spatialdb/v1"
mv "$here/spatialdb/v1.new/spatialdb/v1" "$here/spatialdb/v1"
rm -rf "$here/spatialdb/v1.new"
