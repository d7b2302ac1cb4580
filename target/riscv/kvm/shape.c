/*
 * Shape of a RISC-V guest with the AIA in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/refused.h"
#include "migration/vmstate.h"
#include "qemu/since.h"
#include "trace/trace-target_riscv_kvm.h"
#include "shape.h"
#if AIA_FORK
#include "migration/precede-ram.h"
#endif

static void G_GNUC_PRINTF(2, 3) differs(GString *all, const char *fmt, ...)
{
    va_list ap;

    if (all->len) {
        g_string_append(all, "; ");
    }
    va_start(ap, fmt);
    g_string_append_vprintf(all, fmt, ap);
    va_end(ap);
}

static void compare(GString *all, const char *what, uint64_t source,
                    uint64_t ours)
{
    if (source != ours) {
        differs(all, "%s: %" PRIu64 " on the source, %" PRIu64 " on the "
                "destination", what, source, ours);
    }
}

static void compare_addr(GString *all, const char *what, uint64_t source,
                         uint64_t ours)
{
    if (source != ours) {
        differs(all, "%s: 0x%" PRIx64 " on the source, 0x%" PRIx64 " on the "
                "destination", what, source, ours);
    }
}

static void compare_harts(GString *all, const RISCVAIAShape *source,
                          const RISCVAIAShape *ours)
{
    for (uint32_t i = 0; i < source->num_harts; i++) {
        g_autofree char *what = g_strdup_printf("IMSIC address of hart %"
                                                PRIu64, source->hart_id[i]);

        compare(all, "hart id", source->hart_id[i], ours->hart_id[i]);
        compare_addr(all, what, source->imsic_addr[i], ours->imsic_addr[i]);
    }
}

static void compare_aia(GString *all, const RISCVAIAShape *source,
                        const RISCVAIAShape *ours)
{
    if (source->split != ours->split) {
        differs(all, "kernel-irqchip: %s on the source, %s on the destination",
                source->split ? "split" : "on", ours->split ? "split" : "on");
    }
    compare(all, "APLIC sources", source->num_sources, ours->num_sources);
    compare(all, "IMSIC identities", source->num_ids, ours->num_ids);
    compare(all, "group index bits", source->group_bits, ours->group_bits);
    if (source->group_bits) {
        compare(all, "group index shift", source->group_shift,
                ours->group_shift);
    }
    compare(all, "hart index bits", source->hart_bits, ours->hart_bits);
    compare(all, "guest index bits", source->guest_bits, ours->guest_bits);
    compare_addr(all, "APLIC address", source->aplic_addr, ours->aplic_addr);
    compare(all, "timer frequency (Hz)", source->timebase, ours->timebase);
    compare(all, "harts", source->num_harts, ours->num_harts);
    if (source->num_harts == ours->num_harts) {
        compare_harts(all, source, ours);
    }
}

static void compare_version(GString *all, const char *section,
                            RISCVSectionVersion source,
                            RISCVSectionVersion ours)
{
    if (source.id < ours.minimum || source.id > ours.id) {
        differs(all, "section %s of QEMU: version %u on the source, %u on the "
                "destination", section, source.id, ours.id);
    }
}

bool riscv_aia_shape_check(const RISCVAIAShape *source,
                           const RISCVAIAShape *ours,
                           const RISCVAIAShapeOps *ops, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GString) all = g_string_new("");
    g_autoptr(GString) advice = g_string_new("");
    g_autoptr(GString) rest = g_string_new("");
    uint64_t satp_mode = ops->satp_mode();
    gsize others;

    if (!riscv_hart_config_check(&source->config, errp)) {
        error_prepend(errp, "the shape of the guest is damaged: ");
        return false;
    }
    compare_version(all, "cpu", source->cpu, ours->cpu);
    if (source->split && ours->split) {
        compare_version(all, "riscv_aplic", source->aplic, ours->aplic);
    }
    if (all->len) {
        error_setg(errp, "this host cannot take the guest: %s", all->str);
        error_append_hint(errp, "Use the same version of QEMU on both "
                          "sides.\n");
        return false;
    }
    compare_aia(all, source, ours);
    for (uint32_t i = 0; i < source->num_used_regs; i++) {
        if (!ops->has_reg(source->used_reg[i])) {
            differs(all, "KVM register 0x%016" PRIx64 ": used on the source, "
                    "not in the destination's kernel", source->used_reg[i]);
        }
    }
    others = all->len;
    ops->compare_config(&source->config, all, advice, rest);
    if (source->satp_mode > satp_mode) {
        differs(all, "paging: the guest uses %s, the destination has %s",
                riscv_satp_mode_name(source->satp_mode),
                riscv_satp_mode_name(satp_mode));
    }
    if (!all->len) {
        return true;
    }
    error_setg(errp, "this host cannot take the guest: %s", all->str);
    if (others) {
        error_append_hint(errp, "Start the destination with the same -machine,"
                          " -smp and -accel, on a host that offers all that "
                          "the source does.\n");
    }
    if (rest->len) {
        error_append_hint(errp, "No CPU property makes up for: %s.\n",
                          rest->str);
    }
    if (strstr(advice->str, ",sv48=") || strstr(advice->str, ",sv57=")) {
        error_append_hint(errp, "The guest's kernel has to do without that "
                          "paging by itself, Linux by the argument no5lvl or "
                          "no4lvl.\n");
    }
    if (advice->len) {
        error_append_hint(errp, "A guest that is started so on either host "
                          "can move between them: -cpu host%s\n",
                          advice->str);
    }
    return false;
}

void riscv_aia_shape_clear(RISCVAIAShape *shape)
{
    g_free(shape->hart_id);
    g_free(shape->imsic_addr);
    g_free(shape->used_reg);
    riscv_hart_config_free(&shape->config);
    memset(shape, 0, sizeof(*shape));
}

static void clear_stream(RISCVAIAShapeState *s)
{
    if (s->saved) {
        /* All else of it is in ours, too. */
        g_free(s->stream.used_reg);
        memset(&s->stream, 0, sizeof(s->stream));
        s->saved = false;
    }
    riscv_aia_shape_clear(&s->stream);
}

