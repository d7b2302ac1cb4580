/*
 * Loading of the AIA, its shape and a vCPU's registers, by libFuzzer
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An input is a header, which says what the destination is like, and the
 * sections of a stream one after another, each with a footer.  They go through
 * QEMU's own VMState into the code that loads them, and behind that is the
 * model of tests/unit/riscv-aia.
 *
 * After each section:
 *  - what the loading code refused has been told why, and has changed nothing;
 *    and no AIA can hold it, or this host cannot take it over;
 *  - what was accepted is held as it was sent, and is saved again the same;
 *  - no MSI was sent but those of genmsi, of pending identities that cannot
 *    be written, and, with the last step, of sources that are to be forwarded.
 */

#include "qemu/osdep.h"
#include "aia-load.h"
#include "qemu/module.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    module_call_init(MODULE_INIT_QOM);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const Header *h = (const Header *)data;
    Input in = { data + sizeof(*h), size - sizeof(*h) };
    QIOChannelBuffer *buffer;
    QEMUFile *f;

    if (size <= sizeof(*h)) {
        return 0;
    }
    f = open_file(&buffer, &in);
    if (h->flags & WITH_SHAPE) {
        load_shape(h, f, &in);
    } else if (h->flags & WITH_VCPU) {
        load_vcpu(h, f, &in);
    } else {
        load_aia(h, f);
    }
    qemu_fclose(f);
    return 0;
}
