#!/usr/bin/env bash
# Makes the packages of a program twice, and tries them in empty folders without home and environment.
#
#     scripts/test-package.sh PIPE
#
# Ends with 1 where the packages differ, a checksum is wrong, the packaged program does not run, a library that it needs is
# not among the .deb's dependencies, or lintian (where it is installed) finds an error.
set -euo pipefail
pipe=$(realpath "${1:?the program is missing: scripts/test-package.sh PIPE}")
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

die() {
    echo "scripts/test-package.sh: $*" >&2
    exit 1
}

# What a run needs, and nothing else.
alone() {
    mkdir -p "$scratch/home"
    env -i HOME="$scratch/home" PATH=/usr/bin:/bin "$@"
}

# A small run, in an empty folder.
works() {
    local program=$1 what=$2 folder
    folder="$scratch/project-$what"
    mkdir "$folder"
    (
        cd "$folder"
        alone "$program" --version
        alone "$program" init >/dev/null 2>&1
        alone "$program" run pipelines/sample.toml --quiet
        [ -f results/sample/splits/fold_4/val_pid.csv ] || die "$what: no folds were published"
        small=(--set phantom.patients=20 --set test-phantom.patients=10 --set 'folds=[0]' --set split.n_splits=1 --set train.epochs=1)
        alone "$program" run pipelines/phantom.toml "${small[@]}" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
        alone "$program" run pipelines/phantom.toml "${small[@]}" --json | tail -n 1 | grep -q '"status":"ok","executed":0,' ||
            die "$what: a second run was not empty"
    )
    [ -z "$(ls -A "$scratch/home")" ] || die "$what: something was written to the home folder"
    echo "$what: runs"
}

scripts/package.sh "$pipe" "$scratch/first"
(umask 077 && TZ=Asia/Tokyo LANG=C.UTF-8 COLUMNS=200 PIPE_CACHE=/nowhere scripts/package.sh "$pipe" "$scratch/second" >/dev/null)
diff -r "$scratch/first" "$scratch/second" || die "two builds differ"
echo "two builds: the same bytes"
(cd "$scratch/first" && sha256sum --check --quiet SHA256SUMS)

mkdir "$scratch/archive" "$scratch/root"
tar --extract --file "$scratch"/first/pipe-*.tar.* --directory "$scratch/archive"
folder=$(echo "$scratch"/archive/pipe-*)
for file in README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE LICENSE-THIRD-PARTY pipelines/nlst.toml dataset_csv/sample.csv \
    splits/sample/fold_0/train_pid.csv docs/audit.md completions/pipe.bash pipe.1; do
    [ -s "$folder/$file" ] || die "the archive has no $file"
done
bash -n "$folder/completions/pipe.bash"
works "$folder/pipe" archive
(cd "$folder" && alone ./pipe check pipelines/phantom.toml >/dev/null 2>&1 && rm -rf .pipe)

deb=$(echo "$scratch"/first/pipe_*.deb)
if [ ! -f "$deb" ]; then
    echo "no .deb was made: not tried"
    exit 0
fi
dpkg-deb --extract "$deb" "$scratch/root"
works "$scratch/root/usr/bin/pipe" deb
dpkg-deb --ctrl-tarfile "$deb" | tar --extract --to-stdout ./md5sums | (cd "$scratch/root" && md5sum --check --quiet)
# Where the system is Debian's own, each library is looked up in the packages that are installed here.
if command -v dpkg-query >/dev/null; then
    depends=$(dpkg-deb --field "$deb" Depends)
    # A library is known to dpkg by the path in /lib or by that in /usr/lib.
    ldd "$scratch/root/usr/bin/pipe" | awk '/=> \// { print $3 } /^\t\// { print $1 }' | while read -r library; do
        package=$({ dpkg-query --search "$(realpath "$library")" "$library" "${library#/usr}" 2>/dev/null || true; } | head -n 1 | cut -d : -f 1)
        [ -n "$package" ] || continue
        grep -qE "(^|, )$package( |,|$)" <<<"$depends" || die "$library is of the package $package, which is not in Depends: $depends"
    done
    echo "dependencies: $depends"
fi
if command -v lintian >/dev/null; then
    lintian --no-cfg --allow-root --fail-on error --suppress-tags initial-upload-closes-no-bugs "$deb"
    echo "lintian: no errors"
else
    echo "lintian is not installed: not tried"
fi
