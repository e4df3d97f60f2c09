#!/usr/bin/env bash
# Fetches two chest CTs with tumour masks, which the source archive of the Python package pyradiomics holds, into a folder (default: the
# current one) and prints its path. Of the package only what pip needs to know of it is run; python3 needs setuptools and NumPy.
set -euo pipefail
folder=$(realpath "${1:-.}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation --dest "$scratch" pyradiomics==3.0.1 >&2
"${PYTHON:-python3}" - "$scratch" "$folder" <<'PYTHON'
import pathlib, sys, tarfile
scratch, folder = map(pathlib.Path, sys.argv[1:])
(archive,) = scratch.glob("*.tar.gz")
names = [f"lung{number}_{what}.nrrd" for number in (1, 2) for what in ("image", "label")]
with tarfile.open(archive) as tar:
    for name in names:
        (folder / name).write_bytes(tar.extractfile(f"pyradiomics-3.0.1/data/{name}").read())
PYTHON
echo "$folder"
