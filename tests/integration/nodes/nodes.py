#!/usr/bin/env python3
"""The shipped program on two and four hosts, which are network namespaces of this machine (hosts.py).

  nodes.py PROGRAM [CASE...]      exit code 0: all held; 1: some failed; 77: none failed, but some or all could not be
                                  tried here, and why
"""
import json
import math
import re
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import hosts
import slurm
from jobs import CONFIG, Bench, Failed, Job, Skipped

SBATCH = hosts.HERE.parents[2] / 'launch/slurm/train.sbatch'
TWO_HOSTS = ['--nodes=2', '--ntasks-per-node=2', '--cpus-per-task=1']  # of a job of Slurm's


def communicator(bench):
    """What holds for the communicator on one host holds over two."""
    test = bench.program.parent / 'tests/runtime/comm/test_mpi'
    if not test.exists():
        raise Failed(f'{test} is not built')
    with hosts.Hosts(2) as machines:
        Job(machines, machines.mpirun(2, [test, '--gtest_filter=-Mpi.*'])).expect(0)


def bits(bench):
    """Two hosts train what one does, to the bit."""
    with hosts.Hosts(2) as machines:
        output = bench.train(machines, 2, 'two').expect(0)
    if not re.search(r'^ +2 +host2 +1 ', output, re.MULTILINE):
        raise Failed(f'rank 2 is not on host2: {output[:600]}')
    bench.expect_same('two', bench.on_one_host())


def resume(bench):
    """A run on two hosts that is told to stop saves, and goes on there to the same bits."""
    with hosts.Hosts(2) as machines:
        bench.stop(machines, 2, 'stopped')
        bench.train(machines, 2, 'stopped').expect(0)
    bench.expect_same('stopped', bench.on_one_host())


def cut(bench):
    """A cable that comes out ends the job, which names the host that it waited for."""
    with hosts.Hosts(2) as machines:
        job = bench.train(machines, 2, 'cut', 'train.steps=1000000', 'communication.timeout=5')
        bench.reach('cut', 20, job)
        machines.cut(2)
        start = time.monotonic()
        code, output = job.wait()
        print(f'  ended with {code} after {time.monotonic() - start:.0f} s')
        deadline = time.monotonic() + 60
        while (left := machines.processes(1) + machines.processes(2)) and time.monotonic() < deadline:
            time.sleep(0.1)
    # Ranks of both hosts wait for the other host's; only those of the first can tell us. Where mpirun itself stays,
    # they end it.
    if code == 0 or not re.search(r'nothing came from ranks? .*\(host2\)', output):
        raise Failed(f'ended with {code}, and no rank says that it waited for host2: {output[-2000:]}')
    if left:
        raise Failed(f'{len(left)} processes were still there after 60 s')


def delay(bench):
    """Far apart, on slow links, two hosts train what one does, to the bit."""
    milliseconds = 3
    links = {'rate': '500mbit', 'delay': milliseconds}
    if reason := hosts.why_not(**links):
        raise Skipped(reason)
    with hosts.Hosts(2, **links) as machines:
        message = measure(bench, machines, 1, 'all-to-all', '--tokens', '64', '--width', '64')['sizes'][0]
        bench.train(machines, 2, 'far', 'train.steps=50').expect(0)
    with hosts.Hosts(1) as machines:
        bench.train(machines, 4, 'near', 'train.steps=50').expect(0)
    print(f'  an exchange of {message["max_bytes"]} bytes took {message["ms"]:.1f} ms')
    if message['ms'] < milliseconds:
        raise Failed(f'an exchange took {message["ms"]} ms where a message takes {milliseconds}')
    bench.expect_same('far', 'near')


def experiment(bench, name):
    """The words of an experiment on 2 and 4 ranks, and the folder that it writes."""
    output = bench.folder / name
    return [bench.program, 'scale', CONFIG, f'run.dir={bench.folder / name}-runs', '--ranks', '2,4', '--axis', 'expert',
            '--steps', '8', '--output', output], output


