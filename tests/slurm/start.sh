#!/bin/bash
# A SLURM of this machine alone, for tests: Debian's packages slurm-wlm and munge, one node with two cores, no accounting.
#
#   tests/slurm/start.sh FOLDER         starts it as root, waits until it takes jobs and prints the variable to set
#   tests/slurm/start.sh FOLDER stop    stops it
#
# Jobs of the partition `high` preempt those of `low`, which SLURM then submits again.
set -euo pipefail
PATH=$PATH:/usr/sbin
folder=$(realpath -m "$1")

stop() {
    for name in slurmd slurmctld munged; do
        pid=$(cat "$folder/$name.pid" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || continue
        for _ in {1..100}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    done
}

if [ "${2:-start}" = stop ]; then
    stop
    exit
fi
for program in munged slurmctld slurmd; do
    command -v $program >/dev/null || { echo "$program is missing: apt-get install slurm-wlm munge" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "slurmd needs root" >&2; exit 1; }

umask 022
mkdir -p "$folder"/{state,spool}
head -c 128 /dev/urandom > "$folder/munge.key"
chmod 600 "$folder/munge.key"
host=$(hostname -s)
read -r controller node < <(python3 - <<'PORTS'
import socket
sockets = [socket.socket() for _ in range(2)]
for each in sockets:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))
PORTS
)
cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$node
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2,defer_batch=no
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
MaxArraySize=100
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=$host Default=YES MaxTime=60 PriorityTier=1 State=UP OverSubscribe=NO
PartitionName=high Nodes=$host MaxTime=60 PriorityTier=2 State=UP OverSubscribe=NO
CONF
export SLURM_CONF=$folder/slurm.conf
trap 'tail -n 5 "$folder"/*.log >&2; stop' ERR
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
slurmctld -c
slurmd
for _ in {1..100}; do
    [ "$(sinfo -h -p low -o %T 2>/dev/null)" = idle ] && break
    sleep 0.2
done
[ "$(sinfo -h -p low -o %T)" = idle ]
echo "export SLURM_CONF=$SLURM_CONF"
