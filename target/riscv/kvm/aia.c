/*
 * The AIA device of the kernel: access to its attributes, order of its load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The order of a load, which is told here and nowhere else:
 *
 *   1. APLIC (kvm_riscv_aia_load_aplic): off, genmsi, wires, sources.  From
 *      then on it holds what devices drive, and forwards nothing.
 *   2. IMSIC, hart by hart (kvm_riscv_aia_load_imsic); this overwrites what
 *      genmsi left pending.
 *   3. Everything else, in particular devices that send MSIs while they load:
 *      the files take them.
 *   4. vCPU registers, hart by hart, sip without its external interrupt, then
 *      the file of the hart evaluated again (kvm_riscv_aia_put_vcpu).
 *   5. With the last hart: nothing has been lacking, and APLIC on.
 *
 * 1 comes before 2 before 3 by the priority of the sections of
 * hw/intc/riscv_aplic_kvm.c and riscv_imsic_kvm.c, which is the order of the
 * save too: whatever still moves from the APLIC to a file while the state is
 * read is then seen in the file.  4 is cpu_synchronize_all_post_init().
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "hw/intc/riscv_aplic.h"
#include "qemu/timer.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "migration/blocker.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "cpu.h"
#include "internals.h"
#include "hw/core/cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "aia.h"
#include "aia-files.h"
#include "kvm_riscv.h"
#include "shape.h"
#include "vcpu.h"
#include "vcpu-config.h"
#include "vcpu-pmu.h"
#include "vcpu-state.h"

static struct {
    int fd;
    /* The level last driven on each wire, as in RISCVAPLICRegs.input. */
    uint32_t driven[DIV_ROUND_UP(AIA_APLIC_MAX_SOURCES + 1, 32)];
    /* Loaded, to be turned on once all vCPUs have their registers. */
    const RISCVAPLICRegs *off;
    /* genmsi has left an identity pending that a narrow access cannot clear */
    bool stale_upper;
    /* Have come from a stream since the vCPUs were put or reset last */
    bool loaded_shape;
    bool loaded_aplic;
    /* Accesses to attributes, ever */
    unsigned accesses;
    RISCVAIAFresh fresh;
} aia = { .fd = -1 };

static int aia_attr(unsigned long request, uint32_t group, uint64_t attr,
                    void *val)
{
    struct kvm_device_attr kvmattr = {
        .group = group,
        .attr = attr,
        .addr = (uintptr_t)val,
    };
    int ret;

    aia.accesses++;
    do {
        ret = kvm_device_ioctl(aia.fd, request, &kvmattr);
    } while (ret == -EINTR);
    return ret;
}

/*
 * The kernel's number of a hart, which the guest knows it by too, is its
 * cpu_index.  mhartid differs from that where the first socket of the board
 * does not have the first harts (-numa node,cpus=).
 */
static uint64_t imsic_attr(uint32_t hart, uint32_t iselect)
{
    return KVM_DEV_RISCV_AIA_IMSIC_MKATTR((uint64_t)hart, iselect);
}

static int get_aplic(void *opaque, uint32_t offset, uint32_t *val)
{
    return aia_attr(KVM_GET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_APLIC, offset,
                    val);
}

static int set_aplic(void *opaque, uint32_t offset, uint32_t val)
{
    return aia_attr(KVM_SET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_APLIC, offset,
                    &val);
}

static int get_imsic(void *opaque, uint32_t hart, uint32_t iselect,
                     uint64_t *val)
{
    return aia_attr(KVM_GET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_IMSIC,
                    imsic_attr(hart, iselect), val);
}

static int set_imsic(void *opaque, uint32_t hart, uint32_t iselect,
                     uint64_t val)
{
    return aia_attr(KVM_SET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_IMSIC,
                    imsic_attr(hart, iselect), &val);
}

static int set_input(void *opaque, uint32_t source, bool level)
{
    struct kvm_irq_level irq = { .irq = source, .level = level };
    uint32_t *word = &aia.driven[source / 32];

    *word = deposit32(*word, source % 32, 1, level);
    /* kvm_set_irq() would abort where this fails. */
    return kvm_vm_ioctl(kvm_state, KVM_IRQ_LINE, &irq);
}

static int send_msi(void *opaque, uint32_t hart, uint32_t id)
{
    uint64_t addr;
    struct kvm_msi msi = { .data = id };
    int ret;

    ret = aia_attr(KVM_GET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_ADDR,
                   KVM_DEV_RISCV_AIA_ADDR_IMSIC(hart), &addr);
    if (ret < 0) {
        return ret;
    }
    msi.address_lo = addr;
    msi.address_hi = addr >> 32;
    ret = kvm_vm_ioctl(kvm_state, KVM_SIGNAL_MSI, &msi);
    return ret < 0 ? ret : 0;
}

