"""The campaign's report, made from its log alone."""
import log


def verdict(counts, row, failed, skipped):
    if failed:
        return 'missed'
    if skipped or sum(counts.values()) < 1:
        return 'not run'
    short = [f'{counts.get(name, 0):,} of {needed:,} {name}' for name, needed in row.needed.items()
             if counts.get(name, 0) < needed]
    return 'met' if not short else 'not finished: ' + ', '.join(short)


def make(path, commit, rows):
    """Markdown. `rows`: those of campaign.py, by name."""
    records = log.latest(log.read(path), commit)
    dates = sorted({record['date'] for points in records.values() for record in points.values()})
    lines = ['# Report of the crash campaign', '',
             f'Commit {commit}, {" to ".join(sorted({dates[0], dates[-1]})) if dates else "not run"}. Made by '
             '`tests/integration/crash/campaign.py report` from the log.', '',
             '| row | how | target | done | failed | verdict | minutes |', '|---|---|---|---|---|---|---|']
    details = []
    for name, row in rows.items():
        points = records.get(name, {})
        counts, failures = {}, []
        for point, record in points.items():
            what = row.unit_of(point)
            if not record['skipped']:
                counts[what] = counts.get(what, 0) + record['count']
            if record['problem']:
                failures.append((point, record['problem']))
        skipped = sorted({record['skipped'] for record in points.values() if record['skipped']})
        done = ', '.join(f'{counts[what]:,} {what}' for what in counts) or '–'
        minutes = sum(record['seconds'] for record in points.values()) / 60
        lines.append(f'| {row.title} | {row.how} | {row.target} | {done} | {len(failures)} | '
                     f'{verdict(counts, row, failures, skipped)} | {minutes:.1f} |')
        details += [f'- {name}: skipped: {reason}' for reason in skipped]
        details += [f'- {name}, `{point}`: {" ".join(problem.split())[:300]}' for point, problem in failures[:10]]
        if len(failures) > 10:
            details.append(f'- {name}: and {len(failures) - 10} more')
    if details:
        lines += ['', '## What failed, and what was skipped', '', *details]
    return '\n'.join(lines) + '\n'
