#!/usr/bin/env bash
# Draws predictions.csv as SVG: one dot a nodule by its predicted probability, benign below and malignant above.
#   plot.sh PREDICTIONS PICTURE TITLE
set -euo pipefail

awk -F, -v title="$3" '
function escaped(text) { gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); return text }
function dot(x, y, colour) {
    printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\" fill-opacity=\"0.55\"/>\n", 90 + 380 * x, y, colour
}
NR == 1 {
    for (i = 1; i <= NF; i++) place[$i] = i
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"500\" height=\"190\" font-family=\"sans-serif\" font-size=\"12\">"
    print "<rect width=\"500\" height=\"190\" fill=\"white\"/>"
    printf "<text x=\"90\" y=\"24\" font-size=\"14\">%s</text>\n", escaped(title)
    print "<text x=\"10\" y=\"74\">malignant</text><text x=\"10\" y=\"124\">benign</text>"
    for (t = 0; t <= 10; t += 2) {
        printf "<line x1=\"%d\" x2=\"%d\" y1=\"40\" y2=\"145\" stroke=\"#ddd\"/>", 90 + 38 * t, 90 + 38 * t
        printf "<text x=\"%d\" y=\"160\" text-anchor=\"middle\">%.1f</text>\n", 90 + 38 * t, t / 10
    }
    print "<text x=\"280\" y=\"180\" text-anchor=\"middle\">predicted probability, ensemble</text>"
    next
}
{
    is_malignant = $place["malignant"] == 1
    # Dots of one class lie apart, in a pattern that is the same in every run.
    dot($place["ensemble"], (is_malignant ? 60 : 110) + (NR * 7) % 21, is_malignant ? "#d55e00" : "#0072b2")
}
END { print "</svg>" }
' "$1" > "$2"
