/*
 * The AIA device of the kernel: access to its attributes, order of its load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The order of a load, which is told here and nowhere else:
 *
 *   1. APLIC (kvm_riscv_aia_load_aplic): off, genmsi, wires, sources.  From
 *      then on it holds what devices drive, and forwards nothing.
 *   2. IMSIC, hart by hart or with the last (kvm_riscv_aia_load_imsic); this
 *      overwrites what genmsi left pending.
 *   3. Everything else, in particular devices that send MSIs while they load:
 *      the files take them.
 *   4. vCPU registers, hart by hart, sip without its external interrupt, then
 *      the file of the hart evaluated again (put_vcpu()).
 *   5. With the last hart: nothing has been lacking, and APLIC on.
 *
 * 1 comes before 2 before 3 by the priority of the sections of
 * hw/intc/riscv_aplic_kvm.c and riscv_imsic_kvm.c, which is the order of the
 * save too: whatever still moves from the APLIC to a file while the state is
 * read is then seen in the file.  4 is cpu_synchronize_all_post_init().
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/timer.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "migration/blocker.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "aia.h"
#include "compat.h"
#include "vcpu.h"
#include "vcpu-state.h"
#if AIA_FORK
#include "aia-files.h"
#include "vcpu-pmu.h"
#endif

static int aia_attr(RISCVAIAKVMState *s, uint32_t group, uint64_t attr,
                    void *val, bool write)
{
    int ret;

    s->accesses++;
    do {
        ret = kvm_device_access(s->fd, group, attr, val, write, NULL);
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
    return aia_attr(opaque, KVM_DEV_RISCV_AIA_GRP_APLIC, offset, val, false);
}

static int set_aplic(void *opaque, uint32_t offset, uint32_t val)
{
    return aia_attr(opaque, KVM_DEV_RISCV_AIA_GRP_APLIC, offset, &val, true);
}

static int get_imsic(void *opaque, uint32_t hart, uint32_t iselect,
                     uint64_t *val)
{
    return aia_attr(opaque, KVM_DEV_RISCV_AIA_GRP_IMSIC,
                    imsic_attr(hart, iselect), val, false);
}

static int set_imsic(void *opaque, uint32_t hart, uint32_t iselect,
                     uint64_t val)
{
    return aia_attr(opaque, KVM_DEV_RISCV_AIA_GRP_IMSIC,
                    imsic_attr(hart, iselect), &val, true);
}

static int set_input(void *opaque, uint32_t source, bool level)
{
    RISCVAIAKVMState *s = opaque;
    struct kvm_irq_level irq = { .irq = source, .level = level };
    uint32_t *word = &s->driven[source / 32];

    *word = deposit32(*word, source % 32, 1, level);
    /* kvm_set_irq() would abort where this fails. */
    return kvm_vm_ioctl(kvm_state, KVM_IRQ_LINE, &irq);
}

static int send_msi(void *opaque, uint32_t hart, uint32_t id)
{
    uint64_t addr;
    struct kvm_msi msi = { .data = id };
    int ret;

    ret = aia_attr(opaque, KVM_DEV_RISCV_AIA_GRP_ADDR,
                   KVM_DEV_RISCV_AIA_ADDR_IMSIC(hart), &addr, false);
    if (ret < 0) {
        return ret;
    }
    msi.address_lo = addr;
    msi.address_hi = addr >> 32;
    ret = kvm_vm_ioctl(kvm_state, KVM_SIGNAL_MSI, &msi);
    return ret < 0 ? ret : 0;
}

#if !AIA_FORK
/* A guest in emulation reaches no more of a software file than QEMU does. */
static int kvm_riscv_aia_widen(void *opaque, uint32_t hart, Error **errp)
{
    RISCVAIAKVMState *s = opaque;

    if (s->mode == KVM_DEV_RISCV_AIA_MODE_EMUL) {
        return -EOPNOTSUPP;
    }
    error_setg(errp, "KVM reaches 32 of the 64 bits of a register of a "
               "software interrupt file");
    return -ENOTSUP;
}
#endif

bool kvm_riscv_aia_get_config(RISCVAIAKVMState *s, uint32_t attr,
                              uint32_t *val, Error **errp)
{
    int ret = aia_attr(s, KVM_DEV_RISCV_AIA_GRP_CONFIG, attr, val, false);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot read attribute %u of group "
                         "CONFIG of the AIA device", attr);
    }
    return ret >= 0;
}

