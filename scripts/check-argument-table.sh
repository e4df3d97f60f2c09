#!/usr/bin/env bash
# Compares docs/published-arguments.md with a program.
#
#     scripts/check-argument-table.sh PIPE
#
# In tables with a column "in `pipe`", each `KIND.NAME` has to be a parameter of that kind, and each `KIND.inputs.NAME` an
# input; the column "default here" has to be the parameter's default. So do all such names elsewhere in the text. The shell
# examples that use pipelines/nlst.toml are checked on pipelines/phantom.toml, which needs no data. Ends with 1 where
# something differs.
set -euo pipefail
pipe=$(realpath "${1:?the program is missing: scripts/check-argument-table.sh PIPE}")
cd "$(dirname "$0")/.."
document=docs/published-arguments.md
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# One line for each name that exists: "KIND.NAME<tab>DEFAULT", and "KIND.inputs.NAME<tab>".
"$pipe" stages | awk '{ print $1 }' >"$scratch/kinds"
while read -r kind; do
    "$pipe" stages "$kind" | awk -v kind="$kind" '
        /^[^ ]/ { section = $1; next }
        section == "inputs" && /^  [^ ]/ { printf "%s.inputs.%s\t\n", kind, $1 }
        section == "parameters" && /^  [^ ]/ {
            default_value = $0
            if (sub(/^  [^ ]+ = /, "", default_value) == 0) default_value = ""
            printf "%s.%s\t%s\n", kind, $1, default_value
        }'
done <"$scratch/kinds" >"$scratch/names"

failures=0
fail() {
    echo "$document: $*" >&2
    failures=$((failures + 1))
}

# What stands between backticks and looks like a parameter or an input: not the names of files.
names_in() {
    tr '\n`' ' \n' | awk 'NR % 2 == 0' | grep -E '^[a-z-]+\.[a-z_.]+$' |
        grep -vE '\.(py|ipynb|md|toml|csv|json|txt|pt|sh)$'
}

# Every name that begins with a kind, outside of fences.
awk '/^```/ { fenced = !fenced; next } !fenced' "$document" | names_in | sort -u >"$scratch/mentioned"
checked=0
while read -r name; do
    grep -qxF -- "${name%%.*}" "$scratch/kinds" || continue
    checked=$((checked + 1))
    cut -f 1 "$scratch/names" | grep -qxF -- "$name" || fail "there is no $name"
done <"$scratch/mentioned"

# Rows of the tables: the first name of a parameter in the column, and the default beside it.
awk -F ' *[|] *' '
    /^[|]/ {
        if (!column) { for (i = 1; i <= NF; i++) if ($i == "in `pipe`") column = i }
        else if (column) print $column "\t" $(column + 1)
        next
    }
    { column = 0 }
' "$document" >"$scratch/rows"
defaults=0
while IFS=$'\t' read -r cell stated; do
    name=$(names_in <<<"$cell" | grep -vF .inputs. | head -n 1 || true)
    [ -n "$name" ] || continue
    defaults=$((defaults + 1))
    actual=$(awk -F '\t' -v name="$name" '$1 == name { print $2 }' "$scratch/names")
    [ "$stated" = "\`$actual\`" ] || fail "the default of $name is $actual, not $stated"
done <"$scratch/rows"
[ "$checked" -gt 0 ] && [ "$defaults" -gt 0 ] || fail "no table was found: was its heading changed?"

# Examples: lines that end in a backslash are joined, and data that is not there is left to the phantom pipeline.
examples=0
while read -r line; do
    examples=$((examples + 1))
    line=${line/pipelines\/nlst.toml/pipelines/phantom.toml}
    line=$(sed -E 's/--set (dataset|test_dataset|weights)=[^ ]+//g; s/^pipe run/check/; s/--only [^ ]+//' <<<"$line")
    mapfile -t arguments < <(xargs -n 1 printf '%s\n' <<<"$line")
    "$pipe" "${arguments[@]}" --cache "$scratch/cache" >"$scratch/answer" 2>&1 || {
        fail "an example is refused: $line"
        cat "$scratch/answer" >&2
    }
done < <(awk '/^```sh/ { on = 1; next } /^```/ { on = 0 } on' "$document" |
    sed -e ':join' -e '/\\$/N; s/\\\n//; t join' | grep '^pipe run pipelines/nlst.toml')
[ "$examples" -gt 0 ] || fail "no example was found"

[ "$failures" -eq 0 ] || exit 1
echo "$document: $checked names, $defaults defaults and $examples examples are those of $("$pipe" --version)"
