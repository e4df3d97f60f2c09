#!/bin/sh
# Puts a stand-in for nvcc into FOLDER, which compiles nothing: enough for `cargo check --features cuda`.
#
#     scripts/cuda-stub.sh FOLDER
#
# and then `. FOLDER/environment`. What links and runs needs scripts/cuda-toolkit.sh or a real toolkit.
set -eu
folder=$(mkdir -p "$1" && cd "$1" && pwd)
mkdir -p "$folder/bin" "$folder/include" "$folder/lib64/stubs" "$folder/nvvm"
cat >"$folder/bin/nvcc" <<'END'
#!/bin/sh
case " $* " in
*" --version "*)
    # Build scripts read the fourth line.
    echo "nvcc: NVIDIA (R) Cuda compiler driver"
    echo "(a stand-in that compiles nothing)"
    echo "Built for checks"
    echo "Cuda compilation tools, release 13.0, V13.0.88"
    exit 0
    ;;
*" --list-gpu-code "*)
    printf 'sm_80\nsm_90\n'
    exit 0
    ;;
esac
# Every file that is asked for is made, with nothing in it.
output= folder=. kind=o sources=
while [ $# -gt 0 ]; do
    case "$1" in
    -o | --output-file) output=$2; shift ;;
    --output-file=*) output=${1#*=} ;;
    --output-directory | -odir) folder=$2; shift ;;
    --output-directory=*) folder=${1#*=} ;;
    --ptx | -ptx) kind=ptx ;;
    *.cu) sources="$sources $1" ;;
    esac
    shift
done
if [ -n "$output" ]; then
    : >"$output"
else
    for source in $sources; do : >"$folder/$(basename "$source" .cu).$kind"; done
fi
END
chmod +x "$folder/bin/nvcc"
cat >"$folder/environment" <<END
export CUDA_HOME="$folder" CUDA_PATH="$folder" CUDA_ROOT="$folder" CUDA_TOOLKIT_ROOT_DIR="$folder"
export CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-90}" NVCC="$folder/bin/nvcc"
export PATH="$folder/bin:\$PATH"
END
