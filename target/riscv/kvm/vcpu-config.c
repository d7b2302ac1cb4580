/*
 * What the CPU of a guest is, as KVM has it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "migration/blocker.h"
#include "system/kvm.h"
#include "cpu.h"
#include "compat.h"
#include "vcpu.h"
#include "vcpu-config.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"

#define CONFIG_REG(name) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                          KVM_REG_RISCV_CONFIG | \
                          KVM_REG_RISCV_CONFIG_REG(name))
#define SSTC_REG (KVM_REG_RISCV | KVM_REG_SIZE_U64 | KVM_REG_RISCV_ISA_EXT | \
                  KVM_RISCV_ISA_EXT_SSTC)

/* Of hart 0, as the others have it too: what is here, what the guest found */
static RISCVHartConfig host_config, guest_config;

/*
 * Where the kernel cannot switch an extension off ("-cpu host,zbb=off"), the
 * guest is not told of it all the same.  For one that QEMU has no property for
 * it is never told.  What is unknown is taken for told.
 */
static bool is_told(CPUState *cs, uint64_t id)
{
    const char *name = riscv_hart_config_name(id);

    if ((id & KVM_REG_RISCV_TYPE_MASK) != KVM_REG_RISCV_ISA_EXT ||
        !name || !name[1]) {
        return true;
    }
    return object_property_find(OBJECT(cs), name) &&
           object_property_get_bool(OBJECT(cs), name, NULL);
}

/* The highest satp.MODE below all that properties such as sv57=off name */
static uint64_t satp_mode_asked_for(RISCVCPU *cpu)
{
    uint32_t off = RISCV_SATP_MODES(cpu).init & ~RISCV_SATP_MODES(cpu).map;

    off &= MAKE_64BIT_MASK(VM_1_10_SV39, 16 - VM_1_10_SV39);
    if (!off) {
        return UINT64_MAX;
    }
    return ctz32(off) == VM_1_10_SV39 ? VM_1_10_MBARE : ctz32(off) - 1;
}

static uint64_t value_here(CPUState *cs, uint64_t id, uint64_t value)
{
    if (riscv_hart_config_is_ext(id)) {
        value = !value ? 0 :
                RISCV_EXT_ON | (is_told(cs, id) ? RISCV_EXT_TOLD : 0);
    } else if (id == CONFIG_REG(satp_mode)) {
        value = MIN(value, satp_mode_asked_for(RISCV_CPU(cs)));
    }
    return value;
}

static int get_config(CPUState *cs, const struct kvm_reg_list *list,
                      RISCVHartConfig *config, Error **errp)
{
    uint32_t n = 0;
    int ret;

    riscv_hart_config_alloc(config, list->n);
    for (uint64_t i = 0; i < list->n; i++) {
        if (riscv_hart_config_has_class(list->reg[i])) {
            config->id[n++] = list->reg[i];
        }
    }
    config->num = n;
    qsort(config->id, n, sizeof(uint64_t), riscv_reg_id_compare);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t value = 0;

        ret = kvm_riscv_get_reg(cs, config->id[i], &value, errp);
        if (ret < 0) {
            riscv_hart_config_free(config);
            return ret;
        }
        config->value[i] = value_here(cs, config->id[i], value);
    }
    return 0;
}

static void copy_config(RISCVHartConfig *to, const RISCVHartConfig *from)
{
    riscv_hart_config_free(to);
    riscv_hart_config_alloc(to, from->num);
    memcpy(to->id, from->id, from->num * sizeof(uint64_t));
    memcpy(to->value, from->value, from->num * sizeof(uint64_t));
}

/* "-cpu host,mvendorid=...": kvm-cpu.c puts the ids of other CPUs only. */
static int put_machine_ids(CPUState *cs, Error **errp)
{
    const RISCVCPU *cpu = RISCV_CPU(cs);
    const struct {
        uint64_t id;
        uint64_t value;
    } regs[] = {
        { CONFIG_REG(mvendorid), cpu->cfg.mvendorid },
        { CONFIG_REG(marchid), cpu->cfg.marchid },
        { CONFIG_REG(mimpid), cpu->cfg.mimpid },
    };

    for (int i = 0; i < ARRAY_SIZE(regs); i++) {
        uint64_t value = regs[i].value;
        int ret = kvm_set_one_reg(cs, regs[i].id, &value);

        if (ret < 0) {
            riscv_reg_error(errp, regs[i].id, cs->cpu_index, "cannot be set "
                            "to 0x%" PRIx64 ": %s", value, strerror(-ret));
            return ret;
        }
    }
    return 0;
}

