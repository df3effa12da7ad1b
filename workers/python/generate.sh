#!/bin/sh
# Generates the Python code of the examples from the .proto files, with the repository's own .venv.
#   workers/python/generate.sh
# To prepare: python3 -m venv .venv && .venv/bin/pip install -r workers/python/requirements.txt
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
out=$here/examples/generated
if ! "$python" -c 'import grpc_tools' 2>/dev/null; then
    echo "generate.sh: $python has no grpcio-tools; install $here/requirements.txt into it" >&2
    exit 1
fi
# Made aside and moved into place, so that a worker that starts meanwhile finds all of it or none.
mkdir -p "$out.new"
"$python" -m grpc_tools.protoc -I "$root/proto" -I "$root/snapshots/earth/schema" \
    --python_out="$out.new" --pyi_out="$out.new" --grpc_python_out="$out.new" \
    "$root"/proto/spatialdb/v1/*.proto "$root"/snapshots/earth/schema/*.proto
rm -rf "$out"
mv "$out.new" "$out"
