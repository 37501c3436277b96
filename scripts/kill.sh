#!/usr/bin/env bash
# Kills the engine at its fault points, at its durable calls and at random moments, and checks what is left each time.
#
#     scripts/kill.sh                        10,000 rounds, with a seed that is printed
#     scripts/kill.sh 500                    that many
#     scripts/kill.sh --seed 7 --from 500 1  goes on with another's count, or repeats a round that failed
#
# It stops at the first round that fails and says how to repeat it. As root: the rounds have a systemd of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

count=10000
from=0
seed=$RANDOM
while [ $# -gt 0 ]; do
    case $1 in
        --seed) seed=$2; shift 2 ;;
        --from) from=$2; shift 2 ;;
        [0-9]*) count=$1; shift ;;
        *) echo "unknown argument $1" >&2; exit 2 ;;
    esac
done

scripts/install-components.sh
echo "seed $seed, rounds $from to $((from + count - 1))"
export RUNWRIGHT_KILLS=$count RUNWRIGHT_KILLS_FROM=$from RUNWRIGHT_KILLS_SEED=$seed
exec cargo test --quiet --locked -p runwright --test main -- --exact --nocapture \
    kills::kill_9_at_every_point_and_any_moment_leaves_all_done_or_all_undone
