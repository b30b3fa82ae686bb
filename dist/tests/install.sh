# shellcheck shell=bash
# shellcheck disable=SC2154 # dist/test sets what stands here in lower case
# install.sh, as nobody, against a server on loopback.

srv=$work/srv home=$work/home

# publish VERSION DIR: puts a release into DIR of the server. Other versions than the one that was built are told from
# it by their answer to --version, and by a file of their own.
publish() {
  local as=$1 to=$srv/releases/$2 tree
  mkdir -p "$to" "$work/tree"
  tree=$work/tree/eg-$as-$target
  rm -rf "$tree"
  tar -xzf "$dist/$name.tar.gz" -C "$work/tree"
  if [ "$as" != "$version" ]; then
    mv "$work/tree/$name" "$tree"
    printf '#!/bin/sh\necho "eg %s"\n' "$as" >"$tree/bin/eg"
    echo "only in $as" >"$tree/share/doc/eg/only-in-$as"
  fi
  tar -C "$work/tree" -czf "$to/eg-$as-$target.tar.gz" "eg-$as-$target"
  (cd "$to" && sha256sum -- *.tar.gz >SHA256SUMS)
}
# The files below the home, with mode and content. SQLite's own files beside a record come and go.
state_of() { (cd "$1" && find . ! -name 'state.db-*' -printf '%M %p\n' -type f -exec sha256sum {} + | sort); }
install_sh() {
  as_nobody PATH="$2:/usr/bin:/bin" HOME="$home" EG_DOWNLOAD="$1" sh "$dist/install.sh" "${@:3}"
}
installs() { install_sh "$url/releases" "$home/.local/bin" "$@"; }
installed_version() { as_nobody HOME="$home" "$home/.local/bin/eg" --version; }
# Refuses, and everything is as before.
changes_nothing() {
  local before after
  before=$(state_of "$home")
  refuses "$@" || return 1
  after=$(state_of "$home")
  [ "$before" = "$after" ] || { diff <(echo "$before") <(echo "$after"); return 1; }
}
fresh_home() {
  rm -rf "$home"
  mkdir -p "$home/.local/share/keep"
  echo mine >"$home/.local/share/keep/file"
  chown -R 65534:65534 "$home"
}
# A directory whose uname names another processor.
machine() {
  mkdir -p "$work/machine"
  # shellcheck disable=SC2016 # for that script to expand
  printf '#!/bin/sh\n[ "$1" = -m ] && echo %s || echo Linux\n' "$1" >"$work/machine/uname"
  chmod 755 "$work/machine/uname"
  echo "$work/machine"
}
cut_short() { local file=$srv/releases/latest/download/$name.tar.gz; truncate -s "$(($(stat -c %s "$file") / 2))" "$file"; }
without_curl() {
  local dir=$work/no-curl
  mkdir -p "$dir"
  for program in sh env id pwd uname getconf sed sort head tail cut wc tr mktemp mkdir rmdir rm mv cp chmod cat grep find \
    tar gzip dirname sha256sum wget; do
    ln -sf "$(command -v $program)" "$dir/$program"
  done
  as_nobody PATH="$dir" HOME="$home" EG_DOWNLOAD="$url/releases" sh "$dist/install.sh" --prefix "$home/with a space"
}

