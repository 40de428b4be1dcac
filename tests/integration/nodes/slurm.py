"""Slurm on the hosts of hosts.py: its controller on the first, its daemon on each. Needs Slurm and MUNGE."""
import json
import os
import shutil
import subprocess
import time

from jobs import PATIENCE, Failed, Skipped

TOOLS = ('munged', 'slurmctld', 'slurmd', 'sinfo', 'sbatch', 'scontrol', 'scancel', 'srun')
CORES = 2  # that a host is said to have


class Slurm:
    """Its files are in `folder`. To enter it is Skipped where there can be no Slurm."""

    def __init__(self, machines, folder):
        self._machines, self._folder = machines, folder
        self._daemons = []

    def __enter__(self):
        if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
            raise Skipped(f'no {", ".join(missing)} here (Debian: munge, slurmctld, slurmd, slurm-client)')
        self._write_files()
        self._machines.variables['SLURM_CONF'] = str(self._folder / 'slurm.conf')
        try:
            self._start(1, 'munged', '--foreground', '--force', '--origin', self._machines.addresses[0],
                        *(f'--{file}-file={self._folder / "munge"}.{file}' for file in ('key', 'pid', 'seed', 'log')),
                        '--socket', self._folder / 'munge.socket')
            self._until((self._folder / 'munge.socket').exists, 'MUNGE does not listen')
            self._start(1, 'slurmctld', '-D')
            for host in range(1, len(self._machines.addresses) + 1):
                self._start(host, 'slurmd', '-D')
            self._until(lambda: set(self._ask('sinfo', '--noheader', '--format=%T').split()) == {'idle'},
                        'hosts are not idle')
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.communicate()

    def _write_files(self):
        self._folder.mkdir()
        key = self._folder / 'munge.key'
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        # Named, since slurmd looks for a file system of cgroups to find out, and there need be none: nothing uses them.
        (self._folder / 'cgroup.conf').write_text('CgroupPlugin=cgroup/v1\n')
        # What is of a host lies in its /dev/shm. A job that queues itself again waits until its credential has expired.
        hosts = ''.join(f'NodeName=host{i} NodeAddr={address} CPUs={CORES} CoresPerSocket={CORES}\n'
                        for i, address in enumerate(self._machines.addresses, 1))
        (self._folder / 'slurm.conf').write_text(f'''ClusterName=switchyard
SlurmctldHost=host1({self._machines.addresses[0]})
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={self._folder}/munge.socket,cred_expire=5
StateSaveLocation={self._folder}/controller
SlurmctldPidFile={self._folder}/slurmctld.pid
SlurmctldLogFile={self._folder}/slurmctld.log
SlurmdSpoolDir=/dev/shm/slurmd
SlurmdPidFile=/dev/shm/slurmd.pid
SlurmdLogFile={self._folder}/slurmd.%n.log
TmpFS=/dev/shm
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
{hosts}PartitionName=all Nodes=ALL Default=YES State=UP
''')

    def _start(self, host, *words):
        self._daemons.append(self._machines.start(words, host=host, stdout=subprocess.DEVNULL,
                                                  stderr=subprocess.DEVNULL))

    def _ask(self, *words):
        """What a command prints; while the controller starts it may fail."""
        return self._machines.start(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).communicate()[0]

    def _do(self, *words):
        done = self._machines.start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, why = done.communicate()
        if done.returncode != 0:
            raise Failed(f'{words[0]}: {why.strip()}')
        return output.strip()

    def _until(self, holds, what):
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                logs = {path.name: path.read_text()[-1000:] for path in self._folder.glob('*.log')}
                raise Failed(f'{what} after {PATIENCE} s: {json.dumps(logs, indent=1)}')
            time.sleep(0.1)

    def submit(self, log, *words):
        """sbatch → the number of the job, which prints to `log`."""
        return self._do('sbatch', '--parsable', f'--output={log}', *words)

    def signal(self, job, name):
        """As Slurm signals the ranks of a job before its time is over."""
        self._do('scancel', f'--signal={name}', job)

    def expect_end(self, job, log, restarts=0):
        """Waits until a job has ended well, having queued itself again so many times."""
        said = {}

        def ended():
            said.update(word.split('=', 1) for word in self._do('scontrol', 'show', 'job', job).split() if '=' in word)
            return said['JobState'] in ('COMPLETED', 'FAILED', 'CANCELLED', 'NODE_FAIL', 'TIMEOUT')

        self._until(ended, f'job {job} has not ended')
        if (said['JobState'], said['Restarts']) != ('COMPLETED', str(restarts)):
            raise Failed(f'job {job} is {said["JobState"]} after {said["Restarts"]} restarts: {log.read_text()[-2000:]}')