const RISCVAIAAccess kvm_riscv_aia = {
    .get_aplic = get_aplic,
    .set_aplic = set_aplic,
    .set_input = set_input,
    .get_imsic = get_imsic,
    .set_imsic = set_imsic,
    .send_msi = send_msi,
    .widen = kvm_riscv_aia_widen,
    .fresh = &aia.fresh,
};

static bool aia_has(uint32_t group, uint64_t attr)
{
    return aia_attr(KVM_HAS_DEVICE_ATTR, group, attr, NULL) == 0;
}

static bool get_config(uint32_t attr, uint32_t *val, Error **errp)
{
    int ret = aia_attr(KVM_GET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_CONFIG,
                       attr, val);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot read attribute %u of group "
                         "CONFIG of the AIA device", attr);
    }
    return ret >= 0;
}

static bool get_addr(uint32_t attr, uint64_t *val, Error **errp)
{
    int ret = aia_attr(KVM_GET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_ADDR, attr,
                       val);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot read attribute %u of group ADDR "
                         "of the AIA device", attr);
    }
    return ret >= 0;
}

static bool shape_update(RISCVAIAShape *shape, Error **errp)
{
    GArray *ids = kvm_riscv_vcpu_used_regs(&shape->satp_mode, errp);

    if (!ids) {
        return false;
    }
    shape->num_used_regs = ids->len;
    shape->used_reg = (uint64_t *)g_array_free(ids, false);
    shape->config = *kvm_riscv_vcpu_config_guest();
    return true;
}

static void shape_loaded(const RISCVAIAShape *source)
{
    kvm_riscv_vcpu_config_loaded(&source->config);
    aia.loaded_shape = true;
}

static const RISCVAIAShapeOps shape_ops = {
    .update = shape_update,
    .has_reg = kvm_riscv_vcpu_has_reg,
    .satp_mode = kvm_riscv_vcpu_satp_mode,
    .compare_config = kvm_riscv_vcpu_config_compare,
    .loaded = shape_loaded,
};

static RISCVSectionVersion section_version(const VMStateDescription *vmsd)
{
    return (RISCVSectionVersion) { vmsd->version_id, vmsd->minimum_version_id };
}

static bool get_shape(RISCVAIAShape *shape, Error **errp)
{
    const struct {
        uint32_t attr;
        uint32_t *val;
    } config[] = {
        { KVM_DEV_RISCV_AIA_CONFIG_MODE, &shape->mode },
        { KVM_DEV_RISCV_AIA_CONFIG_SRCS, &shape->num_sources },
        { KVM_DEV_RISCV_AIA_CONFIG_IDS, &shape->num_ids },
        { KVM_DEV_RISCV_AIA_CONFIG_GROUP_BITS, &shape->group_bits },
        { KVM_DEV_RISCV_AIA_CONFIG_GROUP_SHIFT, &shape->group_shift },
        { KVM_DEV_RISCV_AIA_CONFIG_HART_BITS, &shape->hart_bits },
        { KVM_DEV_RISCV_AIA_CONFIG_GUEST_BITS, &shape->guest_bits },
    };
    CPUState *cs;

    for (int i = 0; i < ARRAY_SIZE(config); i++) {
        if (!get_config(config[i].attr, config[i].val, errp)) {
            return false;
        }
    }
    shape->cpu = section_version(&vmstate_riscv_cpu);
    shape->split = kvm_kernel_irqchip_split();
    if (shape->split) {
        ObjectClass *aplic = object_class_by_name(TYPE_RISCV_APLIC);

        shape->aplic = section_version(DEVICE_CLASS(aplic)->vmsd);
    } else if (!get_addr(KVM_DEV_RISCV_AIA_ADDR_APLIC, &shape->aplic_addr,
                         errp)) {
        return false;
    }
    shape->timebase = kvm_riscv_get_timebase_frequency(RISCV_CPU(first_cpu));
    CPU_FOREACH(cs) {
        shape->num_harts++;
    }
    shape->hart_id = g_new0(uint64_t, shape->num_harts);
    shape->imsic_addr = g_new0(uint64_t, shape->num_harts);
    CPU_FOREACH(cs) {
        uint64_t *hart_id = &shape->hart_id[cs->cpu_index];

        *hart_id = kvm_arch_vcpu_id(cs);
        if (!get_addr(KVM_DEV_RISCV_AIA_ADDR_IMSIC(*hart_id),
                      &shape->imsic_addr[cs->cpu_index], errp)) {
            return false;
        }
    }
    return true;
}