test_install() {
  artefacts || return
  if [ "$(id -u)" != 0 ] || ! have setpriv; then
    leave_out "install.sh: it is tried as another user, which takes root and setpriv"
    return
  fi
  fresh_home
  publish "$version" latest/download
  mkdir -p "$srv/other/latest/download"
  echo "$(sha256sum /dev/null | cut -c 1-64)  eg-1.0.0-sparc-sun-solaris.tar.gz" >"$srv/other/latest/download/SHA256SUMS"
  (cd "$srv" && exec timeout 1800 python3 -u -m http.server --bind 127.0.0.1 0) >"$work/http.out" 2>/dev/null &
  servers+=($!)
  local port=''
  for _ in $(seq 100); do
    port=$(sed -n 's/^Serving HTTP on 127.0.0.1 port \([0-9]*\).*/\1/p' "$work/http.out")
    [ -n "$port" ] && break
    sleep 0.1
  done
  url=http://127.0.0.1:$port

  check 'no network' changes_nothing 'cannot be downloaded' install_sh http://127.0.0.1:9/releases /nowhere
  check 'plain http elsewhere is refused' changes_nothing 'only over https' install_sh http://example.com/releases /nowhere
  check 'no such version' changes_nothing 'SHA256SUMS cannot be downloaded' installs --version 9.9.9
  check 'another processor' changes_nothing 'no release for Linux on aarch64: releases are for Linux on x86-64 only' \
    install_sh "$url/releases" "$(machine aarch64)"
  check 'no release for this machine' changes_nothing 'has no release for' install_sh "$url/other" /nowhere
  check 'a prefix that cannot be written' changes_nothing 'cannot be written' installs --prefix /usr/local
  cut_short
  check 'a file that is cut short' changes_nothing 'not what SHA256SUMS says' installs
  publish "$version" latest/download
  sed -i 's/^./0/; s/^0\(.\)/f\1/' "$srv/releases/latest/download/SHA256SUMS"
  check 'a wrong checksum' changes_nothing 'not what SHA256SUMS says' installs
  publish "$version" latest/download
  before=$(state_of "$home")

  check 'an installation' says "Installed eg $version" installs
  check 'the binary runs' says "eg $version" installed_version
  for file in share/man/man1/eg-session-start.1 share/man/man5/eg-config.5 share/bash-completion/completions/eg \
    share/zsh/site-functions/_eg share/fish/vendor_completions.d/eg.fish share/doc/eg/THIRD-PARTY; do
    check "$file" test -s "$home/.local/$file"
  done
  check 'the demo' as_nobody HOME="$home" PATH="$home/.local/bin:/usr/bin:/bin" eg demo
  check 'nothing to do' says 'installed already' installs
  check 'its removal' says 'Removed eg' installs --uninstall
  check 'nothing is left of it' [ "$before" = "$(state_of "$home")" ]
  check 'nothing to remove' changes_nothing 'not installed below' installs --uninstall

  publish 0.0.9 download/v0.0.9
  publish 99.0.0 download/v99.0.0
  publish "$version" "download/v$version"
  check 'an older version' says 'Installed eg 0.0.9' installs --version 0.0.9
  check 'an upgrade' says "Upgraded eg 0.0.9 to $version" installs
  check 'what only the older one had is gone' test ! -e "$home/.local/share/doc/eg/only-in-0.0.9"
  check 'a later one by name' says "Upgraded eg $version to 99.0.0" installs --version v99.0.0
  check 'no way back by accident' changes_nothing 'later than' installs
  check 'back on purpose' says "Upgraded eg 99.0.0 to $version" installs --version "$version"
  check 'removal after upgrades' says 'Removed eg' installs --uninstall
  check 'nothing is left of any' [ "$before" = "$(state_of "$home")" ]

  mkdir -p "$home/.local/bin"
  printf '#!/bin/sh\necho mine\n' >"$home/.local/bin/eg"
  chown -R 65534:65534 "$home"
  check "another eg is not overwritten" changes_nothing 'not installed by this script' installs
  fresh_home
  check 'with wget, a space in the path' says 'Installed eg' without_curl
  check 'that one runs, too' as_nobody HOME="$home" "$home/with a space/bin/eg" --version
  check 'once more' says 'Installed eg' installs
  check 'sessions that live' as_nobody HOME="$home" PATH="$home/.local/bin:/usr/bin:/bin" EG_MACHINE=test sh -ec '
    eg resource add test --id sg-0123456789abcdef0 --region eu-west-1 --port tcp/22
    eg session start --no-wait --ipv4 203.0.113.9'
  check 'keep eg there' changes_nothing 'sessions are live' env EG_MACHINE=test \
    setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$home" sh "$dist/install.sh" --uninstall
  check 'unless it is forced' says 'Removed eg' installs --uninstall --force
  check 'the record stays' test -s "$home/.local/state/eg/state.db"
}
