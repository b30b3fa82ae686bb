# shellcheck shell=bash
# shellcheck disable=SC2154 # dist/test sets what stands here in lower case
# The .deb in a clean Debian without Rust, from nothing to a rule that is open, and back.

# As alice, with nothing but her home.
alice() {
  chroot --userspec=1000:1000 "$clean" env -i HOME=/home/alice USER=alice LOGNAME=alice PATH=/usr/bin:/bin LANG=C.UTF-8 \
    EG_MACHINE=test "AWS_ENDPOINT_URL=$endpoint" AWS_EC2_METADATA_DISABLED=true "$@"
}
in_root() { chroot "$clean" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
# A page as man shows it.
page_shows() { alice env MANWIDTH=80 man "$2" "$3" | grep -q -- "$1"; }
# The files that belong to eg, but for the user's own and dpkg's notes.
files_of_eg() {
  (cd "$clean" && find . -xdev \( -path ./proc -o -path ./tmp -o -path ./home -o -path ./var/lib/dpkg \) -prune -o \
    \( -name eg -o -name 'eg[-_.]*' -o -name _eg \) -print)
}
# The line of the crontab, with what cron gives it.
as_cron_does() {
  local line
  line=$(alice crontab -l | grep ' reconcile') || return 1
  chroot --userspec=1000:1000 "$clean" env -i HOME=/home/alice LOGNAME=alice SHELL=/bin/sh PATH=/usr/bin:/bin \
    sh -c "${line#'* * * * * '}"
}
# The same package under another number.
as_version() {
  dpkg-deb --raw-extract "$2" "$work/previous" && sed -i "s/^Version: .*/Version: $1/" "$work/previous/DEBIAN/control" &&
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$work/previous" "$3"
}
completes() {
  # shellcheck disable=SC2016 # for bash in there
  alice bash -c '. /usr/share/bash-completion/bash_completion
    . /usr/share/bash-completion/completions/eg
    COMP_WORDS=(eg sess) COMP_CWORD=1 COMP_TYPE=9
    _clap_complete_eg eg sess eg
    printf "%s\n" "${COMPREPLY[@]}"'
}
a_clean_debian() {
  local suite tar
  # shellcheck source=/dev/null
  suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
  tar=$root/target/dist-debian-$suite.tar
  if [ ! -e "$tar" ]; then
    debootstrap --variant=minbase --include=man-db,cron,bash-completion "$suite" "$work/bootstrap" >"$work/bootstrap.log" 2>&1 ||
      { tail -n 5 "$work/bootstrap.log"; return 1; }
    chroot "$work/bootstrap" useradd --create-home --uid 1000 --shell /bin/bash alice
    tar -C "$work/bootstrap" --one-file-system -cf "$tar.new" . && mv "$tar.new" "$tar"
    rm -rf --one-file-system "$work/bootstrap"
  fi
  mkdir -p "$clean" && tar -C "$clean" -xf "$tar" && mount -t proc proc "$clean/proc"
}

test_debian() {
  artefacts || return
  local deb begun took line
  clean=$work/root
  if [ "$(id -u)" != 0 ] || ! need debootstrap debootstrap; then
    leave_out 'the .deb in a clean root: it takes root, Debian or a kin of it, and debootstrap'
    return
  fi
  if ! a_clean_debian >"$work/clean.log" 2>&1; then
    cat "$work/clean.log"
    leave_out 'the .deb in a clean root: no such root can be made here'
    return
  fi
  serve_moto || return
  deb=$(echo "$dist"/eg_*.deb)
  check 'there is no Rust in there' not in_root sh -c 'command -v cargo rustc cc'
  if [ -n "$previous" ]; then
    cp "$previous" "$clean/tmp/previous.deb"
  else
    check 'a package before this one' as_version 0.1.0-1 "$deb" "$clean/tmp/previous.deb"
  fi
  cp "$deb" "$clean/tmp/eg.deb"
  mkdir -p "$clean/home/alice/.aws"
  printf '[default]\naws_access_key_id = AKIAEG123456789012BYHAND\naws_secret_access_key = testing\nregion = eu-west-1\n' \
    >"$clean/home/alice/.aws/credentials"
  chown -R 1000:1000 "$clean/home/alice"
  in_root apt-get update -qq >/dev/null 2>&1

  begun=$(date +%s%N)
  check 'one command installs it' in_root apt-get install -y -qq --no-install-recommends /tmp/previous.deb
  check 'eg init' alice eg init --region eu-west-1 --group "$group" --port tcp/22 --yes
  check 'eg session start' says 'Session is ACTIVE' alice eg session start --ipv4 203.0.113.9
  took=$((($(date +%s%N) - begun) / 1000000))
  check "a rule is open $took ms after nothing was there, less than a minute" test "$took" -lt 60000
  check 'the group holds it' rules_are 1
  check 'eg schedule install' alice eg schedule install
  check 'the job runs as cron runs it' as_cron_does
  check 'eg schedule show' says '"installed": true' alice eg --output json schedule show

  check 'the upgrade' in_root dpkg -i /tmp/eg.deb
  check 'eg --version' says "eg $version" alice eg --version
  check 'the record is kept' says 'ACTIVE' alice eg session list
  check 'the job still runs' as_cron_does
  check 'the rule is still there' rules_are 1
  check 'eg demo' alice eg demo
  check 'man eg' page_shows 'EXIT STATUS' 1 eg
  check 'man eg-session-start' page_shows '--duration' 1 eg-session-start
  check 'man eg-config' page_shows 'max_duration' 5 eg-config
  check 'bash completes' says session completes

  check 'eg session stop' says ' stopped' alice eg session stop
  check 'the rule is gone' rules_are 0
  check 'eg schedule remove' alice eg schedule remove
  check 'the crontab is empty' not grep -r reconcile "$clean/var/spool/cron/crontabs"
  check 'the removal' in_root dpkg -r eg
  line=$(files_of_eg)
  check "nothing is left of it $line" test -z "$line"
  check 'the record and the configuration stay' test -s "$clean/home/alice/.local/state/eg/state.db" -a \
    -s "$clean/home/alice/.config/eg/config.toml"
  umount -l "$clean/proc"
}
