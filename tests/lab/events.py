# SPDX-License-Identifier: GPL-2.0-or-later
"""What arrives from hosts, and waiting for it."""

import selectors
import time


class LabError(Exception):
    """Something the user can be told as it stands."""


class LabTimeout(LabError):
    """An awaited event did not come in time."""


def left(deadline):
    """Seconds until deadline, None for ever; never negative."""
    if deadline is None:
        return None
    return max(0, deadline - time.monotonic())


# Whatever is awaited, everything that arrives is taken in at once: a port
# that nobody reads would hold up the guest that writes to it.
selector = selectors.DefaultSelector()


def wait_for(condition, timeout, what):
    """Handles what arrives until condition() is true; returns its value."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if left(deadline) == 0:
            raise LabTimeout(f'{what}: nothing after {timeout:.0f} s')
        for key, _ in selector.select(left(deadline)):
            # One handler may have closed the file of the next.
            if selector.get_map().get(key.fd) is key:
                key.data()


def receive(sock):
    """What a socket has; b'' at its end."""
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b''