bool kvm_riscv_aia_get_addr(RISCVAIAKVMState *s, uint32_t attr, uint64_t *val,
                            Error **errp)
{
    int ret = aia_attr(s, KVM_DEV_RISCV_AIA_GRP_ADDR, attr, val, false);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot read attribute %u of group ADDR "
                         "of the AIA device", attr);
    }
    return ret >= 0;
}

static RISCVAIAKVMState *find(void)
{
    return (RISCVAIAKVMState *)
        object_resolve_path_component(OBJECT(qdev_get_machine()),
                                      TYPE_RISCV_AIA_KVM);
}

RISCVAIAKVMState *kvm_riscv_aia_get(void)
{
    RISCVAIAKVMState *s = find();

    if (!s) {
        s = RISCV_AIA_KVM(object_new(TYPE_RISCV_AIA_KVM));
        object_property_add_child(OBJECT(qdev_get_machine()),
                                  TYPE_RISCV_AIA_KVM, OBJECT(s));
        object_unref(OBJECT(s));
    }
    return s;
}

RISCVAIAKVMState *kvm_riscv_aia_find(void)
{
    RISCVAIAKVMState *s = find();

    return s && s->fd >= 0 ? s : NULL;
}

void kvm_riscv_aia_drive(RISCVAIAKVMState *s, int irq, int level)
{
    uint32_t *word = &s->driven[irq / 32];

    /*
     * Devices drive their wires again while they load.  The kernel takes a
     * level source's wire that stays asserted for a new interrupt; the one
     * of before has been loaded already.
     */
    if (!runstate_is_running() && extract32(*word, irq % 32, 1) == !!level) {
        return;
    }
    riscv_aia_use_wire(&s->fresh);
    *word = deposit32(*word, irq % 32, 1, !!level);
    kvm_set_irq(kvm_state, irq, !!level);
}

RISCVAIACost kvm_riscv_aia_begin(const RISCVAIAKVMState *s)
{
    return (RISCVAIACost) {
        .us = qemu_clock_get_us(QEMU_CLOCK_REALTIME),
        .accesses = s->accesses,
    };
}

