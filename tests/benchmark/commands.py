"""How the scripts that compare with peers run both sides' programs."""

import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def environment(**more):
    """One thread a rank, under mpirun as anyone."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            **more}


def run(command, **variables):
    """What it prints; from the top folder. Ends the script where the command fails."""
    done = subprocess.run(command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def last_record(output):
    """The last line that is a JSON object."""
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])
