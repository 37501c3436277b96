#!/usr/bin/env bash
# Prints what Runwright costs beside plain bash doing the same in the same run, and the budget of each.
#
#     scripts/bench.sh            all but the cold build, in about five minutes
#     scripts/bench.sh --quick    without the runs of 10,000 steps
#     scripts/bench.sh --cold     also builds from nothing, into a folder of its own
set -euo pipefail
cd "$(dirname "$0")/.."

sizes=(100 1000 10000)
cold=no
for argument in "$@"; do
    case $argument in
        --quick) sizes=(100 1000) ;;
        --cold) cold=yes ;;
        *) echo "unknown argument $argument" >&2; exit 2 ;;
    esac
done

cargo build --release --locked --quiet -p runwright
program=$PWD/target/release/runwright
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"
export RUNWRIGHT_HOME=$folder/state LC_ALL=C

# --- measuring -------------------------------------------------------------------------------------------------------

# Prints the median time of COUNT runs of a command, in microseconds.
median() {
    local count=$1 times=() from to
    shift
    for ((i = 0; i < count; i++)); do
        from=${EPOCHREALTIME/./}
        "$@" >/dev/null 2>&1 || { echo "failed: $*" >&2; "$@" 2>&1 | tail -5 >&2; return 1; }
        to=${EPOCHREALTIME/./}
        times+=($((to - from)))
    done
    printf '%s\n' "${times[@]}" | sort -n | sed -n "$(((count + 1) / 2))p"
}

# Prints the most memory that a command had, in KiB: the kernel's high-water mark, asked until the command is gone.
memory() {
    local peak=0 seen child
    "$@" >/dev/null 2>&1 &
    child=$!
    while seen=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$child/status" 2>/dev/null) && [ -n "$seen" ]; do
        peak=$seen
    done
    wait "$child"
    echo "$peak"
}

milliseconds() { awk "BEGIN { printf \"%.${2:-1}f ms\", $1 / 1000 }"; }
ratio() { awk "BEGIN { if ($2 > 0) printf \"%.2fx\", $1 / $2; else printf \"-\" }"; }
line() { printf '%-44s %14s %14s %9s   %s\n' "$@"; }

# --- playbooks -------------------------------------------------------------------------------------------------------

head_of() { printf 'playbook: %s\nversion: 1.0.0\ntitle: A bench\n' "$1"; }

# A playbook of COUNT steps whose other lines are REST.
steps_of() {
    local name=$1 count=$2 rest=$3
    {
        head_of "$name"
        echo 'steps:'
        for ((i = 0; i < count; i++)); do
            printf '  - id: s%d\n    title: Step %d\n%b' "$i" "$i" "$rest"
        done
    } >"$name.yml"
}

reading='    command: { argv: [/bin/true] }\n    effect: read\n'
changing='    command: { argv: [/bin/true] }\n    rollback: []\n'

bash_of() { for ((i = 0; i < $2; i++)); do echo "$3"; done >"$1.sh"; }

run() { "$program" run "./$1.yml" --yes --output plain; }

# --- the figures -----------------------------------------------------------------------------------------------------

echo "on $(nproc) cores, $(uname -r), $(date -u +%F)"
sync_time=$( { dd if=/dev/zero of=sync bs=4k count=200 oflag=dsync; } 2>&1 | awk '/copied/ { for (i = 1; i < NF; i++) if ($(i + 1) ~ /^s,?$/) print $i * 1000000 / 200 }')
echo "one synced write of 4 KiB on this disk: $(milliseconds "$sync_time" 2)"
echo "the program has $(($(stat -c %s "$program") / 1024)) KiB (budget: 25600 KiB)"
echo
line 'work' 'runwright' 'bash' 'ratio' 'budget'

steps_of one 1 "$reading"
bash_of one 1 /bin/true
one=$(median 21 run one)
plain=$(median 21 bash one.sh)
line 'start and one step' "$(milliseconds "$one" 2)" "$(milliseconds "$plain" 2)" "$(ratio "$one" "$plain")" '3x'

