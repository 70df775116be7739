# Runs targets of make one after another, and tells at the end how each has ended. To be
# sourced by bash, from the root of the repository.
set -o pipefail
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
names=() outcomes=() failed=()

step() {  # step NAME LIMIT TARGET ARGUMENTS_OF_MAKE...
  local name=$1 begun=$SECONDS outcome=passed
  timeout "$2" make "$3" VENV=".venv-ci-$name" "${@:4}" 2>&1 | tee "$logs/$name"
  case $? in
    0) ;;
    124) outcome="longer than $2" ;;
    *) outcome=failed ;;
  esac
  [ "$outcome" = passed ] || failed+=("$name")
  names+=("$name")
  outcomes+=("$(printf '%-10s %4d min %02d s  %s' "$name" \
    $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60)) "$outcome")")
}

report() {  # the last lines of each step, then a line for each; 1 if any failed
  for name in "${names[@]}"; do
    printf '\n== %s ==\n' "$name"
    tail -n 12 "$logs/$name"
  done
  printf '\n'
  printf '%s\n' "${outcomes[@]}"
  if ((${#failed[@]})); then
    echo "failed: ${failed[*]}"
    return 1
  fi
}
