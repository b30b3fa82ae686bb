#!/bin/sh
# Installs, upgrades and removes eg: one binary, its manual pages and its completions, below one directory.
#
#   install.sh [--prefix DIR] [--version V]     install, or upgrade what is there
#   install.sh --uninstall [--prefix DIR]       remove exactly what was installed
#   install.sh --help
#
# DIR is ~/.local, for root /usr/local. Nothing outside DIR is written, and nothing in it is changed before the
# download is complete and its checksum fits. EG_DOWNLOAD names another place that has the releases.
set -eu

# dist/build fills these in.
repository='https://github.com/--OWNER--/eg'
glibc='2.34'

usage() {
  cat <<'EOF'
Installs, upgrades and removes eg.

  install.sh [--prefix DIR] [--version V]   install, or upgrade what is there
  install.sh --uninstall [--prefix DIR]     remove exactly what was installed

  --prefix DIR   where it goes: ~/.local by default, for root /usr/local
  --version V    this version, also if it is older than the one that is there
  --force        with --uninstall: although sessions are live or a job is installed
EOF
}

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- arguments

prefix='' version='' uninstall='' force=''
while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --version)
      [ $# -gt 1 ] || fail "$1 needs a value"
      if [ "$1" = --prefix ]; then prefix=$2; else version=${2#v}; fi
      shift
      ;;
    --uninstall) uninstall=yes ;;
    --force) force=yes ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown argument: $1" 'see: install.sh --help' ;;
  esac
  shift
done
if [ -z "$prefix" ]; then
  if [ "$(id -u)" = 0 ]; then prefix=/usr/local; else prefix=${HOME:?HOME is not set}/.local; fi
fi
case $prefix in /*) ;; *) prefix=$(pwd)/$prefix ;; esac
case $version in *[!0-9A-Za-z.+-]*) fail "\"$version\" is not a version" ;; esac

# One line a file or directory that install.sh made, relative to the prefix; directories end in a slash.
list=share/doc/eg/INSTALLED

version_in() { "$1" --version 2>/dev/null | sed -n 's/^eg //p'; }

# --- removing

# Removes what a list names, the last line first: files, then the directories that are empty by then.
remove() {
  sed -n '1!G;h;$p' "$1" | while IFS= read -r path; do
    case $path in
      '' | /* | *..*) ;;
      */) rmdir "$prefix/${path%/}" 2>/dev/null || : ;;
      *) rm -f "$prefix/$path" ;;
    esac
  done
}

if [ -n "$uninstall" ]; then
  [ -f "$prefix/$list" ] || fail "eg is not installed below $prefix by this script" \
    'name the directory with --prefix; a package is removed with apt or dnf'
  [ -w "$prefix/bin" ] || fail "$prefix/bin cannot be written" 'run this with sudo, or name another directory with --prefix'
  eg=$prefix/bin/eg
  if [ -z "$force" ] && [ -x "$eg" ]; then
    "$eg" --output json session list --active 2>/dev/null | grep -q '"id"' &&
      fail 'sessions are live, and without eg nothing would close them' 'close them first: eg session stop --all' \
        'or remove eg all the same: --uninstall --force'
    # Of a job, `schedule show` names the files or the line; without one it says so.
    "$eg" --output json schedule show 2>/dev/null | grep -q '"installed": true' &&
      fail 'a job runs eg every minute, and would fail without it' 'remove it first: eg schedule remove' \
        'or remove eg all the same: --uninstall --force'
  fi
  copy=$(mktemp) || fail 'no temporary file can be made'
  cp "$prefix/$list" "$copy"
  remove "$copy"
  rm -f "$copy"
  say "Removed eg from $prefix."
  say 'Left as they are: your configuration (~/.config/eg) and your record of sessions (~/.local/state/eg).'
  exit 0
fi

# --- what this machine is

from_source='build it from source: cargo install --locked --path .'
case $(uname -s)/$(uname -m) in
  Linux/x86_64) target=x86_64-unknown-linux-gnu ;;
  *) fail "there is no release for $(uname -s) on $(uname -m): releases are for Linux on x86-64 only" "$from_source" ;;
esac
there=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p')
[ -n "$there" ] || fail 'this system has no glibc, which the release needs' "$from_source"
oldest=$(printf '%s\n%s\n' "$glibc" "$there" | sort -t. -k1,1n -k2,2n | head -n 1)
[ "$oldest" = "$glibc" ] || fail "this system has glibc $there, and the release needs $glibc or later" "$from_source"

# --- what can be had

base=${EG_DOWNLOAD:-$repository/releases}
case $base in
  *--OWNER--*) fail 'this copy of install.sh belongs to no release' 'set EG_DOWNLOAD to the address that has the files' ;;
  https://*) secure='--proto =https --tlsv1.2' ;;
  http://127.0.0.1:* | http://localhost:* | http://\[::1\]:*) secure='' ;;
  *) fail "$base: install.sh downloads only over https, or over http from this machine" ;;
esac
if [ -n "$version" ]; then from=$base/download/v$version; else from=$base/latest/download; fi

if have curl; then
  # shellcheck disable=SC2086 # one word each
  get() { curl -fsSL $secure --connect-timeout 15 --retry 2 -o "$2" "$1"; }
elif have wget; then
  get() { wget -q --timeout=15 --tries=3 -O "$2" "$1"; }
else
  fail 'curl or wget is needed, and neither is there'
fi
if have sha256sum; then
  sha256() { sha256sum "$1" | cut -d ' ' -f 1; }
