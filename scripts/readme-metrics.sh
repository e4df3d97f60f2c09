#!/bin/sh
# The metrics in README and those of the phantom job.
#
#     scripts/readme-metrics.sh PIPE CACHE            rewrites README from the last run in a cache, and names its class
#     scripts/readme-metrics.sh --check PIPE CACHE    compares; ends with 1 where they differ, with 3 on another class
#
# The class is that of the device ("cpu"): on another one sums are made in another order, and last digits differ.
set -eu
cd "$(dirname "$0")/.."

check=false
if [ "${1:-}" = --check ]; then check=true; shift; fi
pipe=$1 cache=$2
summary=results/phantom/summary.txt
class=$("$pipe" show --cache "$cache" | sed -n 's/^host .* device //p')
named=$(sed -n 's/^Measured on `\([^`]*\)`.*/\1/p' README.md)
[ -n "$class" ] && [ -f "$summary" ] || { echo "run pipelines/phantom.toml first" >&2; exit 2; }

# The table as README shows it: what stands between "phantom: n =" and "best possible", indented.
table=$(mktemp)
trap 'rm -f "$table" "$table.readme"' EXIT
sed 's/^/    /; s/^ *$//' "$summary" >"$table"

if $check; then
    [ "$class" = "$named" ] || { echo "README was measured on $named, this is $class" >&2; exit 3; }
    awk '/^    phantom: n = /{on=1} on{print} /^    best possible/{exit}' README.md >"$table.readme"
    awk '/^    phantom: n = /{on=1} on{print} /^    best possible/{exit}' "$table" | diff "$table.readme" - || {
        echo "README's metrics are not those of this run (-: README, +: the run); scripts/readme-metrics.sh writes them" >&2
        exit 1
    }
    echo "README's metrics are those of $class"
    exit 0
fi
awk -v table="$table" -v class="$class" '
    /^    phantom: n = / { while ((getline line < table) > 0) { print line; if (line ~ /^    best possible/) break }; skipping = 1 }
    !skipping && /^Measured on `/ { sub(/`[^`]*`/, "`" class "`") }
    !skipping { print }
    skipping && /^    best possible/ { skipping = 0 }
' README.md >"$table.readme"
cp "$table.readme" README.md
echo "README has the metrics of $class"