RISCVAIACost kvm_riscv_aia_since(const RISCVAIAKVMState *s,
                                 const RISCVAIACost *began)
{
    RISCVAIACost now = kvm_riscv_aia_begin(s);

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

bool kvm_riscv_aia_peek_aplic(RISCVAIAKVMState *s, RISCVAPLICRegs *regs,
                              Error **errp)
{
    if (!riscv_aplic_regs_save(&s->access, regs, s->driven, errp)) {
        return false;
    }
    if (s->off) {
        /* It was loaded, and has not run. */
        regs->domaincfg = s->off->domaincfg;
    }
    return true;
}

bool kvm_riscv_aia_save_aplic(RISCVAIAKVMState *s, RISCVAPLICRegs *regs,
                              Error **errp)
{
    ERRP_GUARD();
    RISCVAIACost cost;
    bool ok;

#if AIA_FORK
    if (!kvm_riscv_pmu_ask(errp)) {
        return false;
    }
#endif
    cost = kvm_riscv_aia_begin(s);
    ok = kvm_riscv_aia_peek_aplic(s, regs, errp) &&
         riscv_aplic_regs_check(regs, errp);
    cost = kvm_riscv_aia_since(s, &cost);
    trace_kvm_riscv_aia_save_aplic(regs->num_sources, regs->domaincfg,
                                   cost.accesses, cost.us, why(ok, errp));
#if AIA_FORK
    /* After it: what moves from it to a file meanwhile is seen in the file. */
    ok = ok && kvm_riscv_aia_save_files(s, errp);
#endif
    return ok;
}

bool kvm_riscv_aia_load_aplic(RISCVAIAKVMState *s, const RISCVAPLICRegs *regs,
                              Error **errp)
{
    ERRP_GUARD();
    RISCVAIACost cost = kvm_riscv_aia_begin(s);
    bool ok;

    ok = riscv_aplic_regs_check(regs, errp) &&
         riscv_aplic_regs_load(&s->access, regs, s->driven, errp);
    s->off = ok ? regs : NULL;
    s->loaded_aplic |= ok;
    s->stale_upper = upper_half(regs->genmsi & AIA_APLIC_EIID_MASK);
    cost = kvm_riscv_aia_since(s, &cost);
    trace_kvm_riscv_aia_load_aplic(regs->num_sources, regs->domaincfg,
                                   cost.accesses, cost.us, why(ok, errp));
    return ok;
}

bool kvm_riscv_aia_reset_aplic(RISCVAIAKVMState *s, RISCVAPLICRegs *regs,
                               Error **errp)
{
    s->off = NULL;
    s->stale_upper = false;
    /* It moves no wire; the devices' own resets do. */
    if (!riscv_aplic_regs_reset(&s->access, regs, s->driven, errp)) {
        return false;
    }
    if (runstate_is_running()) {
        /* The guest goes on right away, and nobody says so. */
        riscv_aia_use_aplic(&s->fresh);
    }
    return true;
}

bool kvm_riscv_aia_save_imsic(RISCVAIAKVMState *s, uint32_t hartid,
                              RISCVIMSICRegs *regs, Error **errp)
{
#if AIA_FORK
    return kvm_riscv_aia_take_file(s, hartid, regs, errp);
#else
    return riscv_imsic_regs_save(&s->access, hartid, false, regs, errp);
#endif
}

bool kvm_riscv_aia_reset_imsic(RISCVAIAKVMState *s, uint32_t hartid,
                               RISCVIMSICRegs *regs, Error **errp)
{
#if AIA_FORK
    if (!kvm_riscv_aia_reset_files(s, hartid, errp)) {
        return false;
    }
#endif
    return riscv_imsic_regs_reset(&s->access, hartid, regs, errp);
}

/* If the guest has run, the file may hold anything. */
bool kvm_riscv_aia_file_is_stale(const RISCVAIAKVMState *s, CPUState *cs)
{
    return s->stale_upper || RISCV_CPU(cs)->kvm_vcpu->ran;
}

static bool load_file(RISCVAIAKVMState *s, uint32_t hartid,
                      const RISCVIMSICRegs *regs, Error **errp)
{
#if AIA_FORK
    return kvm_riscv_aia_load_file(s, hartid, regs, errp);
#else
    CPUState *cs = qemu_get_cpu(hartid);

    RISCV_CPU(cs)->kvm_vcpu->loaded_file = true;
    return riscv_imsic_regs_load(&s->access, hartid, regs,
                                 kvm_riscv_aia_file_is_stale(s, cs), errp);
#endif
}

bool kvm_riscv_aia_load_imsic(RISCVAIAKVMState *s, uint32_t hartid,
                              const RISCVIMSICRegs *regs, Error **errp)
{
    ERRP_GUARD();
    RISCVAIACost cost = kvm_riscv_aia_begin(s);
    bool ok = riscv_imsic_regs_check(regs, hartid, errp) &&
              load_file(s, hartid, regs, errp);

    cost = kvm_riscv_aia_since(s, &cost);
    trace_kvm_riscv_aia_load_imsic(hartid, regs->eidelivery,
                                   cost.accesses, cost.us, why(ok, errp));
    return ok;
}

typedef struct PeekIMSIC {
    const RISCVAIAAccess *access;
    RISCVIMSICRegs *regs;
    bool *whole;
    Error **errp;
    bool ok;
} PeekIMSIC;

static void do_peek_imsic(CPUState *cs, run_on_cpu_data arg)
{
    PeekIMSIC *peek = arg.host_ptr;

    peek->ok = riscv_imsic_regs_peek(peek->access, kvm_arch_vcpu_id(cs),
                                     peek->regs, peek->whole, peek->errp);
}

bool kvm_riscv_aia_peek_imsic(RISCVAIAKVMState *s, uint32_t hartid,
                              RISCVIMSICRegs *regs, bool *whole, Error **errp)
{
    PeekIMSIC peek = {
        .access = &s->access,
        .regs = regs,
        .whole = whole,
        .errp = errp,
    };

    run_on_cpu(qemu_get_cpu(hartid), do_peek_imsic,
               RUN_ON_CPU_HOST_PTR(&peek));
    return peek.ok;
}

/*
 * For QEMU a stream ends where it says so, whatever it has lacked till then.
 * @reset: this is no load, but what came by one that failed is no more
 */
static bool check_all_loaded(RISCVAIAKVMState *s, bool reset, Error **errp)
{
    g_autoptr(GString) lacks = g_string_new("");
    bool any = s->loaded_shape || s->loaded_aplic;
    CPUState *cs;

    if (!s->loaded_aplic && !kvm_kernel_irqchip_split()) {
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
    s->loaded_shape = s->loaded_aplic = false;
    if (reset || !any || !lacks->len) {
        return true;
    }
#if AIA_FORK
    error_setg(errp, "the stream has ended without %s", lacks->str + 2);
    return false;
#else
    warn_report("the stream has ended without %s", lacks->str + 2);
    return true;
#endif
}

/*
 * The AIA's part after a vCPU's registers were put, in that vCPU's thread.
 * After the last vCPU of a load this sees whether everything was in the stream,
 * and turns the APLIC on.
 */
static int put_vcpu(CPUState *cs, int level, Error **errp)
{
    RISCVAIAKVMState *s = find();
    CPURISCVState *env = cpu_env(cs);
    uint64_t sip = env->mip & ~(uint64_t)MIP_SEIP;
    int ret;

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
    if (!riscv_imsic_regs_evaluate(&s->access, kvm_arch_vcpu_id(cs),
                                   errp)) {
        return -EIO;
    }

    if (level == KVM_PUT_RUNTIME_STATE) {
        return kvm_riscv_vcpu_keep_timer(cs, errp);
    }
    if (!kvm_riscv_vcpu_all_put()) {
        return 0;
    }
    if (!check_all_loaded(s, level == KVM_PUT_RESET_STATE, errp)) {
        return -EIO;
    }
    if (level == KVM_PUT_FULL_STATE && s->off) {
        const RISCVAPLICRegs *regs = s->off;

        s->off = NULL;
        if (!riscv_aplic_regs_enable(&s->access, regs, errp)) {
            return -EIO;
        }
    }
    return 0;
}

/* The guest is about to run: nothing is known to be as at reset any more. */
static void vm_state_change(void *opaque, bool running, RunState state)
{
    RISCVAIAKVMState *s = opaque;

    if (running) {
        riscv_aia_use(&s->fresh);
    }
}

void kvm_riscv_aia_created(int fd, int mode)
{
    static Error *blocker;
    RISCVAIAKVMState *s = kvm_riscv_aia_get();
    Error *err = NULL;
    const char *lacks = NULL;

    s->fd = fd;
    s->mode = mode;
    qemu_add_vm_change_state_handler(vm_state_change, s);
    kvm_riscv_vcpu_set_put_last(put_vcpu);
    if (!kvm_kernel_irqchip_split() &&
        !kvm_device_check_attr(fd, KVM_DEV_RISCV_AIA_GRP_APLIC,
                               AIA_APLIC_DOMAINCFG)) {
        lacks = "APLIC";
    } else if (!kvm_device_check_attr(fd, KVM_DEV_RISCV_AIA_GRP_IMSIC,
                                      imsic_attr(0, AIA_IMSIC_EIDELIVERY))) {
        lacks = "IMSIC";
    }
    if (lacks) {
        error_setg(&blocker, "This kernel does not offer the state of its "
                   "in-kernel %s (KVM_DEV_TYPE_RISCV_AIA attributes); use a "
                   "newer one", lacks);
    } else if (kvm_riscv_aia_get_shape(s, &err)) {
        riscv_aia_shape_register(&s->shape);
    } else {
        error_setg(&blocker, "The shape of the in-kernel AIA is not known: %s",
                   error_get_pretty(err));
        error_free(err);
    }
    if (blocker) {
        migrate_add_blocker(&blocker, &error_fatal);
    }
}

static void riscv_aia_kvm_init(Object *obj)
{
    RISCVAIAKVMState *s = RISCV_AIA_KVM(obj);

    s->fd = -1;
    s->access = (RISCVAIAAccess) {
        .get_aplic = get_aplic,
        .set_aplic = set_aplic,
        .set_input = set_input,
        .get_imsic = get_imsic,
        .set_imsic = set_imsic,
        .send_msi = send_msi,
        .widen = kvm_riscv_aia_widen,
        .fresh = &s->fresh,
        .opaque = s,
    };
}

static const TypeInfo riscv_aia_kvm_info = {
    .name = TYPE_RISCV_AIA_KVM,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(RISCVAIAKVMState),
    .instance_init = riscv_aia_kvm_init,
};

static void riscv_aia_kvm_register_types(void)
{
    type_register_static(&riscv_aia_kvm_info);
}

type_init(riscv_aia_kvm_register_types)