def scale(bench):
    """An experiment over the hosts of a hostfile: jobs on one and on both, whose losses agree, and its page."""
    hostfile = bench.folder / 'hostfile'
    words, output = experiment(bench, 'scale')
    with hosts.Hosts(2) as machines:
        hostfile.write_text(''.join(f'{address} slots=2\n' for address in machines.addresses))
        said = Job(machines, [*words, '--hostfile', hostfile]).expect(0)
    check_experiment(output, said)


def check_experiment(output, said):
    """An experiment on 2 ranks of one host and 4 of two went well."""
    report = json.loads((output / 'scale.json').read_text())
    sent = {point['ranks']: point['sent']['remote_bytes'] for point in report['points']}
    if not report['agree'] or report['failures'] or sent[2] != 0 or sent[4] == 0:
        raise Failed(f'agree {report["agree"]}, bytes to other hosts {sent}: {said[-2000:]}')
    if not (output / 'scale.html').exists():
        raise Failed(f'no page in {output}')


def slurm_train(bench):
    """launch/slurm/train.sbatch trains on two hosts what one does, to the bit, also where it is told to stop and queues
    itself again."""
    site = bench.folder / 'site'
    (site / 'build/cpu-release').mkdir(parents=True)
    (site / 'build/cpu-release/switchyard').symlink_to(bench.program)
    log = site / 'log'
    with hosts.Hosts(2) as machines, slurm.Slurm(machines, bench.folder / 'slurm-train') as cluster:
        job = cluster.submit(log, f'--chdir={site}', *TWO_HOSTS, SBATCH, *bench.training('requeued'))
        bench.reach('requeued', 20, log=log)
        cluster.signal(job, 'USR1')
        cluster.expect_end(job, log, restarts=1)
    bench.expect_same('requeued', bench.on_one_host())


def slurm_scale(bench):
    """An experiment within an allocation: jobs on one of its hosts and on both."""
    words, output = experiment(bench, 'slurm-scale')
    log = bench.folder / 'slurm-scale.log'
    with hosts.Hosts(2) as machines, slurm.Slurm(machines, bench.folder / 'slurm') as cluster:
        cluster.expect_end(cluster.submit(log, *TWO_HOSTS, '--wrap', shlex.join(str(word) for word in words)), log)
    check_experiment(output, log.read_text())


def folder(bench):
    """A run directory that the hosts do not share is refused, with code 78."""
    with hosts.Hosts(2) as machines:
        output = bench.train(machines, 2, 'never', 'run.dir=/dev/shm/run').expect(78)
    if 'host2' not in output:
        raise Failed(f'the host that does not see it is not named: {output[-2000:]}')


def hierarchical(bench):
    """One row a token and host, whole and in chunks, gives on two and on four hosts what one host does, in fp64."""
    exact = ['train.precision=fp64', 'train.global_batch=8', 'train.steps=50', 'model.moe.experts=8',
             'model.moe.experts_per_token=4', 'parallel.tensor=1', 'parallel.expert_tensor=1']
    with hosts.Hosts(1) as machines:
        bench.train(machines, 4, 'straight', *exact, 'parallel.expert=4', 'parallel.dispatcher=all_to_all').expect(0)
    for count in (2, 4):
        for cuts in (1, 2):
            run = f'handed-on-{count}-hosts-{cuts}-chunks'
            with hosts.Hosts(count) as machines:
                bench.train(machines, 2, run, *exact, f'parallel.expert={2 * count}', 'parallel.dispatcher=hierarchical',
                            f'parallel.dispatch_chunks={cuts}').expect(0)
            bench.expect_near(run, 'straight')


def measure(bench, machines, ranks_a_host, *words):
    """What `bench … --json` prints."""
    output = Job(machines, machines.mpirun(ranks_a_host, [bench.program, 'bench', *words, '--json'])).expect(0)
    return json.loads(output[output.index('{\n'):])


