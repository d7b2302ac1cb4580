# SPDX-License-Identifier: GPL-2.0-or-later
"""What a save or a load costs: accesses to attributes of KVM's AIA, bytes."""

import re

from lab import LabError

# The fork's own events, and QEMU's of each access
TRACES = "-trace 'kvm_riscv_aia_*' -trace kvm_device_ioctl"
ACCESS = 'kvm_device_ioctl dev fd'

SOURCES, IDS = 96, 255      # of the machine "virt"
WORDS = SOURCES // 32 + 1
# eidelivery, eithreshold, eip and eie
FILE = 2 + 2 * (IDS + 1) // 64


def counts(text, way):
    """Of a save or a load: accesses of the APLIC, and of each file."""
    aplic, files = ([int(n) for n in re.findall(
        rf'kvm_riscv_aia_{way}_{kind} .*accesses:(\d+)', text)]
        for kind in ('aplic', 'imsic'))
    if len(aplic) != 1 or not files:
        raise LabError(f'no trace events of a {way}:\n{text[-2000:]}')
    return aplic[0], files


def total(text, way):
    """All of them, also those that belong to no section.

    The APLIC is the first; what comes before it is a reset.
    """
    aplic, _ = counts(text, way)
    return aplic + re.split(rf'kvm_riscv_aia_{way}_aplic .*', text,
                            maxsplit=1)[1].count(ACCESS)


def most_of_save(harts):
    """Each register once.

    Where the reads of a file do not tell that the access is wide, a bit is
    flipped: set, read, set back.
    """
    return 2 + 2 * SOURCES + 3 * WORDS + (FILE + 3) * harts


def most_of_loadvm(harts):
    """What another VMM has been seen to need, however it is used."""
    return 211 + 10 * harts


def most_of_load(harts):
    """Into a machine as a reset left it.

    Half, and not less, because Linux gives each source a target when it boots,
    also those that stay inactive.
    """
    return most_of_loadvm(harts) // 2


# Less than that, with all that a section has around it
MOST_BYTES = {'riscv_aplic_kvm': 400, 'riscv_imsic_kvm': 80}


def section_bytes(stream, name):
    """Of each section with that name: from its type to its footer."""
    # Type, id, name, instance and version; footer and id
    found = re.finditer(rb'\x04(.{4})%c%s.{8}.*?\x7e\1' %
                        (len(name), name.encode()), stream, re.DOTALL)
    return [len(m[0]) for m in found]