elif have shasum; then
  sha256() { shasum -a 256 "$1" | cut -d ' ' -f 1; }
else
  fail 'sha256sum or shasum is needed, and neither is there'
fi

# --- where it goes

# The deepest directory on the way that exists has to be writable.
writable() {
  dir=$1
  while [ ! -e "$dir" ]; do dir=$(dirname "$dir"); done
  [ -d "$dir" ] && [ -w "$dir" ]
}
for dir in bin share/man/man1 share/man/man5 share/doc/eg share/bash-completion/completions \
  share/zsh/site-functions share/fish/vendor_completions.d; do
  writable "$prefix/$dir" || fail "$prefix/$dir cannot be written" \
    'run this with sudo, or name another directory with --prefix'
done
old=''
if [ -e "$prefix/bin/eg" ]; then
  old=$(version_in "$prefix/bin/eg")
  [ -f "$prefix/$list" ] || fail "$prefix/bin/eg was not installed by this script" 'remove it, or name another directory with --prefix'
fi

# The binary is tried here, so it may not be a directory from which nothing can be run.
made=''
[ -d "$prefix" ] || { made=$prefix; mkdir -p "$prefix"; }
work=$(mktemp -d "$prefix/.eg-install.XXXXXX") || fail "$prefix cannot be written"
clean() {
  rm -rf "$work"
  [ -z "$made" ] || rmdir "$made" 2>/dev/null || :
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

get "$from/SHA256SUMS" "$work/SHA256SUMS" || fail "$from/SHA256SUMS cannot be downloaded" \
  'is there a network, and a release of that version? nothing was changed'
line=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]\(eg-[0-9][0-9A-Za-z.+-]*-$target\.tar\.gz\)\$/\1 \2/p" "$work/SHA256SUMS")
case $line in
  '' | *"
"*) fail "$from has no release for $target" "$from_source" ;;
esac
sum=${line%% *} file=${line#* }
new=${file#eg-}
new=${new%-"$target".tar.gz}
[ -z "$version" ] || [ "$new" = "$version" ] || fail "$from has version $new instead of $version"

# True if the first version is later than the second; what follows the three numbers does not count.
later() {
  [ "$1" != "$2" ] &&
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -t. -k1,1n -k2,2n -k3,3n | tail -n 1)" = "$1" ]
}
if [ -n "$old" ] && [ -z "$version" ]; then
  if [ "$old" = "$new" ]; then
    say "eg $new is installed already, below $prefix."
    exit 0
  fi
  later "$old" "$new" && fail "eg $old is installed, which is later than $new" \
    "to go back to it: install.sh --version $new" 'a record that the later one has changed may be refused by the older one'
fi

# --- download, check, unpack

get "$from/$file" "$work/$file" || fail "$from/$file cannot be downloaded" 'nothing was changed; try again'
found=$(sha256 "$work/$file")
[ "$found" = "$sum" ] || fail "$file is not what SHA256SUMS says: the download is incomplete, or not ours" \
  "expected $sum" "found    $found" 'nothing was changed; try again'
tar -xzf "$work/$file" -C "$work" || fail "$file cannot be unpacked" 'nothing was changed'
tree=$work/${file%.tar.gz}
runs=$(version_in "$tree/bin/eg")
[ "$runs" = "$new" ] || fail "the binary of $file does not run on this system" 'nothing was changed'

# --- put in place: the binary last, in one step

listing=$work/list
: >"$listing"
made='' # the prefix stays from now on
(cd "$tree" && find . -type d ! -name . | sed 's|^\./||' | sort) >"$work/dirs"
while IFS= read -r dir; do
  if [ ! -d "$prefix/$dir" ]; then
    mkdir "$prefix/$dir"
    printf '%s/\n' "$dir" >>"$listing"
  elif [ -f "$prefix/$list" ] && grep -qxF "$dir/" "$prefix/$list"; then
    printf '%s/\n' "$dir" >>"$listing"
  fi
done <"$work/dirs"
(cd "$tree" && find . -type f | sed 's|^\./||' | sort) >"$work/files"
{
  printf '%s\n' "$list"
  grep -vxF bin/eg "$work/files"
  printf 'bin/eg\n'
} >>"$listing"
cp "$listing" "$work/INSTALLED"
if [ -f "$prefix/$list" ]; then
  # What an older version had and this one has not.
  grep -vxF -f "$listing" "$prefix/$list" >"$work/gone" || :
fi
while IFS= read -r path; do
  case $path in
    */ | "$list") ;;
    bin/eg) cp "$tree/$path" "$work/eg" && chmod 755 "$work/eg" && mv -f "$work/eg" "$prefix/bin/eg" ;;
    *) cp "$tree/$path" "$work/file" && chmod 644 "$work/file" && mv -f "$work/file" "$prefix/$path" ;;
  esac || fail "$prefix/$path cannot be written" 'run install.sh again once it can'
  # From the first file on, so that --uninstall knows of everything.
  [ "$path" != "$list" ] || cp "$work/INSTALLED" "$prefix/$list"
done <"$listing"
[ ! -f "$work/gone" ] || remove "$work/gone"

if [ -n "$old" ]; then say "✓ Upgraded eg $old to $new in $prefix/bin."; else say "✓ Installed eg $new in $prefix/bin."; fi
case :$PATH: in
  *:"$prefix/bin":*) ;;
  *) say "Put it into your PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
[ -n "$old" ] || {
  say 'See what it does, without an account:   eg demo'
  say 'Set it up with your AWS profiles:       eg init'
}
