#!/usr/bin/env bash
# Runs the commands of docs/tutorial.md, and compares what they print with what it says.
#
#     scripts/run-tutorial.sh PIPE [DOCUMENT]
#
# How the document marks what is run and compared:
#
# - Every fence whose first line is "```sh" is run. All are run in order by one bash with `set -euo pipefail`, which begins
#   in an empty folder, with an empty home, and with PIPE on the PATH as `pipe`. A command that fails ends the whole run.
# - Every fence whose first line is "```text" shows what the ```sh fence before it prints, on stdout and stderr. Each of its
#   lines has to be a line of that output, in this order; the output may have more lines between them.
# - In such a line, "…" stands for any text, also none. A line of "…" alone says that lines are left out, and is not compared.
# - How many blanks there are, and blank lines, do not count.
# - On another class of device than "cpu" (`pipe show`) last digits differ: there any number stands for any other.
#
# Other fences and indented lines are neither run nor compared.
set -euo pipefail
export LC_ALL=C.UTF-8
pipe=$(realpath "${1:?the program is missing: scripts/run-tutorial.sh PIPE [DOCUMENT]}")
document=$(realpath "${2:-$(dirname "$0")/../docs/tutorial.md}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin" "$scratch/home" "$scratch/work" "$scratch/fences"
ln -s "$pipe" "$scratch/bin/pipe"

# NUMBER.sh and NUMBER.expected for each fence of commands; NUMBER.line is where it begins.
awk -v folder="$scratch/fences" '
    function refuse(what) { printf "line %d: %s\n", NR, what >"/dev/stderr"; failed = 1; exit 1 }
    target == "" && $0 == "```sh" {
        target = sprintf("%s/%03d.sh", folder, ++number)
        printf "" >target
        print NR >sprintf("%s/%03d.line", folder, number)
        next
    }
    target == "" && $0 == "```text" {
        if (!number) refuse("output before any command")
        target = sprintf("%s/%03d.expected", folder, number)
        next
    }
    target == "" && /^```./ { target = "/dev/null"; next }
    target != "" && $0 == "```" { target = ""; next }
    target != "" { print >target }
    END { if (!failed && target != "") refuse("a fence without an end") }
' "$document"
[ -e "$scratch/fences/001.sh" ] || { echo "no commands in $document" >&2; exit 2; }

{
    echo 'set -euo pipefail'
    for commands in "$scratch"/fences/*.sh; do
        printf 'exec >%q 2>&1\n' "${commands%.sh}.output"
        cat "$commands"
    done
} >"$scratch/all"

began=$SECONDS
if ! (
    cd "$scratch/work"
    env -i HOME="$scratch/home" PATH="$scratch/bin:/usr/bin:/bin" LC_ALL="$LC_ALL" bash "$scratch/all" </dev/null
); then
    last=$(find "$scratch/fences" -name '*.output' | sort | tail -n 1)
    echo "$document: a command of the fence at line $(cat "${last%.output}.line") failed:" >&2
    sed 's/^/    /' "${last%.output}.sh" >&2
    echo "which printed" >&2
    sed 's/^/    /' "$last" >&2
    exit 1
fi

project=$(find "$scratch/work" -name .pipe -type d | head -n 1)
class=$(cd "${project%/.pipe}" && env -i HOME="$scratch/home" "$pipe" show latest 2>/dev/null | sed -n 's/^host .* device //p' || true)
digits=true
[ "$class" = cpu ] || digits=false

failures=0 compared=0
for expected in "$scratch"/fences/*.expected; do
    output=${expected%.expected}.output
    awk -v digits="$digits" '
        function plain(line) {
            gsub(/[[:space:]]+/, " ", line)
            sub(/^ /, "", line)
            sub(/ $/, "", line)
            if (digits != "true") gsub(/[0-9]+/, "0", line)
            return line
        }
        # Whether a line is what a pattern with "…" says.
        function is_like(line, pattern, parts, count, i, place) {
            count = split(pattern, parts, "…")
            if (count == 1) return line == pattern
            if (substr(line, 1, length(parts[1])) != parts[1]) return 0
            line = substr(line, length(parts[1]) + 1)
            for (i = 2; i < count; i++) {
                place = index(line, parts[i])
                if (!place) return 0
                line = substr(line, place + length(parts[i]))
            }
            return length(line) >= length(parts[count]) && substr(line, length(line) - length(parts[count]) + 1) == parts[count]
        }
        FILENAME == ARGV[1] { output[++lines] = plain($0); next }
        {
            wanted = plain($0)
            if (wanted == "" || wanted == "…") next
            while (at < lines && !is_like(output[++at], wanted)) if (at == lines) { print $0; exit 1 }
            if (!is_like(output[at], wanted)) { print $0; exit 1 }
            if (at in used) { print $0; exit 1 }
            used[at] = 1
        }
    ' "$output" "$expected" >"$scratch/missing" || {
        failures=$((failures + 1))
        echo "$document: the fence at line $(cat "${expected%.expected}.line") did not print, or not in this order," >&2
        sed 's/^/    /' "$scratch/missing" >&2
        echo "but" >&2
        sed 's/^/    /' "$output" >&2
    }
    compared=$((compared + $(grep -cvE '^[[:space:]]*…?[[:space:]]*$' "$expected" || true)))
done
[ "$failures" -eq 0 ] || exit 1
$digits || echo "numbers were not compared: this is device class ${class:-unknown}"
echo "$document: $(find "$scratch/fences" -name '*.sh' | wc -l) fences of commands, $compared lines of output as printed, $((SECONDS - began)) s"
