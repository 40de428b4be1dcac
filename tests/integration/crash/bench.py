"""What the rows of the campaign work with: paths, the driver process, and scratch folders."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[2]


class Driver:
    """crash_driver with the shim loaded, as driver.cpp describes it; started again should it die."""

    def __init__(self, build):
        self._program = build / 'tests/integration/crash/crash_driver'
        self._shim = build / 'tests/integration/crash/libcrash_io_shim.so'
        self._process = None

    def ask(self, **command):
        if self._process is None or self._process.poll() is not None:
            environment = {**os.environ, 'LD_PRELOAD': str(self._shim), 'OMP_NUM_THREADS': '1'}
            self._process = subprocess.Popen([self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                             env=environment)
        self._process.stdin.write(json.dumps(command, default=str) + '\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f'crash_driver died with {self._process.wait()} of {command}')
        answer = json.loads(line)
        if 'error' in answer:
            raise RuntimeError(f'crash_driver: {answer["error"]}')
        return answer

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()


class Bench:
    def __init__(self, build, work):
        self.build = build
        self.program = build / 'switchyard'
        self.shim = build / 'tests/integration/crash/libcrash_io_shim.so'
        self.driver = Driver(build)
        self.work = Path(tempfile.mkdtemp(prefix='switchyard-crash-', dir=work or roomy_folder()))
        keys = subprocess.run([self.program, 'config', '--reference'], capture_output=True, text=True, check=True).stdout
        self.has_async = '`checkpoint.async`' in keys
        self._kept = {}

    def close(self):
        self.driver.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def folder(self, name='point'):
        """An empty folder; what it held before is gone."""
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def once(self, name, make):
        """What make(folder) returned when it was first asked for under this name."""
        if name not in self._kept:
            self._kept[name] = make(self.folder('kept/' + name))
        return self._kept[name]


def roomy_folder():
    """Memory where there is enough of it: a campaign syncs files 100,000 times."""
    memory = Path('/dev/shm')
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 256 << 20:
        return memory
    return tempfile.gettempdir()


def commit_of(source):
    """The commit that is checked out, marked where tracked files differ from it."""
    def git(*words):
        return subprocess.run(['git', '-C', source, *words], capture_output=True, text=True, check=True).stdout.strip()
    changed = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', '--short=12', 'HEAD') + ('-changed' if changed else '')