per_step() {
    local what=$1 name=$2 count=$3 budget=$4 repeats=3 ours theirs
    [ "$count" -lt 10000 ] || repeats=1
    ours=$(median $repeats run "$name")
    theirs=$(median $repeats bash "$name.sh")
    line "$count $what, per step" "$(milliseconds $((ours / count)) 3)" "$(milliseconds $((theirs / count)) 3)" \
        "$(ratio "$ours" "$theirs")" "$budget"
}

for count in "${sizes[@]}"; do
    steps_of "read$count" "$count" "$reading"
    bash_of "read$count" "$count" /bin/true
    per_step 'reading commands in sequence' "read$count" "$count" '1.0x'

    steps_of "change$count" "$count" "$changing"
    bash_of "change$count" "$count" /bin/true
    per_step 'changing commands in sequence' "change$count" "$count" '1.3x on a quiet disk'

    {
        head_of "parallel$count"
        printf 'steps:\n  - id: all\n    title: All\n    at_once: 4\n    parallel:\n'
        for ((i = 0; i < count; i++)); do
            printf '      - id: s%d\n        title: Step %d\n        command: { argv: [/bin/true] }\n        effect: read\n' "$i" "$i"
        done
    } >"parallel$count.yml"
    cat >"parallel$count.sh" <<BASH
for ((i = 0; i < $count; i++)); do
    if ((i >= 4)); then wait -n; fi
    /bin/true &
done
wait
BASH
    per_step 'reading commands, 4 at once' "parallel$count" "$count" '1.0x'

    {
        head_of "foreach$count"
        printf 'steps:\n  - id: all\n    title: All\n    foreach:\n      in: ['
        seq -s, "$count" | tr -d '\n'
        printf ']\n      steps:\n        - id: one\n          title: One\n          command: { argv: [/bin/true] }\n          effect: read\n'
    } >"foreach$count.yml"
    echo "for i in \$(seq $count); do /bin/true; done" >"foreach$count.sh"
    per_step 'rounds of a foreach' "foreach$count" "$count" '1.0x'
done

# What a change costs on top: one synced commit, beside this disk's own sync.
reads=$(median 5 run read1000)
changes=$(median 5 run change1000)
line 'a change on top of a reading step' "$(milliseconds $(((changes - reads) / 1000)) 3)" '-' \
    "$(ratio $(((changes - reads) / 1000)) "$sync_time")" 'of one sync of this disk'
if command -v strace >/dev/null; then
    # The engine syncs the log of its journal by fdatasync, once a synced commit.
    commits() {
        strace -f -y -qq -o syncs -e trace=fdatasync -e signal=none "$program" run "./$1.yml" --yes --output plain >/dev/null 2>&1
        grep -c 'journal.db-wal>' syncs || true
    }
    line 'synced commits of 1,000 reading steps' "$(commits read1000)" '-' '-' '20'
    line 'synced commits of 1,000 changing steps' "$(commits change1000)" '-' '-' '1,000 and the end'
else
    line 'synced commits of 1,000 steps' '-' '-' '-' 'needs strace'
fi

steps_of skipped 200 '    when: 1 > 2\n    command: { argv: [/bin/true] }\n    effect: read\n'
bash_of skipped 200 'if [ 1 -gt 2 ]; then /bin/true; fi'
steps_of skipped1 1 '    when: 1 > 2\n    command: { argv: [/bin/true] }\n    effect: read\n'
bash_of skipped1 1 'if [ 1 -gt 2 ]; then /bin/true; fi'
ours=$(($(median 21 run skipped) - $(median 21 run skipped1)))
theirs=$(($(median 21 bash skipped.sh) - $(median 21 bash skipped1.sh)))
line '200 steps skipped by when, per step' "$(milliseconds $((ours / 200)) 3)" "$(milliseconds $((theirs / 200)) 3)" \
    "$(ratio "$ours" "$theirs")" '0.020 ms'

# A health check of 20: what a machine and a small service would be asked, by both.
port=
if command -v python3 >/dev/null; then
    python3 -u -m http.server --bind 127.0.0.1 0 >server.log 2>&1 &
    server=$!
    for ((i = 0; i < 200; i++)); do
        port=$(sed -n 's/.*port \([0-9]*\) .*/\1/p' server.log)
        [ -z "$port" ] || break
        sleep 0.05
    done