def measure_layer(bench, machines, ranks_a_host, *options):
    """What `bench layer --json` prints."""
    return measure(bench, machines, ranks_a_host, 'layer', *options)


def traffic(bench):
    """What `bench layer` says of bytes between hosts is what their interfaces have sent; handed on, at most one row a
    token and host."""
    tokens, width, few, many = 512, 256, 3, 23
    shape = ['--tokens', tokens, '--width', width, '--expert-width', '64', '--precision', 'fp32']
    for count, experts, chosen in ((2, 16, 4), (4, 64, 8)):
        by_plan = {}
        for dispatcher in ('all_to_all', 'hierarchical'):
            said, sent = {}, {}
            for repeats in (few, many):
                with hosts.Hosts(count) as machines:
                    said[repeats] = measure_layer(bench, machines, 2, *shape, '--experts', experts, '--experts-per-token',
                                                  chosen, '--dispatcher', dispatcher, '--repeats', repeats)
                    sent[repeats] = sum(machines.sent_bytes(i + 1) for i in range(count))
            by_interface = (sent[many] - sent[few]) / (many - few) / (2 * count)  # a rank
            by_plan[dispatcher] = said[many]['bytes']['other_node']
            print(f'  {count} hosts, {dispatcher}: {by_plan[dispatcher] / 2**20:.3f} MiB to other hosts a rank and '
                  f'repeat by plan, {by_interface / 2**20:.3f} by the interfaces')
            if abs(by_interface / by_plan[dispatcher] - 1) > 0.03:
                raise Failed(f'they differ by more than 3 %: {by_plan[dispatcher]}, {by_interface}')
        # Out and back, forward and backward, to the hosts that have some of a token's experts, where these are drawn
        # evenly; beside rows there are weights, places and counts.
        reached = 1 - math.comb(experts - experts // count, chosen) / math.comb(experts, chosen)
        rows = 4 * tokens * (count - 1) * reached * width * 4
        print(f'  one row a token and host that it goes to: {rows / 2**20:.3f} MiB')
        if by_plan['hierarchical'] > 1.03 * rows:
            raise Failed(f'{by_plan["hierarchical"]} bytes were handed on, where one row a token and host is {rows}')


def four(bench):
    """Four hosts of one rank train what one host of four does, to the bit; saved there, two hosts go on to it too."""
    with hosts.Hosts(4) as machines:
        bench.train(machines, 1, 'four').expect(0)
        bench.stop(machines, 1, 'four-stopped')
    with hosts.Hosts(2) as machines:
        bench.train(machines, 2, 'four-stopped').expect(0)
    for run in ('four', 'four-stopped'):
        bench.expect_same(run, bench.on_one_host())


def chunks(bench):
    """Where hosts share no memory, dispatch_chunks: auto cuts what is worth it, which changes no result in fp64."""
    wide = ['model.width=256', 'model.moe.expert_width=512', 'data.sequence=512', 'train.global_batch=16',
            'train.steps=2', 'train.precision=fp64', 'parallel.tensor=1', 'parallel.expert_tensor=1']
    with hosts.Hosts(2, rate='200mbit') as machines:
        output = bench.train(machines, 1, 'cut-up', *wide, 'parallel.dispatch_chunks=auto').expect(0)
    chosen = re.search(r'^chunks +(\d+), as rows and experts take time here$', output, re.MULTILINE)
    if not chosen or int(chosen[1]) < 2:
        raise Failed(f'{chosen and chosen[0]}: {output[-2000:]}')
    print(f'  {chosen[0]}')
    with hosts.Hosts(1) as machines:
        bench.train(machines, 2, 'whole', *wide, 'parallel.dispatch_chunks=1').expect(0)
    bench.expect_near('cut-up', 'whole')


def copies(bench):
    """On four slow hosts, one row a token and host against one for each of eight experts, whole and in chunks; figures,
    not a test."""
    shape = ['--tokens', '1024', '--width', '256', '--expert-width', '128', '--experts', '64', '--experts-per-token', '8',
             '--precision', 'fp32', '--repeats', '3']
    for cuts in (1, 4):
        results = {}
        for dispatcher in ('all_to_all', 'hierarchical'):
            with hosts.Hosts(4, rate='200mbit') as machines:
                results[dispatcher] = measure_layer(bench, machines, 2, *shape, '--dispatcher', dispatcher, '--chunks', cuts)
        straight, handed_on = results['all_to_all'], results['hierarchical']
        print(f'  {cuts} chunks: {straight["ms"]:.1f} ms with a row an expert, {handed_on["ms"]:.1f} with one a host: '
              f'{straight["ms"] / handed_on["ms"]:.2f} x; MiB to other hosts a rank: '
              f'{straight["bytes"]["other_node"] / 2**20:.3f} and {handed_on["bytes"]["other_node"] / 2**20:.3f}')


def overlap(bench):
    """How much of the wire chunks hide where it takes as long as the experts; figures, not a test. Rounds go over the
    numbers of chunks, since cores change their speed; medians."""
    shape = ['--tokens', '2048', '--width', '512', '--expert-width', '1024', '--experts', '8', '--experts-per-token', '2',
             '--precision', 'fp32', '--threads', '1', '--repeats', '5']
    counts, rounds = (1, 2, 4, 8), 5

    def of_experts(layer):
        return layer['split_ms']['products'] + layer['split_ms']['activation']

    with hosts.Hosts(2) as machines:
        free = measure_layer(bench, machines, 1, *shape)
    rate = f'{int(8 * free["bytes"]["other_node"] / (of_experts(free) / 1000))}bit'
    results = {cuts: [] for cuts in counts}
    for _ in range(rounds):
        for cuts in counts:
            with hosts.Hosts(2, rate=rate) as machines:
                results[cuts].append(measure_layer(bench, machines, 1, *shape, '--chunks', cuts))
    print(f'  links of {int(rate[:-3]) / 1e6:.0f} Mbit/s; medians of {rounds} rounds')
    waits = {cuts: statistics.median(one['split_ms']['wire'] for one in results[cuts]) for cuts in counts}
    for cuts in counts:
        layer = statistics.median(one['ms'] for one in results[cuts])
        experts = statistics.median(of_experts(one) for one in results[cuts])
        print(f'  {cuts} chunks: {layer:.0f} ms, experts {experts:.0f}, waits {waits[cuts]:.0f}: '
              f'{100 * (1 - waits[cuts] / waits[1]):.0f} % of the wire hidden')


CASES = {case.__name__: case
         for case in (communicator, bits, resume, four, folder, cut, delay, hierarchical, traffic, chunks, scale,
                      slurm_train, slurm_scale, copies, overlap)}


def attempt(case, bench):
    """How a case ended, in one word, and why."""
    try:
        case(bench)
    except Skipped as reason:
        return 'SKIPPED', f': {reason}'
    except (Failed, RuntimeError, ValueError, LookupError) as problem:
        return 'FAILED', f': {problem}'
    return 'ok', ''


def main():
    program, *names = sys.argv[1:]
    if reason := hosts.why_not():
        print(f'SKIPPED: {reason}')
        return 77
    work = Path(tempfile.mkdtemp(prefix='switchyard-nodes-'))
    ended = {'ok': [], 'SKIPPED': [], 'FAILED': []}
    try:
        bench = Bench(Path(program).resolve(), work)
        for name in names or CASES:
            start = time.monotonic()
            end, why = attempt(CASES[name], bench)
            ended[end].append(name)
            print(f'{name}: {end}{why} ({time.monotonic() - start:.0f} s)', flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print('; '.join(f'{len(cases)} {end}' + (f' ({", ".join(cases)})' if end != 'ok' and cases else '')
                    for end, cases in ended.items()))
    return 1 if ended['FAILED'] else 77 if ended['SKIPPED'] else 0


if __name__ == '__main__':
    sys.exit(main())
