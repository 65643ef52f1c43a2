#!/bin/sh
# Install the peers, each into an environment of its own outside this repository: benchmarks/peers/install.sh FOLDER
# Run it from the repository's root: it uses the uv of .venv and installs nothing there.
set -eu
folder=${1:?"usage: benchmarks/peers/install.sh FOLDER (outside the repository)"}
uv=$(pwd)/.venv/bin/uv
python=$("$(pwd)/.venv/bin/python" -c 'import sys; print(sys._base_executable)')
mkdir -p "$folder"
case $(cd "$folder" && pwd) in "$(pwd)" | "$(pwd)"/*) echo "choose a folder outside the repository" >&2; exit 1 ;; esac
install() { # NAME REQUIREMENT
    test -x "$folder/$1/bin/python" || "$uv" venv --quiet --python "$python" "$folder/$1"
    "$uv" pip install --quiet --python "$folder/$1/bin/python" "$2"
}
install litellm "litellm[proxy]==1.106.0"
install openwebui "open-webui==0.12.4"
echo "export LITELLM_ENV=$(cd "$folder" && pwd)/litellm OPENWEBUI_ENV=$(cd "$folder" && pwd)/openwebui"