fi
if [ -n "$port" ] && command -v curl >/dev/null && command -v sqlite3 >/dev/null; then
    sqlite3 kv.db 'CREATE TABLE kv (k, v); INSERT INTO kv VALUES (1, 2);'
    {
        head_of health
        echo 'steps:'
        number=0
        add() { printf '  - { id: s%d, title: Step %d, %s }\n' $((++number)) "$number" "$1"; }
        for i in 1 2; do add 'system.disk: {}'; add 'system.memory: {}'; add 'system.load: {}'; done
        add 'system.processes: {}'
        for i in 1 2 3; do add "net.connect: { host: 127.0.0.1, port: $port }"; done
        for i in 1 2 3; do add "http.request: { url: \"http://127.0.0.1:$port/one.sh\" }"; done
        for i in 1 2 3 4; do add 'file.stat: { path: /etc/passwd }'; done
        for i in 1 2 3; do add "sqlite.check: { database: $folder/kv.db }"; done
    } >health.yml
    cat >health.sh <<BASH
for i in 1 2; do df -P; grep MemAvailable /proc/meminfo; cat /proc/loadavg; done
ps -eo pid,stat,pcpu,comm
for i in 1 2 3; do : </dev/tcp/127.0.0.1/$port; done
for i in 1 2 3; do curl -sf http://127.0.0.1:$port/one.sh; done
for i in 1 2 3 4; do stat /etc/passwd; done
for i in 1 2 3; do sqlite3 -readonly $folder/kv.db 'PRAGMA integrity_check'; done
BASH
    ours=$(median 11 run health)
    theirs=$(median 11 bash health.sh)
    line 'a health check of 20' "$(milliseconds "$ours")" "$(milliseconds "$theirs")" "$(ratio "$ours" "$theirs")" '15 ms'
else
    line 'a health check of 20' '-' '-' '-' 'needs python3, curl and sqlite3'
fi

steps_of big 5000 "$changing"
bash_of big 5000 /bin/true
ours=$(median 5 "$program" check ./big.yml)
theirs=$(median 5 bash -n big.sh)
line 'load and check 5,000 steps' "$(milliseconds "$ours")" "$(milliseconds "$theirs")" "$(ratio "$ours" "$theirs")" '40 ms with the plan'
ours=$(median 5 "$program" plan ./big.yml)
line 'load, check and plan 5,000 steps' "$(milliseconds "$ours")" "$(milliseconds "$theirs")" "$(ratio "$ours" "$theirs")" '40 ms'
ours=$(median 5 "$program" plan ./change1000.yml)
line 'preview of 1,000 commands' "$(milliseconds "$ours")" '-' '-' '30 ms'

print='yes "one of two million lines that somebody prints, of one hundred characters, as a build or a dump does it" | head -c 200000000'
{
    head_of prints
    printf 'steps:\n  - id: print\n    title: Print 200 MB\n    shell:\n      script: |\n        set +o pipefail\n        %s\n    effect: read\n    timeout: 5m\n' "$print"
} >prints.yml
echo "$print >out" >prints.sh
ours=$(median 3 run prints)
theirs=$(median 3 bash prints.sh)
line 'a step that prints 200 MB' "$(milliseconds "$ours")" "$(milliseconds "$theirs")" "$(ratio "$ours" "$theirs")" 'bash and 0.13 s'
line '  its memory' "$(memory "$program" run ./prints.yml --yes --output plain) KiB" '-' '-' '30720 KiB'
line 'memory of a run of 1,000 steps' "$(memory "$program" run ./change1000.yml --yes --output plain) KiB" \
    "$(memory bash change1000.sh) KiB" '-' '25600 KiB'

if [ "$cold" = yes ]; then
    cd "$OLDPWD"
    from=$SECONDS
    CARGO_TARGET_DIR=$folder/target cargo build --release --locked --quiet -p runwright
    echo
    echo "a release build from nothing takes $((SECONDS - from)) s (budget: 360 s)"
fi
