#!/usr/bin/env bash
# Gets the viewer OHIF, built, and what drives a browser, for the tests in tests/browser. Never fails:
# what cannot be had is said, and the tests that need it are skipped.
set -uo pipefail
cd "$(dirname "$0")/../.."

version=3.12.10
folder=build/ohif

if ! .venv/bin/python -c 'import playwright' 2>/dev/null; then
  echo "setup: installing the extra browser"
  .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input \
    --constraint deploy/setup/constraints.txt --editable ".[browser]" ||
    echo "setup: skipped for want of the Python package playwright: the tests in a browser"
fi
[ "$(cat "$folder/version" 2>/dev/null)" = "$version" ] && exit 0
if ! command -v npm >/dev/null; then
  echo "setup: skipped for want of npm: the viewer OHIF for the tests in a browser"
  exit 0
fi
echo "setup: getting OHIF $version"
rm -rf "$folder" && mkdir -p "$folder"
if (cd "$folder" && npm pack --silent "@ohif/app@$version" >/dev/null && tar xzf ohif-app-*.tgz package/dist &&
  mv package/dist dist && rm -rf package ohif-app-*.tgz); then
  echo "$version" >"$folder/version"
else
  echo "setup: skipped, for npm does not give it: the viewer OHIF for the tests in a browser"
fi
