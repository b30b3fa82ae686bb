#!/bin/sh
# The step of the GitHub Action that opens: fetches eg, writes its configuration, starts a session. Inputs come as
# INPUT_… variables. What `close.sh` needs goes to a directory of this job, whose name is kept before anything opens.
set -eu

fail() {
  printf '::error title=eg::%s\n' "$*"
  exit 1
}
# Words apart by spaces, commas and newlines.
words() { printf '%s' "$1" | tr ',\n' '  '; }
# Each of these goes into a file: nothing else than what such a value can hold.
only() {
  case $2 in
    '') fail "$1 is missing" ;;
    *[!$3]*) fail "$1 may not be \"$2\"" ;;
  esac
}

only region "${INPUT_REGION-}" 'a-z0-9-'
groups=$(words "${INPUT_GROUPS-}")
ports=$(words "${INPUT_PORTS-}")
[ -n "$(printf '%s' "$groups" | tr -d ' ')" ] || fail 'groups is missing'
[ -n "$(printf '%s' "$ports" | tr -d ' ')" ] || fail 'ports is missing'
only duration "${INPUT_DURATION:=1h}" '0-9dhm'
for group in $groups; do only groups "$group" 'a-z0-9-'; done
for port in $ports; do only ports "$port" 'a-z0-9/-'; done

home=$(mktemp -d "${RUNNER_TEMP:?}/eg.XXXXXX")
printf 'home=%s\n' "$home" >>"${GITHUB_STATE:?}"

if [ -n "${INPUT_BINARY-}" ]; then
  eg=$INPUT_BINARY
else
  version=${INPUT_VERSION-}
  case ${GITHUB_ACTION_REF-} in
    v[0-9]*.[0-9]*.[0-9]*) version=${version:-$GITHUB_ACTION_REF} ;;
  esac
  EG_DOWNLOAD=${EG_DOWNLOAD:-$GITHUB_SERVER_URL/$GITHUB_ACTION_REPOSITORY/releases} \
    sh "$(dirname "$0")/../install.sh" --prefix "$home/prefix" ${version:+--version "$version"}
  eg=$home/prefix/bin/eg
fi
ln -s "$eg" "$home/eg"

list=''
for port in $ports; do list="$list${list:+, }\"$port\""; done
for group in $groups; do
  printf '[[resource]]\nname = "%s"\nid = "%s"\nregion = "%s"\nports = [%s]\n\n' "$group" "$group" "$INPUT_REGION" "$list"
done >"$home/config.toml"

families=$(words "${INPUT_FAMILIES-}")
set --
case " $families " in
  *' ipv4 '*' ipv6 '* | *' ipv6 '*' ipv4 '*) ;;
  '  ' | *' ipv4 '*) set -- -4 ;;
  *' ipv6 '*) set -- -6 ;;
  *) fail "families may not be \"$families\"" ;;
esac
[ -z "${INPUT_ADDRESS-}" ] || set -- --ipv4 "$INPUT_ADDRESS"

# All of it or nothing; what is half open is taken back.
EG_MACHINE=github-actions "$home/eg" --config "$home/config.toml" --state "$home/state.db" \
  session start --atomic --duration "$INPUT_DURATION" \
  --reason "${INPUT_REASON:-${GITHUB_REPOSITORY:-} run ${GITHUB_RUN_ID:-}}" "$@" || exit $?

session=$(EG_MACHINE=github-actions "$home/eg" --config "$home/config.toml" --state "$home/state.db" \
  --output json session list --active)
one() { printf '%s\n' "$session" | sed -n "s/^ *\"$1\": \"\(.*\)\",\{0,1\}\$/\1/p" | head -n 1; }
printf 'session=%s\naddress=%s\n' "$(one id)" "$(one ipv4Address)" >>"${GITHUB_OUTPUT:?}"
