#!/usr/bin/env bash
# Tests of the Python package with a `pipe` that is built already, and of the notebook that uses it.
#
#   scripts/python-tests.sh PIPE_BINARY VENV_PYTHON
#
# The package, with what its tests need, is installed into that Python's environment. All else is in a temporary folder.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: scripts/python-tests.sh PIPE_BINARY VENV_PYTHON" >&2; exit 2; }
PIPE=$(realpath "$1")
python=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/empty" "$scratch/tmp"
export PIPE TMPDIR="$scratch/tmp" PYTHONDONTWRITEBYTECODE=1 RUFF_NO_CACHE=true MPLCONFIGDIR="$scratch/matplotlib"
export IPYTHONDIR="$scratch/ipython" JUPYTER_CONFIG_DIR="$scratch/jupyter" JUPYTER_RUNTIME_DIR="$scratch/runtime"
unset PIPE_CACHE

"$python" -m pip install --quiet "./python[test,notebook]"

(
    cd python
    "$python" -m ruff check
    "$python" -m ruff format --check
    "$python" -m mypy --cache-dir "$scratch/mypy"
    "$python" -m pytest -q -p no:cacheprovider --basetemp "$scratch/pytest"
)
"$python" -m ruff check --config python/pyproject.toml --ignore D1,RUF001 examples/results.ipynb
"$python" -m ruff format --check --config python/pyproject.toml examples/results.ipynb

"$python" - "$scratch/empty" <<'END'
import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read("examples/results.ipynb", as_version=4)
nbformat.validate(notebook)
cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
if any(cell.outputs or cell.execution_count for cell in cells):
    sys.exit("examples/results.ipynb has outputs: clear them")
NotebookClient(notebook, timeout=900, resources={"metadata": {"path": sys.argv[1]}}).execute()
pictures = sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
if pictures != 4:
    sys.exit(f"examples/results.ipynb has drawn {pictures} pictures, not 4")
print(f"examples/results.ipynb: {len(cells)} cells, {pictures} pictures")
END

left=$(find "$scratch/tmp" -mindepth 1 -name 'pipe-results-*')
[ -z "$left" ] || { echo "copies were left behind: $left" >&2; exit 1; }
