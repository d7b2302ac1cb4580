/*
 * Loading by libFuzzer: what two hosts must have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "aia-load.h"
#include "migration/refused.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "target/riscv/kvm/shape.h"

static const VMStateDescription *vmstate_shape;
static void *shape_opaque;

/* All of savevm.c that the shape calls; the linker puts this in its place. */
int __wrap_vmstate_register_with_alias_id(VMStateIf *obj, uint32_t instance_id,
                                          const VMStateDescription *vmsd,
                                          void *opaque, int alias_id,
                                          int required_for_version,
                                          Error **errp)
{
    vmstate_shape = vmsd;
    shape_opaque = opaque;
    return 0;
}

/* All of refused.c, which is about migrations */
#if !QEMU_SINCE(10, 2)
void migration_save_refused(Error *err)
{
    error_report_err(err);
}

void migration_load_refused(Error *err)
{
    error_report_err(err);
}
#endif

#define CONFIG_BASE 0x8030000001000000ULL
#define ISA_BASE    0x8030000007000000ULL
#define SBI_BASE    0x8030000008000000ULL
#define VLENB       0x8030000009000004ULL
#define SATP_MODE   9
#define TOLD_AND_ON (RISCV_EXT_ON | RISCV_EXT_TOLD)

/* Of the destination: with a, zicbom, zbb and v; without zba and svvptc */
static uint64_t config_id[] = {
    CONFIG_BASE + 1, CONFIG_BASE + 3, CONFIG_BASE + 6, ISA_BASE,
    ISA_BASE + 11, ISA_BASE + 13, ISA_BASE + 15, ISA_BASE + 17, ISA_BASE + 66,
    SBI_BASE + 1, VLENB,
};
static uint64_t config_value[] = {
    64, 0x1234, SATP_MODE, TOLD_AND_ON, TOLD_AND_ON, TOLD_AND_ON, TOLD_AND_ON,
    0, 0, TOLD_AND_ON, 16,
};
static RISCVHartConfig host_config = {
    .num = ARRAY_SIZE(config_id), .id = config_id, .value = config_value,
};

static bool update_shape(RISCVAIAShape *shape, Error **errp)
{
    shape->config = host_config;
    shape->satp_mode = SATP_MODE;
    return true;
}

static bool has_listed_reg(uint64_t id)
{
    return find_reg(&listed, id) < listed.num;
}

static uint64_t satp_mode(void)
{
    return SATP_MODE;
}

static bool cpu_has_zaamo(const char *name)
{
    return g_str_equal(name, "zaamo");
}

static bool has_property(const char *name)
{
    return name[0] == 'z';
}

static bool switch_off_even(uint64_t id)
{
    return !(id & 1);
}

static void compare_config(const RISCVHartConfig *source, GString *all,
                           GString *advice, GString *rest)
{
    static const RISCVHartConfigHost host = {
        .config = &host_config,
        .cpu_has = cpu_has_zaamo,
        .has_property = has_property,
        .switch_off = switch_off_even,
    };

    riscv_hart_config_compare(source, &host, all, advice, rest);
}

static bool shape_loaded(const RISCVAIAShape *source, Error **errp)
{
    RISCVHartConfig guest = { };

    riscv_hart_config_take(&guest, &source->config, &host_config);
    g_assert(riscv_hart_config_check(&guest, NULL));
    for (uint32_t i = 0; i < host_config.num; i++) {
        uint64_t value;

        g_assert(riscv_hart_config_get(&guest, host_config.id[i], &value));
    }
    riscv_hart_config_free(&guest);
    return true;
}

static const RISCVAIAShapeOps shape_ops = {
    .update = update_shape,
    .has_reg = has_listed_reg,
    .satp_mode = satp_mode,
    .compare_config = compare_config,
    .loaded = shape_loaded,
};

/* Offsets of what may differ in the section of docs/wire-format.md */
#define SHAPE_MODE        4
#define SHAPE_GROUP_BITS  16
#define SHAPE_GROUP_SHIFT 20
#define SHAPE_NUM_HARTS   48

