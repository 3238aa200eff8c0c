#!/usr/bin/env bash
# Installs the system packages named on the command line, where apt and the right to use it are at
# hand. Never fails: what cannot be had is said in one line each, and what needs it is skipped.
# APT=no leaves the machine as it is.
set -uo pipefail

declare -A purpose=(
  [bubblewrap]="a file tree and namespaces of its own for each model (Landlock and seccomp take their place)"
  [orthanc]="a real PACS for the demo and the tests (a small one of ours takes its place)"
  [orthanc-dicomweb]="a PACS that a viewer can ask, in the slow tests with OHIF"
  [chromium]="the browser of the slow tests with OHIF"
  [dcmtk]="DCMTK's storescu, echoscu and dsrdump in the tests"
  [mricron-data]="a whole MR head for the demo (a skull-stripped one takes its place)"
  [fonts-droid-fallback]="Chinese letters in reports as PDF (the reader's own font takes its place)"
  [tesseract-ocr]="finding burned-in text in exports (the option find-text says that it cannot do without)"
  [libpixelmed-java]="PixelMed's validator in the slow tests"
  [libsaxonhe-java]="PixelMed's validator in the slow tests"
  [default-jre-headless]="PixelMed's validator in the slow tests"
)

installed() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }

missing=()
for package in "$@"; do
  installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

skip() {
  for package in "${missing[@]}"; do
    installed "$package" || echo "setup: skipped for want of package $package ($1): ${purpose[$package]:-}"
  done
  exit 0
}

[ "${APT:-yes}" = no ] && skip "APT=no"
command -v apt-get >/dev/null || skip "this machine has no apt"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  sudo -n true 2>/dev/null || skip "neither root nor passwordless sudo"
  as_root=(sudo -n)
fi

# Debian's Orthanc starts a service when it is installed; the demo starts its own, elsewhere.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null &&
    "${as_root[@]}" chmod 755 "$policy" &&
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -qq \
    -o Acquire::http::Timeout=20 -o Acquire::Retries=1 -o DPkg::Lock::Timeout=120 "$@" </dev/null
}
fetch() { apt install --yes --no-install-recommends "$@" >/dev/null 2>&1; }

echo "setup: installing system packages: ${missing[*]}"
if ! fetch "${missing[@]}"; then
  apt update >/dev/null 2>&1
  # One by one, so that a package this release does not have costs only itself.
  for package in "${missing[@]}"; do fetch "$package"; done
fi
for package in "${missing[@]}"; do
  if [ "$package" = orthanc ] && installed orthanc && command -v systemctl >/dev/null; then
    "${as_root[@]}" systemctl disable orthanc >/dev/null 2>&1 || true
  fi
done
skip "apt could not install it"
