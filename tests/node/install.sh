#!/usr/bin/env bash
# Installs what client.js needs into tests/node/node_modules, exactly as package-lock.json says. Quick where it is there.
set -euo pipefail
cd "$(dirname "$0")"
stamp=node_modules/.tadka
wanted="$(cksum <package-lock.json)"
[[ -f "$stamp" && "$(cat "$stamp")" == "$wanted" ]] && exit 0
# No package of ours needs its install script, and none may run.
npm ci --ignore-scripts --no-audit --no-fund --silent
echo "$wanted" >"$stamp"