void kvm_riscv_aia_created(int fd, int mode)
{
    static Error *blocker;
    RISCVAIAShape shape = { };
    Error *err = NULL;
    const char *lacks = NULL;

    aia.fd = fd;
    if (!kvm_kernel_irqchip_split() &&
        !aia_has(KVM_DEV_RISCV_AIA_GRP_APLIC, AIA_APLIC_DOMAINCFG)) {
        lacks = "APLIC";
    } else if (!aia_has(KVM_DEV_RISCV_AIA_GRP_IMSIC,
                        imsic_attr(0, AIA_IMSIC_EIDELIVERY))) {
        lacks = "IMSIC";
    }
    if (lacks) {
        error_setg(&blocker, "This kernel does not offer the state of its "
                   "in-kernel %s (KVM_DEV_TYPE_RISCV_AIA attributes); use a "
                   "newer one", lacks);
    } else if (get_shape(&shape, &err)) {
        kvm_riscv_aia_files_init(mode, shape.num_ids);
        riscv_aia_shape_register(&shape, &shape_ops);
    } else {
        error_setg(&blocker, "The shape of the in-kernel AIA is not known: %s",
                   error_get_pretty(err));
        error_free(err);
        riscv_aia_shape_clear(&shape);
    }
    if (blocker) {
        migrate_add_blocker(&blocker, &error_fatal);
    }
}

void kvm_riscv_aia_drive(int irq, int level)
{
    uint32_t *word = &aia.driven[irq / 32];

    /*
     * Devices drive their wires again while they load.  The kernel takes a
     * level source's wire that stays asserted for a new interrupt; the one
     * of before has been loaded already.
     */
    if (!runstate_is_running() && extract32(*word, irq % 32, 1) == !!level) {
        return;
    }
    riscv_aia_use_wire(&aia.fresh);
    *word = deposit32(*word, irq % 32, 1, !!level);
    kvm_set_irq(kvm_state, irq, !!level);
}

void kvm_riscv_aia_run(void)
{
    riscv_aia_use(&aia.fresh);
}

RISCVAIACost kvm_riscv_aia_begin(void)
{
    return (RISCVAIACost) {
        .us = qemu_clock_get_us(QEMU_CLOCK_REALTIME),
        .accesses = aia.accesses,
    };
}

RISCVAIACost kvm_riscv_aia_since(const RISCVAIACost *began)
{
    RISCVAIACost now = kvm_riscv_aia_begin();

    return (RISCVAIACost) {
        .us = now.us - began->us,
        .accesses = now.accesses - began->accesses,
    };
}

static const char *why(bool ok, Error **errp)
{
    return ok ? "" : error_get_pretty(*errp);
}

static bool upper_half(uint32_t id)
{
    return id & 32;
}

bool kvm_riscv_aia_peek_aplic(RISCVAPLICRegs *regs, Error **errp)
{
    if (!riscv_aplic_regs_save(&kvm_riscv_aia, regs, aia.driven, errp)) {
        return false;
    }
    if (aia.off) {
        /* It was loaded, and has not run. */
        regs->domaincfg = aia.off->domaincfg;
    }
    return true;
}

bool kvm_riscv_aia_save_aplic(RISCVAPLICRegs *regs, Error **errp)
{
    ERRP_GUARD();
    RISCVAIACost cost = kvm_riscv_aia_begin();
    bool ok = kvm_riscv_pmu_ask(errp) && kvm_riscv_aia_peek_aplic(regs, errp);

    cost = kvm_riscv_aia_since(&cost);
    trace_kvm_riscv_aia_save_aplic(regs->num_sources, regs->domaincfg,
                                   cost.accesses, cost.us, why(ok, errp));
    /* After it: what moves from it to a file meanwhile is seen in the file. */
    return ok && kvm_riscv_aia_save_files(errp);
}

bool kvm_riscv_aia_load_aplic(const RISCVAPLICRegs *regs, Error **errp)
{
    ERRP_GUARD();
    RISCVAIACost cost = kvm_riscv_aia_begin();
    bool ok;

    ok = riscv_aplic_regs_check(regs, errp) &&
         riscv_aplic_regs_load(&kvm_riscv_aia, regs, aia.driven, errp);
    aia.off = ok ? regs : NULL;
    aia.loaded_aplic |= ok;
    aia.stale_upper = upper_half(regs->genmsi & AIA_APLIC_EIID_MASK);
    cost = kvm_riscv_aia_since(&cost);
    trace_kvm_riscv_aia_load_aplic(regs->num_sources, regs->domaincfg,
                                   cost.accesses, cost.us, why(ok, errp));
    return ok;
}

bool kvm_riscv_aia_reset_aplic(RISCVAPLICRegs *regs, Error **errp)
{
    aia.off = NULL;
    aia.stale_upper = false;
    /* It moves no wire; the devices' own resets do. */
    return riscv_aplic_regs_reset(&kvm_riscv_aia, regs, aia.driven, errp);
}