/* What the properties of -cpu cannot do, though they are taken */
static void warn_of_properties(CPUState *cs)
{
    uint64_t sstc = 0, asked_for = kvm_riscv_vcpu_satp_mode(), mode = 0;

    if (kvm_riscv_get_reg(cs, CONFIG_REG(satp_mode), &mode, NULL) == 0 &&
        asked_for < mode) {
        warn_report("KVM cannot keep the guest from %s: its kernel has to do "
                    "without by itself, Linux by the argument %s",
                    riscv_satp_mode_name(asked_for + 1),
                    asked_for < 9 ? "no4lvl" : "no5lvl");
    }
    riscv_hart_config_get(&host_config, SSTC_REG, &sstc);
    if (sstc == RISCV_EXT_ON) {
        warn_report("KVM can lose the timers of a guest without sstc on a "
                    "host that has it");
    }
}

int kvm_riscv_vcpu_config_init(CPUState *cs, const struct kvm_reg_list *list,
                               Error **errp)
{
    static Error *blocker;
    RISCVHartConfig config;
    int ret = put_machine_ids(cs, errp) ?: get_config(cs, list, &config, errp);

    if (ret < 0) {
        return ret;
    }
    if (!host_config.num) {
        host_config = config;
        copy_config(&guest_config, &host_config);
        warn_of_properties(cs);
        return 0;
    }
    if (!blocker && (config.num != host_config.num ||
                     memcmp(config.id, host_config.id,
                            config.num * sizeof(uint64_t)) ||
                     memcmp(config.value, host_config.value,
                            config.num * sizeof(uint64_t)))) {
        error_setg(&blocker, "The harts of the guest differ: hart %d has not "
                   "the same registers CONFIG, ISA_EXT, SBI_EXT and vlenb as "
                   "the first; bind QEMU to CPUs of one kind", cs->cpu_index);
        migrate_add_blocker(&blocker, &error_fatal);
    }
    riscv_hart_config_free(&config);
    return 0;
}

const RISCVHartConfig *kvm_riscv_vcpu_config_guest(void)
{
    return &guest_config;
}

/* Whether one of the strings of a device tree's property is @name */
static bool list_has(const char *list, gsize len, const char *name)
{
    for (gsize at = 0; at < len; at += strnlen(list + at, len - at) + 1) {
        if (!strncmp(list + at, name, len - at)) {
            return true;
        }
    }
    return false;
}

/* By the host's device tree; without one nothing is known, and that is no. */
static bool cpu_has(const char *name)
{
    static const char cpus[] = "/sys/firmware/devicetree/base/cpus";
    g_autoptr(GDir) dir = g_dir_open(cpus, 0, NULL);
    const char *node;
    bool has = false;

    while (dir && (node = g_dir_read_name(dir))) {
        g_autofree char *path = NULL, *list = NULL;
        gsize len;

        if (!g_str_has_prefix(node, "cpu@")) {
            continue;
        }
        path = g_build_filename(cpus, node, "riscv,isa-extensions", NULL);
        has = g_file_get_contents(path, &list, &len, NULL) &&
              list_has(list, len, name);
        if (!has) {
            break;
        }
    }
    return has;
}

static bool has_property(const char *name)
{
    return object_property_find(OBJECT(first_cpu), name);
}

/* KVM takes it until the vCPU runs. */
static bool switch_off(uint64_t id)
{
    CPUState *cs;
    Error *err = NULL;

    CPU_FOREACH(cs) {
        uint64_t off = 0;

        if (kvm_set_one_reg(cs, id, &off) < 0) {
            return false;
        }
    }
    for (uint32_t i = 0; i < host_config.num; i++) {
        if (host_config.id[i] == id) {
            host_config.value[i] = 0;
        }
    }
    CPU_FOREACH(cs) {
        /* Registers of its state may have gone with it. */
        if (kvm_riscv_vcpu_list_regs(cs, &err) < 0) {
            error_report_err(err);
            return false;
        }
    }
    return true;
}

void kvm_riscv_vcpu_config_compare(const RISCVHartConfig *source, GString *all,
                                   GString *advice, GString *rest)
{
    static const RISCVHartConfigHost host = {
        .config = &host_config,
        .cpu_has = cpu_has,
        .has_property = has_property,
        .switch_off = switch_off,
    };

    riscv_hart_config_compare(source, &host, all, advice, rest);
}

void kvm_riscv_vcpu_config_loaded(const RISCVHartConfig *source)
{
    riscv_hart_config_take(&guest_config, source, &host_config);
}

void kvm_riscv_vcpu_config_reset(void)
{
    copy_config(&guest_config, &host_config);
}

uint64_t kvm_riscv_vcpu_satp_mode(void)
{
    uint64_t mode = 0;

    riscv_hart_config_get(&host_config, CONFIG_REG(satp_mode), &mode);
    return mode;
}

bool kvm_riscv_vcpu_has_sstc(void)
{
    uint64_t value;

    return riscv_hart_config_get(&host_config, SSTC_REG, &value);
}
