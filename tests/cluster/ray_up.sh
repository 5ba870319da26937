#!/usr/bin/env bash
# A real `ray up` over ssh, on this machine: a head that runs no trials at 127.0.0.1 and a worker at 127.0.0.2, then
# kdsearch tune, status and report from "the laptop", then `ray down`. Needs sshd, ssh, rsync and ray[default].
#
# Nothing of the machine's own is used: sshd has its own port, config and key in a temporary folder; each node has its
# own home and its own `ray` (see below); Ray has its own ports and folder. Exit code 77: this machine cannot run it.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

skip() { echo "ray_up.sh: skipped: $1" >&2; exit 77; }
sshd=$(command -v sshd || ls /usr/sbin/sshd 2>/dev/null) || skip "there is no sshd (apt-get install openssh-server)"
for word in ssh rsync ray ssh-keygen; do command -v "$word" >/dev/null || skip "there is no $word"; done
python -c 'import aiohttp_cors, colorful' 2>/dev/null || skip "there is no ray[default] (pip install 'kdsearch[cluster]')"

work=$(mktemp -d /tmp/kd.XXXX) # short: Ray's sockets lie in it
bin=$(dirname "$(command -v python)")
ssh=$(command -v ssh)
port=20222

# Every process of this test's nodes names this test's own folder in its command line; nobody else's does.
ours() { grep -lsaE "$work/(ray|storage|127)" /proc/[0-9]*/cmdline 2>/dev/null | tr -dc '0-9\n' | grep -vx -e $$ -e "$BASHPID" || true; }
cleanup() {
    code=$?
    set +e
    [ "$code" = 0 ] || tail -n 30 "$work"/log/* >&2
    # shellcheck disable=SC2046
    kill $(ours) $(cat "$work/sshd.pid" 2>/dev/null) 2>/dev/null
    sleep 3
    # shellcheck disable=SC2046
    kill -9 $(ours) 2>/dev/null
    rm -rf "$work"
    exit "$code"
}
trap cleanup EXIT
mkdir -p "$work"/{log,bin,laptop,ray,storage,127.0.0.1,127.0.0.2}

# --- the nodes: sshd hands every command to `node`, which gives each address a home of its own
ssh-keygen -q -t ed25519 -N '' -f "$work/host"
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
cp "$work/key.pub" "$work/authorized"
cat >"$work/sshd_config" <<END
Port $port
ListenAddress 127.0.0.1
ListenAddress 127.0.0.2
HostKey $work/host
AuthorizedKeysFile $work/authorized
PidFile $work/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
ForceCommand $work/bin/node
END
cat >"$work/bin/node" <<END
#!/bin/bash
export HOME=$work/\$(echo "\$SSH_CONNECTION" | cut -d' ' -f3) TMPDIR=$work/ray
cd && exec bash -c "\$SSH_ORIGINAL_COMMAND"
END
# `ray down` says `ray stop` on the head, which would end every Ray of this machine: here it ends this test's own, by pid.
cat >"$work/bin/ray" <<END
#!/bin/bash
[ "\$1" = stop ] || exec $bin/ray "\$@"
echo "\$HOME" >>$work/log/stopped
ours() { grep -lsaE "$work/(ray|storage|127)" /proc/[0-9]*/cmdline | tr -dc '0-9\n' | grep -vx \$\$; }
kill \$(ours) 2>/dev/null
sleep 3
kill -9 \$(ours) 2>/dev/null
true
END
# Ray's launcher has no word for ssh's port, and ssh looks for ~ in the password file, not in HOME: both are mended here.
cat >"$work/bin/ssh" <<END
#!/bin/bash
for word; do
    [ "\$before" = -i ] && word=\${word/#~/\$HOME}
    words+=("\$word") before=\$word
done
exec $ssh -p $port "\${words[@]}"
END
chmod +x "$work"/bin/*
for home in "$work/127.0.0.1" "$work/127.0.0.2"; do
    echo "export PATH=$work/bin:$bin:\$PATH PYTHONPATH=$root RAY_TMPDIR=$work/ray RAY_USAGE_STATS_ENABLED=0" >"$home/.bashrc"
done
mkdir -p /run/sshd 2>/dev/null || true # where sshd parts with root, if it is root
"$sshd" -f "$work/sshd_config" -E "$work/log/sshd" || skip "sshd cannot start: $(cat "$work/log/sshd")"
sleep 1
"$work/bin/ssh" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i "$work/key" 127.0.0.2 true \
    2>"$work/log/ssh" || skip "no ssh to 127.0.0.2: $(tail -n 1 "$work/log/ssh")"

# --- the laptop
export PATH=$work/bin:$PATH HOME=$work/laptop TMPDIR=$work/laptop RAY_TMPDIR=$work/laptop PYTHONPATH=$root
export RAY_USAGE_STATS_ENABLED=0 RAY_UP_enable_autoscaler_v2=0 # the newer autoscaler starts no worker that is there already
kdsearch() { timeout -s INT 120 python -m kdsearch.cli "$@"; }
has() { grep -qF -- "$2" "$1" || { echo "ray_up.sh: no '$2' in $1:" >&2; cat "$1" >&2; exit 1; }; }
step() { echo "ray_up.sh: $1 (${SECONDS} s)"; }
sed "s|WORK|$work|g; s|USER|$(id -un)|g" "$root/tests/cluster/loopback.yaml" >"$work/laptop/loopback.yaml"
cd "$work/laptop"

step "cluster check"
kdsearch cluster check loopback.yaml >"$work/log/check"
has "$work/log/check" "2 nodes at most, GPUs as Ray finds them there: looks right"

step "ray up"
ray up -y loopback.yaml >"$work/log/up" 2>&1 </dev/null

step "tune: a space file of the laptop's, with a blank in its name"
cat >"my space.py" <<'END'
"""Does the laptop's own file reach the head?"""

from kdsearch.config import KD, Budget, Fit, Link, Net, Pipeline

BUDGET = Budget(trials=2, epochs=2, teacher_epochs=1)
REFERENCE = Net(widths=(4, 4), depth=2, hidden=8)
FIT = Fit(learning_rate=1e-3)


def space(trial):
    width = trial.suggest_categorical("width", [0.5, 1.0])
    student = Link(net=Net(widths=(4, 4), depth=2, hidden=8, width=width), fit=FIT, kd=KD())
    return Pipeline(links=(Link(net=Net(widths=(8, 8), depth=2, hidden=8), fit=FIT), student))
END
kdsearch tune "./my space.py" --name "far" --seed 3 --cluster loopback.yaml | tee "$work/log/tune"
has "$work/log/tune" "goes on when this machine is switched off"
has "$work/log/tune" "References: one student, equal budgets"
has "$work/log/tune" "Written: $work/storage/far/"
test -s "$work/storage/far/trials.parquet"

step "tune: the job's exit code is this command's"
code=0
kdsearch tune no_such_space --cluster loopback.yaml >"$work/log/refused" 2>&1 || code=$?
[ "$code" = 2 ] || { echo "ray_up.sh: exit code $code instead of 2" >&2; exit 1; }
has "$work/log/refused" "no_such_space"

step "status"
kdsearch status far --cluster loopback.yaml >"$work/log/status"
has "$work/log/status" "$work/storage/far: finished"
[ "$(head -c 1 "$work/log/status")" = / ] # nothing of Ray's or ssh's own chatter
kdsearch status far --json --cluster loopback.yaml | python -c 'import json, sys; assert json.load(sys.stdin)["state"] == "finished"'

step "report"
kdsearch report far --cluster loopback.yaml | tee "$work/log/report"
has "$work/log/report" far.html
has far.html "<html"

step "Ctrl-C ends the view, not the job"
kdsearch tune depth_vs_hint --epochs 3 --teacher-epochs 1 --cluster loopback.yaml >"$work/log/view" 2>&1 &
view=$!
for _ in $(seq 60); do grep -q "Teacher\|teacher" "$work/log/view" && break || sleep 1; done
python -c 'import os, signal, subprocess, sys
pid = int(sys.argv[1]); child = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
os.kill(int(child[0]) if child else pid, signal.SIGINT)' $view
code=0
wait $view || code=$?
[ "$code" = 130 ] || { echo "ray_up.sh: exit code $code instead of 130" >&2; cat "$work/log/view" >&2; exit 1; }
has "$work/log/view" "only this view has ended; the job goes on."
for _ in $(seq 60); do
    kdsearch status depth_vs_hint --cluster loopback.yaml >"$work/log/goes-on" 2>&1 && break || sleep 2
done
has "$work/log/goes-on" "$work/storage/depth_vs_hint: running"

step "ray down"
ray down -y loopback.yaml >"$work/log/down" 2>&1 </dev/null
has "$work/log/stopped" "$work/127.0.0.1"
[ -z "$(ours)" ] || { echo "ray_up.sh: still there after ray down: $(ours)" >&2; exit 1; }
code=0
kdsearch status far --cluster loopback.yaml >"$work/log/gone" 2>&1 || code=$?
[ "$code" = 2 ] || { echo "ray_up.sh: exit code $code instead of 2" >&2; exit 1; }
has "$work/log/gone" "is it up? ray up loopback.yaml"
step "all of it works"
