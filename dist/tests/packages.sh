# shellcheck shell=bash
# shellcheck disable=SC2154 # dist/test sets what stands here in lower case
# What is in the .tar.gz, the .deb and the .rpm.

sums_fit() { (cd "$dist" && sha256sum --check --quiet SHA256SUMS); }
# No directory of this machine, and no other, is in the binary.
no_paths() {
  local found
  found=$(grep -aoE "(${CARGO_HOME:-$HOME/.cargo}|$root)/[[:alnum:]_./-]*" "$1" | sort -u)
  [ -z "$found" ] || { head -n 3 <<<"$found"; return 1; }
}
# The same files in all three, but for where Debian wants zsh's completions and compresses pages.
the_same_files() {
  dpkg-deb --fsys-tarfile "$1" | tar -t | grep -v '/$' | sed 's|^\./||; s|zsh/vendor-completions|zsh/site-functions|; s|\.gz$||' |
    grep -vE '^usr/share/doc/eg/(copyright|changelog.*)$' | sort >"$work/deb.list"
  rpm -qlp "$2" | sed 's|^/||' | sort >"$work/rpm.list"
  tar -tzf "$3" | grep -v '/$' | sed "s|^$name/|usr/|" | sort >"$work/tar.list"
  diff "$work/deb.list" "$work/tar.list" && diff "$work/rpm.list" "$work/tar.list"
}
# A test's clock must not move a release's.
no_clock_of_tests() {
  local home=$work/clock
  mkdir -p "$home"
  env -i HOME="$home" EG_TEST_CLOCK_OFFSET=864000 "$1" resource add test --id sg-0123456789abcdef0 \
    --region eu-west-1 --port tcp/22 >/dev/null &&
    env -i HOME="$home" TZ=UTC EG_TEST_CLOCK_OFFSET=864000 "$1" session start --no-wait --ipv4 203.0.113.9 |
    grep -E "Expires: +($(date -u +%F)|$(date -u -d '+8 hours' +%F)) "
}
sbom_names() {
  python3 - "$1" <<'PY'
import json, sys
sbom = json.load(open(sys.argv[1]))
names = {component["name"] for component in sbom["components"]}
missing = {"aws-sdk-ec2", "rusqlite", "rustls", "eg-model"} - names
assert sbom["bomFormat"] == "CycloneDX" and not missing, missing
PY
}

test_packages() {
  artefacts || return
  local deb rpm tree=$work/packages
  deb=$(echo "$dist"/eg_*.deb) rpm=$(echo "$dist"/eg-*.rpm)
  mkdir -p "$tree"
  tar -xzf "$dist/$name.tar.gz" -C "$tree"
  local eg=$tree/$name/bin/eg

  check 'the checksums fit' sums_fit
  check 'the binary runs' says "eg $version" "$eg" --version
  check 'it names its crates (cargo-auditable)' says .dep-v0 readelf -S "$eg"
  check 'it heeds no clock of tests' no_clock_of_tests "$eg"
  check 'no path of this machine is in it' no_paths "$eg"
  check 'the notices name licences' grep -q 'Apache License' "$tree/$name/share/doc/eg/THIRD-PARTY"
  check 'the SBOM names crates' sbom_names "$dist/$name.cdx.json"
  local page
  for page in man1/eg.1 man1/eg-session-start.1 man5/eg-config.5; do
    check "$page" grep -q 'EXIT STATUS\|Accepted' "$tree/$name/share/man/$page"
  done
  if have dpkg-deb; then
    check 'the .deb wants certificates' says ca-certificates dpkg-deb --field "$deb" Depends
    check 'the .deb wants a C library' says 'libc6 (>=' dpkg-deb --field "$deb" Depends
    check 'the .deb belongs to root' not grep -vE ' (root/root|0/0) ' <(dpkg-deb --contents "$deb")
  else
    leave_out 'the .deb: there is no dpkg-deb'
  fi
  if need lintian lintian; then
    check 'lintian finds no error' lintian --fail-on error --suppress-tags bad-distribution-in-changes-file \
      --tag-display-limit 5 "$deb"
  else
    leave_out 'the .deb by lintian'
  fi
  if need rpm rpm; then
    check 'the .rpm is whole' rpm -K --nosignature "$rpm"
    check 'the .rpm wants certificates' says ca-certificates rpm -qp --requires "$rpm"
    check 'the .rpm wants a C library' says 'libc.so.6(GLIBC_' rpm -qp --requires "$rpm"
    have dpkg-deb && check 'all three hold the same' the_same_files "$deb" "$rpm" "$dist/$name.tar.gz"
  else
    leave_out 'the .rpm: there is no rpm'
  fi
}
