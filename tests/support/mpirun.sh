#!/usr/bin/env bash
# mpirun.sh RANKS PROGRAM [ARG...]: runs a test program on this machine, also as root and with more ranks than cores.
set -euo pipefail
ranks=$1
shift
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
exec mpirun -n "$ranks" --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 "$@"