bool kvm_riscv_aia_load_imsic(uint32_t hartid, const RISCVIMSICRegs *regs,
                              Error **errp)
{
    ERRP_GUARD();
    RISCVAIACost cost = kvm_riscv_aia_begin();
    KVMRISCVVCPU *vcpu = RISCV_CPU(qemu_get_cpu(hartid))->kvm_vcpu;
    bool ok;

    /* If the guest has run, the file may hold anything. */
    ok = riscv_imsic_regs_check(regs, hartid, errp) &&
         riscv_imsic_regs_load(&kvm_riscv_aia, hartid, regs,
                               aia.stale_upper || vcpu->ran, errp);
    if (ok) {
        vcpu->loaded_file = true;
    }
    cost = kvm_riscv_aia_since(&cost);
    trace_kvm_riscv_aia_load_imsic(hartid, regs->eidelivery,
                                   cost.accesses, cost.us, why(ok, errp));
    return ok;
}

typedef struct PeekIMSIC {
    RISCVIMSICRegs *regs;
    bool *whole;
    Error **errp;
    bool ok;
} PeekIMSIC;

static void do_peek_imsic(CPUState *cs, run_on_cpu_data arg)
{
    PeekIMSIC *peek = arg.host_ptr;

    peek->ok = riscv_imsic_regs_peek(&kvm_riscv_aia, kvm_arch_vcpu_id(cs),
                                     peek->regs, peek->whole, peek->errp);
}

bool kvm_riscv_aia_peek_imsic(uint32_t hartid, RISCVIMSICRegs *regs,
                              bool *whole, Error **errp)
{
    PeekIMSIC peek = { .regs = regs, .whole = whole, .errp = errp };

    run_on_cpu(qemu_get_cpu(hartid), do_peek_imsic,
               RUN_ON_CPU_HOST_PTR(&peek));
    return peek.ok;
}

/*
 * For QEMU a stream ends where it says so, whatever it has lacked till then.
 * @reset: this is no load, but what came by one that failed is no more
 */
static bool check_all_loaded(bool reset, Error **errp)
{
    g_autoptr(GString) lacks = g_string_new("");
    bool any = aia.loaded_shape || aia.loaded_aplic;
    CPUState *cs;

    if (!aia.loaded_aplic && !kvm_kernel_irqchip_split()) {
        g_string_append(lacks, ", the APLIC");
    }
    CPU_FOREACH(cs) {
        KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;

        if (!vcpu->loaded_file) {
            g_string_append_printf(lacks, ", the interrupt file of hart %d",
                                   cs->cpu_index);
        }
        if (!vcpu->loaded) {
            g_string_append_printf(lacks, ", the registers of hart %d",
                                   cs->cpu_index);
        }
        any |= vcpu->loaded_file || vcpu->loaded;
        vcpu->loaded_file = vcpu->loaded = false;
    }
    aia.loaded_shape = aia.loaded_aplic = false;
    if (!reset && any && lacks->len) {
        error_setg(errp, "the stream has ended without %s", lacks->str + 2);
        return false;
    }
    return true;
}

int kvm_riscv_aia_put_vcpu(CPUState *cs, int level, Error **errp)
{
    CPURISCVState *env = cpu_env(cs);
    uint64_t sip = env->mip & ~(uint64_t)MIP_SEIP;
    int ret;

    if (aia.fd < 0) {
        RISCV_CPU(cs)->kvm_vcpu->loaded = false;
        return 0;
    }

    /*
     * The external interrupt is the file's to tell: one that came with sip
     * would never go away where the file is a hardware one, and one that
     * arrived since sip was read would be forgotten where it is not.
     */
    ret = kvm_set_one_reg(cs, KVM_REG_RISCV | KVM_REG_SIZE_U64 |
                          KVM_REG_RISCV_CSR | KVM_REG_RISCV_CSR_REG(sip),
                          &sip);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot put sip of hart %d",
                         cs->cpu_index);
        return ret;
    }
    if (!riscv_imsic_regs_evaluate(&kvm_riscv_aia, kvm_arch_vcpu_id(cs),
                                   errp)) {
        return -EIO;
    }

    if (level == KVM_PUT_RUNTIME_STATE || CPU_NEXT(cs)) {
        return 0;
    }
    if (!check_all_loaded(level == KVM_PUT_RESET_STATE, errp)) {
        return -EIO;
    }
    if (level == KVM_PUT_FULL_STATE && aia.off) {
        const RISCVAPLICRegs *regs = aia.off;

        aia.off = NULL;
        if (!riscv_aplic_regs_enable(&kvm_riscv_aia, regs, errp)) {
            return -EIO;
        }
    }
    return 0;
}
