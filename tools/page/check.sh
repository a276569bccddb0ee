#!/bin/sh
# Types of the studio's page: tsc over the JSDoc comments of its modules. Where node is missing this says so, and passes.
set -eu
cd "$(dirname "$0")"
if ! command -v npm > /dev/null; then
  echo "the page's types were not checked: node and npm are not installed"
  exit 0
fi
if [ ! -f node_modules/.stamp ] || [ package.json -nt node_modules/.stamp ]; then
  if ! npm install --no-package-lock --no-audit --no-fund --silent --ignore-scripts; then
    echo "the page's types were not checked: npm could not fetch typescript"
    exit 0
  fi
  touch node_modules/.stamp
fi
node_modules/.bin/tsc --project tsconfig.json
echo "the page's types: tsc found nothing"
