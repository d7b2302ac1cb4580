/*
 * Loading by libFuzzer: what its parts share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_AIA_LOAD_H
#define TESTS_FUZZ_AIA_LOAD_H

#include "io/channel-buffer.h"
#include "target/riscv/kvm/vcpu-state.h"
#include "tests/unit/riscv-aia/stream.h"

/* Which sections follow */
#define WITH_APLIC      BIT(0)
#define WITH_IMSIC      BIT(1)
#define WITH_VCPU       BIT(2)
/* The AIA that is loaded has been in use. */
#define USED            BIT(3)
/* The vCPU has extension D. */
#define HAS_D           BIT(4)
#define NARROW          BIT(5)
#define WITH_SHAPE      BIT(6)
/* It was reset before. */
#define RESET           BIT(7)

typedef struct Header {
    uint8_t flags;
    uint8_t sources;
    uint8_t ids;
    uint8_t harts;
    uint8_t mode;
    uint8_t files;
    uint8_t regs[2];
} Header;

typedef struct Input {
    const uint8_t *data;
    size_t size;
} Input;

/* How many messages QEMU would have printed */
extern unsigned int num_messages;

/* Of @in, or to write to where that is NULL */
QEMUFile *open_file(QIOChannelBuffer **buffer, const Input *in);

bool load_state(QEMUFile *f, const VMStateDescription *vmsd, void *opaque);

/*
 * Reads a section and the footer that savevm.c would look for.  If @in is given
 * the section is saved as it came, and @in goes on behind it.
 */
bool read_section(QEMUFile *f, Input *in, const VMStateDescription *vmsd,
                  void *opaque);

/* Saves @from and loads that to @to. */
void pass_state(const VMStateDescription *vmsd, void *from, void *to);

/* Registers that kernels list, and the place of one in a list, or its end */
extern const RISCVRegList listed;
uint32_t find_reg(const RISCVRegList *list, uint64_t id);

void load_aia(const Header *h, QEMUFile *f);
void load_vcpu(const Header *h, QEMUFile *f, Input *in);
void load_shape(const Header *h, QEMUFile *f, const Input *in);

#endif
