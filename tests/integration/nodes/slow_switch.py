#!/usr/bin/env python3
"""A switch between hosts of hosts.py whose frames take a time, as on a long cable: tc's netem, for kernels that lack it.
Its ports are TAP devices, one named eth0 in each host's network namespace.

  slow_switch.py MILLISECONDS NAMESPACE...    says "ready" when all ports are there; runs until it is ended
"""
import collections
import ctypes
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x1002
CLONE_NEWNET = 0x40000000
LONGEST_FRAME = 1 << 16


def open_port(namespace):
    """eth0 of the namespace, which is this process's from then on."""
    handle = os.open(f'/run/netns/{namespace}', os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f'entering {namespace}')
    os.close(handle)
    port = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(port, TUNSETIFF, struct.pack('16sH22x', b'eth0', TAP_WITHOUT_HEADER))
    return port


def targets_of(frame, source, ports, port_of):
    """Ports for a frame from `source`, whose address is learned."""
    port_of[frame[6:12]] = source
    known = port_of.get(frame[:6])
    return [port for port in ports if port != source] if known is None else [known]


def deliver(frame, port):
    try:
        os.write(port, frame)
    except OSError:
        pass  # the host is going, or takes no more: networks lose frames


def run(delay, ports):
    poll = select.poll()
    for port in ports:
        poll.register(port, select.POLLIN)
    port_of = {}
    waiting = collections.deque()  # (when, frame, port), in the order of time
    while True:
        rest = max(0.0, waiting[0][0] - time.monotonic()) * 1000 if waiting else None
        for port, _ in poll.poll(rest):
            frame = os.read(port, LONGEST_FRAME)
            due = time.monotonic() + delay
            waiting.extend((due, frame, target) for target in targets_of(frame, port, ports, port_of))
        while waiting and waiting[0][0] <= time.monotonic():
            _, frame, port = waiting.popleft()
            deliver(frame, port)


def main():
    milliseconds, *namespaces = sys.argv[1:]
    try:
        ports = [open_port(namespace) for namespace in namespaces]
    except OSError as problem:
        sys.exit(f'no port: {problem}')
    print('ready', flush=True)
    run(float(milliseconds) / 1000, ports)


if __name__ == '__main__':
    main()
