"""Several hosts on one machine: network namespaces on a bridge. Needs root and iproute2."""
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
NETWORK = '10.77.0'
# After how many seconds mpirun takes a host that says nothing for lost; by itself it would wait for some minutes.
LOST_DAEMON = ['--mca', 'oob_tcp_keepalive_time', '5', '--mca', 'oob_tcp_keepalive_intvl', '1', '--mca',
               'oob_tcp_keepalive_probes', '3']


def why_not():
    """Why there can be no hosts here, or None."""
    if os.geteuid() != 0:
        return 'making network namespaces needs root'
    missing = [tool for tool in ('ip', 'unshare', 'mpirun') if not shutil.which(tool)]
    if missing:
        return f'no {", ".join(missing)} here (Debian: iproute2, util-linux, openmpi-bin)'
    try:
        with Hosts(2) as machines:
            subprocess.run([HERE / 'on_host.sh', machines.addresses[1], 'true'], env=machines.environment(), check=True,
                           capture_output=True, text=True)
    except (RuntimeError, subprocess.CalledProcessError) as problem:
        return f'this machine does not let us make hosts of it: {problem} {getattr(problem, "stderr", "")}'
    return None


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f'{shlex.join(str(word) for word in words)}: {done.stderr.strip()}')
    return done.stdout


class Hosts:
    """`count` hosts at 10.77.0.1, 10.77.0.2, …, called host1, host2, …, on one switch. `rate`: what each can send, as
    tc writes it (200mbit); default: what memory can."""

    def __init__(self, count, rate=None):
        self._rate = rate
        self._prefix = f'sy{os.getpid()}'
        self._hub = f'{self._prefix}-hub'
        self.addresses = [f'{NETWORK}.{i}' for i in range(1, count + 1)]
        self._names = [f'{self._prefix}-{i}' for i in range(1, count + 1)]

    def __enter__(self):
        try:
            run('ip', 'netns', 'add', self._hub)
            run('ip', '-n', self._hub, 'link', 'add', 'switch', 'type', 'bridge')
            run('ip', '-n', self._hub, 'link', 'set', 'switch', 'up')
            for i, (name, address) in enumerate(zip(self._names, self.addresses), 1):
                run('ip', 'netns', 'add', name)
                run('ip', '-n', name, 'link', 'set', 'lo', 'up')
                run('ip', '-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', f'port{i}', 'netns', self._hub)
                run('ip', '-n', name, 'address', 'add', f'{address}/24', 'dev', 'eth0')
                # Large frames, so that a byte of header counts for little where nothing puts packets together.
                run('ip', '-n', name, 'link', 'set', 'eth0', 'mtu', '9000', 'up')
                run('ip', '-n', self._hub, 'link', 'set', f'port{i}', 'mtu', '9000')
                run('ip', '-n', self._hub, 'link', 'set', f'port{i}', 'master', 'switch', 'up')
                if self._rate:
                    run('ip', 'netns', 'exec', name, 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', 'rate', self._rate,
                        'burst', '256kb', 'latency', '200ms')
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in [*self._names, self._hub]:
            left = subprocess.run(['ip', 'netns', 'pids', name], capture_output=True, text=True).stdout.split()
            for process in left:
                try:
                    os.kill(int(process), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)

    def environment(self):
        """Of on_host.sh."""
        return {**os.environ, 'SWITCHYARD_HOSTS': self._prefix, 'OMP_NUM_THREADS': '1',
                'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}

    def processes(self, host):
        """What runs on a host, counted from 1."""
        return [int(pid) for pid in run('ip', 'netns', 'pids', self._names[host - 1]).split()]

    def start(self, ranks_a_host, words, **options):
        """mpirun on the first host, as a process that leads a group of its own and takes mpirun's signals."""
        targets = ','.join(f'{address}:{ranks_a_host}' for address in self.addresses)
        command = ['mpirun', '--host', targets, '--bind-to', 'none', '--mca', 'plm_rsh_agent', HERE / 'on_host.sh',
                   '--mca', 'btl', 'tcp,vader,self', '--mca', 'btl_tcp_if_include', f'{NETWORK}.0/24', '--mca',
                   'oob_tcp_if_include', f'{NETWORK}.0/24', *LOST_DAEMON, '--mca', 'mpi_yield_when_idle', '1', *words]
        return subprocess.Popen([HERE / 'on_host.sh', self.addresses[0], 'exec ' + shlex.join(str(word) for word in command)],
                                env=self.environment(), start_new_session=True, text=True, **options)

    def cut(self, host):
        """Takes the cable out of a host, counted from 1."""
        run('ip', '-n', self._hub, 'link', 'set', f'port{host}', 'down')

    def sent_bytes(self, host):
        """What the interface of a host has sent so far, with all headers."""
        name = self._names[host - 1]
        return int(run('ip', 'netns', 'exec', name, 'cat', '/sys/class/net/eth0/statistics/tx_bytes'))
