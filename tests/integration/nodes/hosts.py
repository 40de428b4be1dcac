"""Several hosts on one machine: network namespaces on a switch. Needs root and iproute2."""
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
NETWORK = '10.77.0'
# What a site's administrator would tell Open MPI: how to get to the hosts, and by which network; and after how many
# seconds a host that says nothing is lost, which by itself it takes minutes to find.
SITE = {'plm_rsh_agent': HERE / 'on_host.sh', 'btl': 'tcp,vader,self', 'btl_tcp_if_include': f'{NETWORK}.0/24',
        'oob_tcp_if_include': f'{NETWORK}.0/24', 'oob_tcp_keepalive_time': 5, 'oob_tcp_keepalive_intvl': 1,
        'oob_tcp_keepalive_probes': 3, 'mpi_yield_when_idle': 1}


def why_not(**links):
    """Why there can be no hosts here, or none with such links (Hosts), or None."""
    if os.geteuid() != 0:
        return 'making network namespaces needs root'
    missing = [tool for tool in ('ip', 'unshare', 'mpirun') if not shutil.which(tool)]
    if missing:
        return f'no {", ".join(missing)} here (Debian: iproute2, util-linux, openmpi-bin)'
    try:
        with Hosts(2, **links) as machines:
            subprocess.run([HERE / 'on_host.sh', machines.addresses[1], 'true'], env=machines.environment(), check=True,
                           capture_output=True, text=True)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as problem:
        return f'this machine does not let us make hosts of it: {problem} {getattr(problem, "stderr", "")}'.strip()
    return None


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f'{shlex.join(str(word) for word in words)}: {done.stderr.strip()}')
    return done.stdout


class Hosts:
    """`count` hosts at 10.77.0.1, 10.77.0.2, …, called host1, host2, …, on one switch. `rate`: what each can send, as
    tc writes it (200mbit); default: what memory can. `delay`: milliseconds that all takes on its way."""

    def __init__(self, count, rate=None, delay=None):
        self._rate, self._delay = rate, delay
        self._slow_switch = None
        self.variables = {}  # more of the environment
        self._prefix = f'sy{os.getpid()}'
        self._hub = f'{self._prefix}-hub'
        self.addresses = [f'{NETWORK}.{i}' for i in range(1, count + 1)]
        self._names = [f'{self._prefix}-{i}' for i in range(1, count + 1)]

    def __enter__(self):
        try:
            for name in self._names:
                run('ip', 'netns', 'add', name)
                run('ip', '-n', name, 'link', 'set', 'lo', 'up')
            if self._delay is None:
                self._join_by_bridge()
            else:
                self._join_by_slow_switch()
            for name, address in zip(self._names, self.addresses):
                run('ip', '-n', name, 'address', 'add', f'{address}/24', 'dev', 'eth0')
                # Large frames, so that a byte of header counts for little where nothing puts packets together.
                run('ip', '-n', name, 'link', 'set', 'eth0', 'mtu', '9000', 'up')
                if self._rate:
                    run('ip', 'netns', 'exec', name, 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', 'rate',
                        self._rate, 'burst', '256kb', 'latency', '200ms')
        except BaseException:
            self.__exit__()
            raise
        return self

    def _join_by_bridge(self):
        run('ip', 'netns', 'add', self._hub)
        run('ip', '-n', self._hub, 'link', 'add', 'switch', 'type', 'bridge')
        run('ip', '-n', self._hub, 'link', 'set', 'switch', 'up')
        for i, name in enumerate(self._names, 1):
            run('ip', '-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', f'port{i}', 'netns', self._hub)
            run('ip', '-n', self._hub, 'link', 'set', f'port{i}', 'mtu', '9000')
            run('ip', '-n', self._hub, 'link', 'set', f'port{i}', 'master', 'switch', 'up')

    def _join_by_slow_switch(self):
        self._slow_switch = subprocess.Popen([HERE / 'slow_switch.py', str(self._delay), *self._names], text=True,
                                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self._slow_switch.stdout.readline() != 'ready\n':
            raise RuntimeError(f'no slow switch: {self._slow_switch.communicate()[1].strip()}')

    def __exit__(self, *_):
        if self._slow_switch:
            self._slow_switch.kill()
            self._slow_switch.communicate()
        for name in [*self._names, self._hub]:
            left = subprocess.run(['ip', 'netns', 'pids', name], capture_output=True, text=True).stdout.split()
            for process in left:
                try:
                    os.kill(int(process), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)

    def environment(self):
        """Of on_host.sh, and of mpirun on a host."""
        return {**os.environ, 'SWITCHYARD_HOSTS': self._prefix, 'OMP_NUM_THREADS': '1',
                'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1',
                **{f'OMPI_MCA_{key}': str(value) for key, value in SITE.items()}, **self.variables}

    def processes(self, host):
        """What runs on a host, counted from 1."""
        return [int(pid) for pid in run('ip', 'netns', 'pids', self._names[host - 1]).split()]

    def start(self, words, host=1, **options):
        """A command on a host, as a process that leads a group of its own and takes the command's signals."""
        command = 'exec ' + shlex.join(str(word) for word in words)
        return subprocess.Popen([HERE / 'on_host.sh', self.addresses[host - 1], command],
                                env=self.environment(), start_new_session=True, text=True, **options)

    def mpirun(self, ranks_a_host, words):
        """The words that start a job on all hosts."""
        targets = ','.join(f'{address}:{ranks_a_host}' for address in self.addresses)
        return ['mpirun', '--host', targets, '--bind-to', 'none', *words]

    def cut(self, host):
        """Takes the cable out of a host, counted from 1."""
        run('ip', '-n', self._hub, 'link', 'set', f'port{host}', 'down')

    def sent_bytes(self, host):
        """What the interface of a host has sent so far, with all headers."""
        name = self._names[host - 1]
        return int(run('ip', 'netns', 'exec', name, 'cat', '/sys/class/net/eth0/statistics/tx_bytes'))
