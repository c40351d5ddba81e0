#!/usr/bin/env bash
# The syntax tree of one f-string differs between Python 3.12.1 and its neighbours, for the same source.
#
# Seen:     `f"{x:>{w}}"` parsed by Python 3.12.1 (pyodide 0.26.4) has a format spec of three parts, the last an empty
#           Constant(value=''). Python 3.13.2 (pyodide 0.28.3) gives two parts, and so do 3.11.7, 3.14 and 3.15.
# Matters:  a hash of code by `ast.dump`, or by any walk over its fields, is another one on 3.12.1, though neither text nor
#           meaning changed. Whoever keys results by syntax trees must drop empty texts inside a JoinedStr.
# Needs:    node 18 or newer and npm; pyodide is CPython compiled to WebAssembly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes > /dev/null
npm install --silent --no-fund --no-audit older@npm:pyodide@0.26.4 newer@npm:pyodide@0.28.3 > /dev/null
cat > show.mjs <<'JS'
const folder = `${process.cwd()}/node_modules/${process.argv[2]}/`;
const { loadPyodide } = await import(`${folder}pyodide.mjs`);
const python = await loadPyodide({ indexURL: folder });
console.log(python.runPython(`
import ast, sys
spec = ast.parse('f"{x:>{w}}"').body[0].value.values[0].format_spec
f"{sys.version.split()[0]} {len(spec.values)} {ast.dump(spec.values[-1])}"
`));
JS
older=$(node show.mjs older | tail -1)
newer=$(node show.mjs newer | tail -1)
echo "pyodide 0.26.4: Python $older"
echo "pyodide 0.28.3: Python $newer"
[ "$older" = "3.12.1 3 Constant(value='')" ] && [[ "$newer" == "3.13.2 2 FormattedValue("* ]] && echo "as described" && exit 0
echo "this has changed" && exit 1
