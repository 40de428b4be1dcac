#!/usr/bin/env bash
# on_host.sh [OPTION...] ADDRESS COMMAND...: runs a command on one of the hosts that hosts.py has made, as ssh would: mpirun
# takes it for that. Each host has its network, its name, its /dev/shm and its folder for temporary files; all else is
# shared. SWITCHYARD_HOSTS: what the network namespaces' names begin with.
set -euo pipefail
while [[ $1 == -* ]]; do shift; done
address=$1
shift
name=$SWITCHYARD_HOSTS-${address##*.}
export HOST_NAME=host${address##*.} HOST_COMMAND=$*
exec ip netns exec "$name" unshare --mount --uts bash -c '
  hostname "$HOST_NAME"
  mount -t tmpfs none /dev/shm
  export TMPDIR=/dev/shm OMPI_MCA_orte_tmpdir_base=/dev/shm
  eval "$HOST_COMMAND"'
