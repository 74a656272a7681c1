#!/bin/bash
# Run test programs, FM_TEST_JOBS at a time (default: one more than processors, since some tests
# only wait), and add up their results.
#
#   tests/run.sh COMMAND...      each argument is one command line, for instance 'lua5.4 a.lua'
#
# A program reports in TAP, as cmocka does ("1..3", "ok 1 - name", "not ok 2 - name",
# "ok 3 # SKIP"), or by lines "3 passed, 0 failed". It also fails if it exits with an error code,
# crashes, runs fewer tests than planned or none at all, or takes more than FM_TEST_TIMEOUT seconds.
# Reasons after "# SKIP" are shown.
# The last line is "N passed, N failed"; the exit code is 1 if any test failed.
set -u
export CMOCKA_MESSAGE_OUTPUT=TAP
limit=${FM_TEST_TIMEOUT:-300}
jobs=${FM_TEST_JOBS:-$(($(nproc) + 1))}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'kill $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM HUP

# Prints "passed failed remark" for the output in the file $2 and the exit code $1.
count() {
  awk -v code="$1" -v limit="$limit" '
    /^(not )?ok [0-9].*# *[Ss][Kk][Ii][Pp]/ { skipped++; next }
    /^ok [0-9]/     { passed++ }
    /^not ok [0-9]/ { failed++ }
    /^1\.\.[0-9]+/  { planned += substr($1, 4) }
    /^[0-9]+ passed, [0-9]+ failed$/ { sum_passed += $1; sum_failed += $3 }
    END {
      seen = passed + failed + skipped
      if (passed + failed == 0) { passed = sum_passed; failed = sum_failed }
      if (skipped) remark = skipped " skipped"
      if (code == 124 || code == 137) remark = "killed after " limit " s"
      else if (code > 128) remark = "killed by signal " code - 128
      else if (passed + failed + skipped == 0) remark = "ran no tests, exit code " code
      else if (planned > seen) remark = planned - seen " of " planned " tests never reported"
      else if (code != 0 && !failed) remark = "exit code " code
      if (planned > seen) failed += planned - seen
      if (!failed && (code != 0 || passed + skipped == 0)) failed = 1
      print passed + 0, failed + 0, remark
    }' "$2"
}

# Run the command $2, print its result, and store its counts in the folder under the number $1.
one() {
  out=$folder/$1 start=$(date +%s) pid=
  trap '[ -z "$pid" ] || kill "$pid"; exit 130' TERM
  # The test runs in the background so that an interrupt reaches this shell, which passes it on.
  # Background commands of a shell ignore SIGINT, which tests of interruption must not inherit.
  env --default-signal=INT,QUIT timeout -k 5 "$limit" $2 >"$out" 2>&1 </dev/null &
  pid=$!
  wait "$pid"
  read -r passed failed remark <<<"$(count $? "$out")"
  echo "$passed $failed" >"$out.counts"
  verdict=ok said=
  [ "$failed" -eq 0 ] || verdict=FAIL said=$(grep -av '^ok [0-9]' "$out")
  [ "$failed" -ne 0 ] || said=$(grep -aE '^ok [0-9].*# SKIP .' "$out" | sed 's/^ok [0-9]* - //')
  [ -z "$said" ] || said+=$'\n'
  printf '%s%-4s %-44s %4d passed %3d failed %4d s  %s\n' "$said" \
    "$verdict" "$2" "$passed" "$failed" $(($(date +%s) - start)) "$remark" # in one write
}

number=0
for command in "$@"; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
  number=$((number + 1))
  one "$number" "$command" &
done
wait

total_passed=0 total_failed=0
for k in $(seq "$number"); do
  read -r passed failed <"$folder/$k.counts" || passed=0 failed=1 # it ended before counting
  total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
done
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" -eq 0 ] && [ "$total_passed" -gt 0 ]