static bool shape_pre_save(void *opaque, Error **errp)
{
    RISCVAIAShapeState *s = opaque;

    clear_stream(s);
    s->stream = s->ours;
    s->saved = true;
    if (!s->ops->update(&s->stream, errp)) {
        return false;
    }
    trace_kvm_riscv_shape_save(s->stream.num_harts, s->stream.mode,
                               s->stream.num_used_regs, s->stream.config.num);
    return true;
}
VMSTATE_PRE_SAVE_HOOK(shape_pre_save)

static int shape_pre_load(void *opaque)
{
    clear_stream(opaque);
    return 0;
}

static bool shape_post_load(void *opaque, int version_id, Error **errp)
{
    ERRP_GUARD();
    RISCVAIAShapeState *s = opaque;
    bool ok = riscv_aia_shape_check(&s->stream, &s->ours, s->ops, errp);

    trace_kvm_riscv_shape_load(s->stream.num_harts, s->stream.mode,
                               ok ? "" : error_get_pretty(*errp));
    ok = ok && s->ops->loaded(&s->stream, errp);
    clear_stream(s);
    return ok;
}
VMSTATE_POST_LOAD_HOOK(shape_post_load)

static bool shape_num_harts_ok(void *opaque, int version_id)
{
    return ((RISCVAIAShapeState *)opaque)->stream.num_harts <=
           RISCV_AIA_SHAPE_MAX_HARTS;
}

static bool shape_num_regs_ok(void *opaque, int version_id)
{
    return ((RISCVAIAShapeState *)opaque)->stream.num_used_regs <=
           RISCV_AIA_SHAPE_MAX_REGS;
}

static bool shape_num_config_ok(void *opaque, int version_id)
{
    return ((RISCVAIAShapeState *)opaque)->stream.config.num <=
           RISCV_HART_CONFIG_MAX;
}

#if AIA_FORK
static bool shape_is_whole(void *opaque, int version_id)
{
    return version_id >= 4;
}
#endif

#define SHAPE_UINT32(field) VMSTATE_UINT32(stream.field, RISCVAIAShapeState)
#define SHAPE_UINT64(field) VMSTATE_UINT64(stream.field, RISCVAIAShapeState)
#define SHAPE_WORDS(field, num)                                         \
    VMSTATE_VARRAY_UINT32_ALLOC(stream.field, RISCVAIAShapeState,       \
                                stream.num, 0, vmstate_info_uint64, uint64_t)

static const VMStateDescription vmstate_riscv_aia_shape = {
    .name = "riscv_aia_shape",
    .version_id = 4,
#if AIA_FORK
    .minimum_version_id = 1,
#else
    .minimum_version_id = 4,
#endif
    /* Before the guest's memory, and so before all else: even its list */
    .early_setup = true,
    .priority = MIG_PRI_MAX,
    VMSTATE_PRE_SAVE(shape_pre_save),
    .pre_load = shape_pre_load,
    VMSTATE_POST_LOAD(shape_post_load),
    .fields = (const VMStateField[]) {
#if AIA_FORK
        VMSTATE_VALIDATE("the source is an older version of this fork",
                         shape_is_whole),
#endif
        SHAPE_UINT32(split),
        SHAPE_UINT32(mode),
        SHAPE_UINT32(num_sources),
        SHAPE_UINT32(num_ids),
        SHAPE_UINT32(group_bits),
        SHAPE_UINT32(group_shift),
        SHAPE_UINT32(hart_bits),
        SHAPE_UINT32(guest_bits),
        SHAPE_UINT64(aplic_addr),
        SHAPE_UINT64(timebase),
        SHAPE_UINT32(num_harts),
        VMSTATE_VALIDATE("number of harts", shape_num_harts_ok),
        SHAPE_WORDS(hart_id, num_harts),
        SHAPE_WORDS(imsic_addr, num_harts),
        SHAPE_UINT32(num_used_regs),
        VMSTATE_VALIDATE("number of KVM registers", shape_num_regs_ok),
        SHAPE_WORDS(used_reg, num_used_regs),
        SHAPE_UINT64(satp_mode),
        SHAPE_UINT32(config.num),
        VMSTATE_VALIDATE("number of registers that configure a vCPU",
                         shape_num_config_ok),
        SHAPE_WORDS(config.id, config.num),
        SHAPE_WORDS(config.value, config.num),
        SHAPE_UINT32(cpu.id),
        SHAPE_UINT32(aplic.id),
        VMSTATE_END_OF_LIST()
    },
};

void riscv_aia_shape_register(RISCVAIAShapeState *state)
{
#if AIA_FORK
    migration_add_precede_ram(vmstate_riscv_aia_shape.name,
                              "it is a QEMU that cannot save a guest with "
                              "in-kernel AIA",
                              "Only this fork can, so the guest has to be "
                              "started in it; one that runs in another QEMU "
                              "can only be shut down there and started with "
                              "the fork.");
#endif
    vmstate_register(NULL, 0, &vmstate_riscv_aia_shape, state);
}
