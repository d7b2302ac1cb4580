/*
 * What "info pic" says of a RISC-V AIA in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qapi/error.h"
#include "exec/memop.h"
#include "hw/intc/riscv_aia_info.h"
#include "target/riscv/kvm/compat.h"

static const char *source_mode(uint32_t sourcecfg)
{
    static const char *const names[] = {
        [AIA_SM_INACTIVE] = "inactive", [AIA_SM_DETACHED] = "detached",
        [AIA_SM_EDGE_RISE] = "edge rise", [AIA_SM_EDGE_FALL] = "edge fall",
        [AIA_SM_LEVEL_HIGH] = "level high", [AIA_SM_LEVEL_LOW] = "level low",
    };

    return names[sourcecfg & AIA_APLIC_SOURCECFG_SM] ?: "reserved";
}

static bool bit(const uint32_t *words, uint32_t n)
{
    return extract32(words[n / 32], n % 32, 1);
}

void riscv_aplic_regs_print(const RISCVAPLICRegs *regs, GString *buf)
{
    g_string_append_printf(buf, "APLIC: domaincfg 0x%08x (%s), genmsi "
                           "0x%08x, %u sources\n", regs->domaincfg,
                           regs->domaincfg & AIA_APLIC_DOMAINCFG_IE ? "on"
                                                                    : "off",
                           regs->genmsi, regs->num_sources);
    g_string_append(buf, "  source  mode        input  pending  enabled  "
                    "hart index  identity\n");
    for (uint32_t source = 1; source <= regs->num_sources; source++) {
        uint32_t sourcecfg = regs->sourcecfg[source - 1];
        uint32_t target = regs->target[source - 1];

        if (!sourcecfg && !bit(regs->input, source)) {
            continue;
        }
        g_string_append_printf(buf, "  %6u  %-10s  %5d  %7d  %7d  %10u  "
                               "%8u\n", source, source_mode(sourcecfg),
                               bit(regs->input, source),
                               bit(regs->pending, source),
                               bit(regs->enabled, source), target >> 18,
                               target & AIA_APLIC_EIID_MASK);
    }
}

static int emulated_get_aplic(void *opaque, uint32_t offset, uint32_t *val)
{
    RISCVAPLICState *aplic = opaque;
    uint64_t data;

    if (memory_region_dispatch_read(&aplic->mmio, offset, &data,
                                    MO_32 | MO_LE, MEMTXATTRS_UNSPECIFIED)) {
        return -EIO;
    }
    *val = data;
    return 0;
}

void riscv_aplic_print(RISCVAPLICState *aplic, GString *buf)
{
    const RISCVAIAAccess access = {
        .get_aplic = emulated_get_aplic,
        .opaque = aplic,
    };
    RISCVAPLICRegs regs;
    g_autofree uint32_t *driven = NULL;
    Error *err = NULL;

    riscv_aplic_regs_init(&regs, aplic->num_irqs - 1);
    /* What an inactive source is driven to does not show. */
    driven = g_new0(uint32_t, regs.num_words);
    if (riscv_aplic_regs_save(&access, &regs, driven, &err)) {
        riscv_aplic_regs_print(&regs, buf);
    } else {
        g_string_append_printf(buf, "APLIC: %s\n", error_get_pretty(err));
        error_free(err);
    }
    riscv_aplic_regs_free(&regs);
}

/* "1-5 8": the bits that are set */
static void print_identities(const char *what, const uint32_t *words,
                             uint32_t num_words, GString *buf)
{
    uint32_t num = num_words * 32;

    g_string_append_printf(buf, "  %s:", what);
    for (uint32_t id = 1; id < num; id++) {
        uint32_t first = id;

        if (!bit(words, id)) {
            continue;
        }
        while (id + 1 < num && bit(words, id + 1)) {
            id++;
        }
        g_string_append_printf(buf, id == first ? " %u" : " %u-%u", first,
                               id);
    }
    g_string_append_c(buf, '\n');
}

void riscv_imsic_regs_print(const RISCVIMSICRegs *regs, uint32_t hart,
                            bool whole, GString *buf)
{
    g_string_append_printf(buf, "IMSIC of hart %u: eidelivery %u, eithreshold "
                           "%u%s\n", hart, regs->eidelivery,
                           regs->eithreshold, whole ? "" :
                           ", identities 32-63, 96-127 and so on not known");
    print_identities("pending", regs->eip, regs->num_words, buf);
    print_identities("enabled", regs->eie, regs->num_words, buf);
}
