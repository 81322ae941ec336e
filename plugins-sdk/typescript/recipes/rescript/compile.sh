#!/bin/sh
# Compiles src/*.res to src/*.js. Needs npm's rescript beside this plugin: npm install rescript@12.3.1
set -eu
cd "$(dirname "$0")"
[ -f node_modules/rescript/cli/rescript.js ] || { echo "no ReScript here; run: npm install rescript@12.3.1" >&2; exit 1; }
node node_modules/rescript/cli/rescript.js build
