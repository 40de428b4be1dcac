"""The campaign's log: a JSON object a line, one for each point that was run."""
import datetime
import json


class Log:
    def __init__(self, path, commit):
        self._path = path
        self._commit = commit
        self.records = read(path)

    def done(self, row):
        """Points of a row that need not be run again on this commit: those in which nothing was wrong."""
        return {r['point'] for r in self.records if r['commit'] == self._commit and r['row'] == row and not r['problem']}

    def add(self, row, point, count, seconds, problem=None, skipped=None):
        record = {'commit': self._commit, 'date': datetime.date.today().isoformat(), 'row': row, 'point': point,
                  'count': count, 'seconds': round(seconds, 3), 'problem': problem, 'skipped': skipped}
        self.records.append(record)
        with open(self._path, 'a') as file:
            file.write(json.dumps(record) + '\n')


def read(path):
    if not path.exists():
        return []
    # A campaign that was killed may have left half a line.
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith('\n')]


def latest(records, commit):
    """row → {point: its last record} of a commit."""
    found = {}
    for record in records:
        if record['commit'] == commit:
            found.setdefault(record['row'], {})[record['point']] = record
    return found