/* Without the tables: whether a guest with this register can run here. */
static void check_config(uint64_t id, uint64_t value)
{
    uint64_t ours = 0;
    bool has = riscv_hart_config_get(&host_config, id, &ours);

    switch (id) {
    case CONFIG_BASE + 1:
    case VLENB:
        /* As long as the guest was not told of the extension, which differs. */
        break;
    case CONFIG_BASE + 3:
        g_assert(value == ours);
        break;
    case CONFIG_BASE + 6:
        g_assert(value <= ours);
        break;
    default:
        if ((value & RISCV_EXT_TOLD) && (id & ~0xffffULL) == ISA_BASE &&
            id != ISA_BASE + 62 && id != ISA_BASE + 65 &&
            id != ISA_BASE + 69) {
            g_assert(has && (ours & RISCV_EXT_ON));
        }
    }
}

/* Of the section that was accepted, what must be equal is equal to @ours. */
static void check_shape(const uint8_t *sent, const uint8_t *ours)
{
    size_t size = SHAPE_NUM_HARTS + 4 + 16 * ldl_be_p(ours + SHAPE_NUM_HARTS);
    g_autofree uint8_t *same = g_memdup2(sent, size);
    uint32_t num_used = ldl_be_p(sent + size), num_config;

    memcpy(same + SHAPE_MODE, ours + SHAPE_MODE, 4);
    if (!ldl_be_p(sent + SHAPE_GROUP_BITS)) {
        memcpy(same + SHAPE_GROUP_SHIFT, ours + SHAPE_GROUP_SHIFT, 4);
    }
    g_assert(!memcmp(same, ours, size));
    sent += size + 4;
    for (uint32_t i = 0; i < num_used; i++) {
        g_assert(has_listed_reg(ldq_be_p(sent + 8 * i)));
    }
    sent += 8 * num_used;
    g_assert_cmpuint(ldq_be_p(sent), <=, SATP_MODE);
    num_config = ldl_be_p(sent + 8);
    sent += 12;
    for (uint32_t i = 0; i < num_config; i++) {
        check_config(ldq_be_p(sent + 8 * i),
                     ldq_be_p(sent + 8 * (num_config + i)));
    }
    sent += 16 * num_config;
    g_assert_cmpuint(ldl_be_p(sent), >=, 11);
    g_assert_cmpuint(ldl_be_p(sent), <=, 12);
}

void load_shape(const Header *h, QEMUFile *f, const Input *in)
{
    RISCVAIAShape shape = {
        .split = extract32(h->mode, 2, 1),
        .mode = h->mode % 3,
        .num_sources = h->sources,
        .num_ids = h->ids * 64 + 63,
        .group_bits = h->files & 1,
        .group_shift = 24,
        .hart_bits = h->files,
        .guest_bits = 3,
        .aplic_addr = 0xd000000,
        .timebase = 10000000,
        .num_harts = 1 + h->harts % 4,
        .cpu = { .id = 12, .minimum = 11 },
        .aplic = { .id = 3, .minimum = 3 },
    };
    uint64_t hart_id[4], imsic_addr[4];
    QIOChannelBuffer *buffer;
    QEMUFile *ours = open_file(&buffer, NULL);
    /* What a load that failed has left is freed by the next. */
    static RISCVAIAShapeState state;

    for (uint32_t i = 0; i < shape.num_harts; i++) {
        hart_id[i] = i;
        imsic_addr[i] = 0x28000000 + i * 0x1000;
    }
    shape.hart_id = hart_id;
    shape.imsic_addr = imsic_addr;
    state.ours = shape;
    state.ops = &shape_ops;
    riscv_aia_shape_register(&state);
    save_vmstate(ours, vmstate_shape, shape_opaque);

    num_messages = 0;
    if (load_state(f, vmstate_shape, shape_opaque)) {
        check_shape(in->data, buffer->data);
    } else {
        /* What VMState itself refuses is for savevm.c to tell. */
        g_assert(num_messages || qemu_file_get_error(f));
        g_assert(in->size < buffer->usage ||
                 memcmp(in->data, buffer->data, buffer->usage));
    }
    qemu_fclose(ours);
}
