#!/bin/sh
# The step that closes, at the end of the job, however that came about. Ends with 0 only if everything is closed.
set -u

home=${STATE_home-}
# Nothing was begun.
[ -n "$home" ] && [ -e "$home/state.db" ] || exit 0
eg() { EG_MACHINE=github-actions "$home/eg" --config "$home/config.toml" --state "$home/state.db" "$@"; }

if eg --output json session list --active | grep -q '"id"'; then
  eg session stop --all
else
  # Stopped already, or never begun; what may still be under way is closed by this.
  eg reconcile
fi
status=$?
# 3: not confirmed yet; 4: the step that opens was cut off and still holds the lock.
tries=0
while [ "$status" = 3 ] || [ "$status" = 4 ]; do
  tries=$((tries + 1))
  [ "$tries" -le 10 ] || break
  sleep 6
  eg reconcile
  status=$?
done
[ "$status" = 0 ] ||
  echo '::error title=eg::not everything could be closed; what is left closes by its own time when eg sweep runs'
exit "$status"
