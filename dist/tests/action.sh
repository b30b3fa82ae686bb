# shellcheck shell=bash
# shellcheck disable=SC2154 # dist/test sets what stands here in lower case
# The GitHub Action, as a runner runs it: its two scripts by node, with inputs and state in variables and files.

runner() {
  env -i PATH=/usr/bin:/bin HOME="$work/runner" RUNNER_TEMP="$work/runner" GITHUB_STATE="$work/runner/state" \
    GITHUB_OUTPUT="$work/runner/output" GITHUB_REPOSITORY=acme/app GITHUB_RUN_ID=42 "${aws[@]}" \
    INPUT_REGION=eu-west-1 INPUT_GROUPS="$group" INPUT_PORTS=$'tcp/22,\ntcp/443' INPUT_DURATION=20m INPUT_FAMILIES=ipv4 \
    INPUT_ADDRESS=203.0.113.11 INPUT_BINARY="$eg" "$@"
}
opens() { : >"$work/runner/state"; : >"$work/runner/output"; runner "$@" node dist/action/main.js; }
closes() { runner "STATE_home=$(sed -n 's/^home=//p' "$work/runner/state" | tail -n 1)" node dist/action/post.js; }
# The job is cancelled at some moment while it opens: whichever that is, nothing stays open.
cancelled() {
  : >"$work/runner/state"
  runner node dist/action/main.js >"$work/cancelled.out" 2>&1 &
  local pid=$!
  until [ -s "$work/runner/state" ] || ! kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  kill -INT "$pid" 2>/dev/null
  wait "$pid"
  closes && rules_are "$1"
}

test_action() {
  artefacts || return
  if ! need node nodejs; then
    leave_out 'the action: there is no node'
    return
  fi
  serve_moto || return
  mkdir -p "$work/runner" "$work/action"
  tar -xzf "$dist/$name.tar.gz" -C "$work/action"
  local eg=$work/action/$name/bin/eg before
  before=$(rules)
  check 'it opens' says 'Session is ACTIVE' opens A=b
  check 'the group holds both ports' rules_are $((before + 2))
  check 'it gives the address' grep -qx address=203.0.113.11 "$work/runner/output"
  check 'it gives the session' grep -qxE 'session=[0-9a-f-]{36}' "$work/runner/output"
  check 'it closes' says '✓ Stopped' closes
  check 'both ports are closed' rules_are "$before"
  check 'closing again is no error' closes
  check 'a job that is cancelled' cancelled "$before"
  check 'a group that is none' refuses 'may not be' opens 'INPUT_GROUPS=sg-1"'
  check 'a region that is none' refuses 'may not be' opens 'INPUT_REGION=eu-west-1"'
  check 'no ports' refuses 'ports is missing' opens INPUT_PORTS=
  check 'a group that is not there' refuses "" opens INPUT_GROUPS=sg-0123456789abcdef0
  check 'closes as well' closes
  check 'and nothing is open' rules_are "$before"
}
