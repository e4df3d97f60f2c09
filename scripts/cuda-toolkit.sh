#!/bin/sh
# Puts a CUDA toolkit for building into FOLDER, from the wheels on PyPI: no driver, no root, no GPU.
#
#     scripts/cuda-toolkit.sh FOLDER
#
# and then, in the same shell, `. FOLDER/environment` before `cargo build --release --features cuda`.
set -eu

folder=$(mkdir -p "$1" && cd "$1" && pwd)
python3 -m venv "$folder/venv"
# Version 13.0 of nvcc: drivers refuse the PTX of compilers that are newer than they are.
"$folder/venv/bin/pip" install --quiet \
    nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-nvrtc==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-curand==10.4.0.35 nvidia-cublas==13.0.2.14
packages=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13

# The wheels have libX.so.N only, and everything in lib; a toolkit has libX.so in lib64.
home="$folder/toolkit"
mkdir -p "$home/lib64/stubs"
for part in bin include nvvm; do ln -sfn "$packages/$part" "$home/$part"; done
for library in "$packages"/lib/*.so*; do
    name=$(basename "$library")
    ln -sf "$library" "$home/lib64/$name"
    ln -sf "$library" "$home/lib64/${name%%.so*}.so"
done
for library in "$packages"/lib/*.a; do
    [ -e "$library" ] && ln -sf "$library" "$home/lib64/$(basename "$library")"
done

# libcuda belongs to the driver. Where there is none, linking needs its names, those that cudarc calls; a program that
# starts with this library in place of a driver's is told that there is no device (error 100).
cargo fetch --quiet
bindings=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -path '*cudarc-*/src/driver/sys/mod.rs' | sort | tail -1)
[ -n "$bindings" ] || bindings=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -path '*cudarc-*/src/driver/sys/*.rs' | sort | tail -1)
grep -oh '\bcu[A-Z][A-Za-z0-9_]*' "$bindings" | sort -u | sed 's/.*/int &(void) { return 100; }/' > "$folder/stub.c"
cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$home/lib64/stubs/libcuda.so" "$folder/stub.c"
ln -sf libcuda.so "$home/lib64/stubs/libcuda.so.1"

cat > "$folder/environment" <<END
export CUDA_HOME="$home" CUDA_PATH="$home" CUDA_ROOT="$home" CUDA_TOOLKIT_ROOT_DIR="$home"
export CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-90}"
export PATH="$home/bin:\$PATH"
export LIBRARY_PATH="$home/lib64:$home/lib64/stubs\${LIBRARY_PATH:+:\$LIBRARY_PATH}"
export LD_LIBRARY_PATH="$home/lib64\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
END
echo "now: . $folder/environment"
