"""A disk after a power cut: which states the logged calls of a program may leave behind.

The model is that of ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014) at its weakest: until a
file is synced, each of its writes may be lost; until a folder is synced, each entry made, renamed or removed in it may be
lost; both in any combination. What was synced stays."""
import hashlib
import random
from dataclasses import dataclass, field

ROOT = 0
# What becomes of the changes that are not synced.
VARIANTS = ('none', 'all', 'entries', 'contents', 'zeros', 'torn', 'random-0', 'random-1', 'random-2')


@dataclass
class Change:
    """One change of one inode: of the entries of a folder ({name: inode or None}), or of a file's bytes."""
    inode: int
    entries: dict = None
    offset: int = 0
    data: bytes = None
    size: int = None  # truncated or extended to it
    grows: bool = False
    synced_at: int = None  # index of the operation that syncs it


@dataclass
class Folder:
    entries: dict = field(default_factory=dict)


class Disk:
    """The changes that a log makes, each with the moment at which it is safe. `before`: {path: bytes, None for a folder,
    str for a link} of what was there, durable, when the log began."""

    def __init__(self, log, before):
        self.kinds = {ROOT: 'folder'}  # inode → folder, file, or the target of a link
        self.view = {ROOT: {}}         # what the program sees: folder's inode → {name: inode}
        self.changes = []              # lists of changes, one list an operation
        self.handles = {}              # of the log → inode
        for path, content in sorted(before.items()):
            self._add(path, content)
        self.base = [change for group in self.changes for change in group]
        for change in self.base:
            change.synced_at = -1
        self.changes = []
        self.commits = []              # (index of the operation, what it names)
        for name, words, data in log:
            self._note(name, words, data)

    def _new(self, kind):
        inode = len(self.kinds)
        self.kinds[inode] = kind
        if kind == 'folder':
            self.view[inode] = {}
        return inode

    def _find(self, path):
        """(inode of the folder, name) of a path."""
        folder, *parents = ROOT, *path.split('/')[:-1]
        for name in parents:
            folder = self.view[folder][name]
        return folder, path.split('/')[-1]

    def _enter(self, folder, name, inode):
        if inode is None:
            self.view[folder].pop(name, None)
        else:
            self.view[folder][name] = inode
        return Change(folder, entries={name: inode})

    def _add(self, path, content):
        kind = 'folder' if content is None else content if isinstance(content, str) else 'file'
        inode = self._new(kind)
        group = [self._enter(*self._find(path), inode)]
        if isinstance(content, bytes):
            group.append(Change(inode, data=content))
        self.changes.append(group)

    def _note(self, name, words, data):
        group = []
        if name == 'mkdir':
            group = [self._enter(*self._find(words[0]), self._new('folder'))]
        elif name == 'symlink':
            group = [self._enter(*self._find(words[1]), self._new(words[0]))]
        elif name in ('open', 'create'):
            group = self._open(words)
        elif name == 'rename':
            group = self._rename(*words)
        elif name in ('unlink', 'rmdir'):
            group = [self._enter(*self._find(words[0]), None)]
        elif name == 'write':
            group = [Change(self.handles[words[0]], offset=int(words[1]), data=data)]
        elif name in ('truncate', 'allocate'):
            group = [Change(self.handles[words[0]], size=int(words[1]), grows=name == 'allocate')]
        elif name == 'sync':
            self._sync(self.handles[words[0]])
        self.changes.append(group)

    def _open(self, words):
        handle, path, how = words
        if path == '.':
            self.handles[handle] = ROOT
            return []
        folder, name = self._find(path)
        if how == 'created':
            self.handles[handle] = self._new('file')
            return [self._enter(folder, name, self.handles[handle])]
        self.handles[handle] = self.view[folder][name]
        return [Change(self.handles[handle], size=0)] if how == 'emptied' else []

    def _rename(self, old, new, how):
        old_folder, old_name = self._find(old)
        new_folder, new_name = self._find(new)
        moved = self.view[old_folder][old_name]
        other = self.view[new_folder].get(new_name) if how == 'exchange' else None
        self.commits.append((len(self.changes), new))
        if old_folder == new_folder:  # one change, so that it is whole or not at all
            self._enter(old_folder, old_name, other)
            self._enter(new_folder, new_name, moved)
            return [Change(new_folder, entries={old_name: other, new_name: moved})]
        return [self._enter(new_folder, new_name, moved), self._enter(old_folder, old_name, other)]

    def _sync(self, inode):
        for group in self.changes:
            for change in group:
                if change.inode == inode and change.synced_at is None:
                    change.synced_at = len(self.changes)

    def durable_commits(self, operations):
        """What renames have named for good when that many operations are done."""
        return [name for index, name in self.commits if index < operations and
                all(change.synced_at is not None and change.synced_at < operations for change in self.changes[index])]

    def after(self, operations, variant):
        """{path: bytes, None or str} of what is there after a cut when that many operations were done."""
        done = [change for group in self.changes[:operations] for change in group]
        pending = [change for change in done if change.synced_at is None or change.synced_at >= operations]
        last = pending[-1] if pending else None
        dice = random.Random(f'{operations} {variant}')
        folders, files = {ROOT: {}}, {}
        for change in self.base + done:
            is_pending = change.synced_at is None or change.synced_at >= operations
            of_entries = change.entries is not None
            if is_pending and not {'none': False, 'all': True, 'zeros': True, 'torn': True, 'entries': of_entries,
                                   'contents': not of_entries}.get(variant, dice.random() < 0.5):
                continue
            if of_entries:
                entries = folders.setdefault(change.inode, {})
                for name, inode in change.entries.items():
                    entries.pop(name, None)
                    if inode is not None:
                        entries[name] = inode
                continue
            data = change.data
            if is_pending and variant == 'zeros' and data is not None:
                data = bytes(len(data))
            if variant == 'torn' and change is last and data is not None:
                data = data[:len(data) // 2]
            apply_to(files.setdefault(change.inode, bytearray()), change, data)
        return self._paths(ROOT, '', folders, files)

    def _paths(self, folder, prefix, folders, files):
        found = {}
        for name, inode in folders.get(folder, {}).items():
            kind = self.kinds[inode]
            found[prefix + name] = {'folder': None, 'file': bytes(files.get(inode, b''))}.get(kind, kind)
            if kind == 'folder':
                found.update(self._paths(inode, f'{prefix}{name}/', folders, files))
        return found


def apply_to(content, change, data):
    if data is not None:
        if len(content) < change.offset:
            content.extend(bytes(change.offset - len(content)))
        content[change.offset:change.offset + len(data)] = data
    elif len(content) < change.size:
        content.extend(bytes(change.size - len(content)))
    elif not change.grows:
        del content[change.size:]


def fingerprint(state):
    text = hashlib.sha256()
    for path in sorted(state):
        text.update(repr((path, state[path])).encode())
    return text.hexdigest()


def read_folder(folder):
    """A state, as Disk takes it, of a real folder."""
    found = {}
    for path in sorted(folder.rglob('*')):
        name = str(path.relative_to(folder))
        found[name] = str(path.readlink()) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
    return found


def write_folder(folder, state):
    for name in sorted(state):
        path = folder / name
        if state[name] is None:
            path.mkdir()
        elif isinstance(state[name], str):
            path.symlink_to(state[name])
        else:
            path.write_bytes(state[name])


def parse_log(content):
    """[(name, words, bytes of a write)] of a shim's log with data."""
    log, at = [], 0
    while at < len(content):
        end = content.index(b'\n', at)
        _, name, *words = content[at:end].decode().split(' ')
        at = end + 1
        data = None
        if name == 'write':
            data = content[at:at + int(words[2])]
            at += len(data)
        log.append((name, words, data))
    return log
