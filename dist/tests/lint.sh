# shellcheck shell=bash
# shellcheck disable=SC2154 # dist/test sets what stands here in lower case
# What is read by others' programs: scripts, workflows, the action, the Dockerfile.

# A tag can be moved to other code; a commit cannot.
pinned() { ! grep -rnE '^ *-? *uses: ' .github deploy/github docs/*.md | grep -vE 'uses: (\./|[a-z0-9/_.-]+@[0-9a-f]{40}( |$)|--OWNER--/eg@)'; }
# What is shown to users leads to the repository that Cargo.toml names.
one_address() {
  local repository owner
  repository=$(sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml)
  owner=$(basename "$(dirname "$repository")")
  grep -qF "repository='$repository'" dist/install.sh &&
    ! grep -rnoE '(https://github\.com/|uses: )[^/ ]+/eg(/|@|$)' README.md docs/*.md dist/install.sh | grep -vF -- "$owner/eg"
}
# A tool of Python's, in an environment of its own, by the hashes of dist/requirements.txt.
lint_tools() {
  local home=$root/target/dist-lint
  if ! cmp -s "$home/complete" dist/requirements.txt; then
    python3 -m venv --clear "$home" &&
      "$home/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement dist/requirements.txt &&
      cp dist/requirements.txt "$home/complete"
  fi
}

test_lint() {
  if need shellcheck shellcheck; then
    check 'shellcheck' shellcheck -x .ci/run .ci/host deploy/scripts/*/*/* deploy/scripts/*/observe dist/build dist/tools dist/test dist/install.sh dist/action/*.sh dist/tests/*.sh
  else
    leave_out 'shellcheck'
  fi
  check 'install.sh is POSIX' sh -n dist/install.sh
  check 'actions are pinned' pinned
  check 'addresses are those of Cargo.toml' one_address
  if lint_tools >"$work/lint.out" 2>&1; then
    local bin=$root/target/dist-lint/bin
    check 'workflows' "$bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml deploy/github/*.yml
    check 'the action' "$bin/check-jsonschema" --builtin-schema vendor.github-actions action.yml
    check 'issue forms' "$bin/check-jsonschema" --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
    check 'the choice of forms' "$bin/check-jsonschema" --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
    check 'the Dockerfile' "$bin/hadolint" Dockerfile
  else
    tail -n 3 "$work/lint.out"
    leave_out 'schemas and hadolint: dist/requirements.txt cannot be installed'
  fi
}
