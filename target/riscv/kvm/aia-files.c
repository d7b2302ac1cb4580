/*
 * The interrupt files of all harts: saved, loaded and reset together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A kernel that reaches a software file 32 bits at a time can need a hardware
 * one for each in turn (guest-file.c), and the host may have fewer of those
 * than the guest has harts.
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "system/kvm.h"
#include "cpu.h"
#include "hw/core/cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "aia-files.h"
#include "faults/stale-csrs.h"
#include "guest-file.h"
#include "vcpu.h"
#include "vcpu-enter.h"
#include "vcpu-pmu.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"
#include "vcpu-wait.h"

/*
 * A hart owns a guest interrupt file, to which access is 64 bits wide, once
 * KVM_RUN was called for it on a CPU with a free one; emulation never gives it
 * one.
 */
static int lend_files(RISCVAIAKVMState *s, GPtrArray *harts,
                      GuestFileVisit *visit, Error **errp)
{
    /* In hwaccel a file has to be where its hart will run. */
    return kvm_riscv_guest_file_lend(&s->access, harts,
                                     s->mode == KVM_DEV_RISCV_AIA_MODE_AUTO,
                                     visit, errp);
}

int kvm_riscv_aia_widen(void *opaque, uint32_t hart, Error **errp)
{
    g_autoptr(GPtrArray) harts = g_ptr_array_new();
    RISCVAIAKVMState *s = opaque;
    CPUState *cs = qemu_get_cpu(hart);

    if (s->mode == KVM_DEV_RISCV_AIA_MODE_EMUL) {
        return -EOPNOTSUPP;
    }
    if (s->narrow) {
        /* The start of a hart resets its file. */
        if (!kvm_riscv_vcpu_is_stopped(cs)) {
            g_ptr_array_add(s->narrow, cs);
        }
        return -EOPNOTSUPP;
    }
    g_ptr_array_add(harts, cs);
    return lend_files(s, harts, NULL, errp);
}

bool kvm_riscv_aia_waits_for_file(CPUState *cs)
{
    RISCVAIAKVMState *s = kvm_riscv_aia_find();
    bool wide;

    return s && s->mode == KVM_DEV_RISCV_AIA_MODE_HWACCEL &&
           riscv_imsic_is_wide(&s->access, kvm_arch_vcpu_id(cs), &wide,
                               NULL) && !wide;
}

static void place_file(CPUState *cs, void *opaque)
{
    /* Without a file it gets one when it needs it. */
    kvm_riscv_vcpu_wait_once(cs, INT64_MAX, opaque);
}

bool kvm_riscv_aia_place_files(Error **errp)
{
    RISCVAIAKVMState *s = kvm_riscv_aia_find();
    g_autoptr(GPtrArray) harts = g_ptr_array_new();
    g_autofree Error **err = NULL;
    bool ok = true;
    CPUState *cs;

    if (s->mode == KVM_DEV_RISCV_AIA_MODE_EMUL) {
        return true;
    }
    CPU_FOREACH(cs) {
        g_ptr_array_add(harts, cs);
    }
    err = g_new0(Error *, harts->len);
    kvm_riscv_vcpu_work(place_file, (CPUState **)harts->pdata, err,
                        sizeof(*err), harts->len);
    kvm_riscv_stale_csrs_entered();
    for (unsigned i = 0; i < harts->len; i++) {
        if (err[i]) {
            error_propagate(ok ? errp : NULL, err[i]);
            ok = false;
        }
    }
    return ok;
}

static void forget_saved_file(KVMRISCVVCPU *vcpu)
{
    if (vcpu->extra.saved_file) {
        riscv_imsic_regs_free(vcpu->extra.saved_file);
        g_clear_pointer(&vcpu->extra.saved_file, g_free);
    }
}

static bool save_file_as(CPUState *cs, bool wide, Error **errp)
{
    ERRP_GUARD();
    RISCVAIAKVMState *s = kvm_riscv_aia_find();
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    RISCVAIACost cost = kvm_riscv_aia_begin(s);
    bool ok;

    forget_saved_file(vcpu);
    vcpu->extra.saved_file = g_new0(RISCVIMSICRegs, 1);
    riscv_imsic_regs_init(vcpu->extra.saved_file, s->shape.ours.num_ids);
    ok = kvm_riscv_vcpu_put_owed(cs, errp) == 0 &&
         riscv_imsic_regs_save(&s->access, kvm_arch_vcpu_id(cs), wide,
                               vcpu->extra.saved_file, errp);
    cost = kvm_riscv_aia_since(s, &cost);
    trace_kvm_riscv_aia_save_imsic(cs->cpu_index,
                                   vcpu->extra.saved_file->eidelivery,
                                   cost.accesses, cost.us,
                                   ok ? "" : error_get_pretty(*errp));
    return ok;
}

static bool save_file(CPUState *cs, Error **errp)
{
    return save_file_as(cs, false, errp);
}

/* kvm_riscv_guest_file_lend() has seen that it is wide. */
static bool save_lent_file(CPUState *cs, Error **errp)
{
    return save_file_as(cs, true, errp);
}

/*
 * Reads the files of all harts: those that can be read as they are first, since
 * they may have to be given up for the others.
 */
bool kvm_riscv_aia_save_files(RISCVAIAKVMState *s, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GPtrArray) narrow = g_ptr_array_new();
    Error *busy = NULL;
    CPUState *cs;
    bool ok = true;
    int ret;

    s->narrow = narrow;
    CPU_FOREACH(cs) {
        ok = ok && save_file(cs, errp);
    }
    s->narrow = NULL;
    if (ok) {
        ret = lend_files(s, narrow, save_lent_file, &busy);
        /* In hwaccel such a hart waits for its first file, and has not run. */
        ok = !ret || (ret == -EBUSY &&
                      s->mode == KVM_DEV_RISCV_AIA_MODE_HWACCEL);
    }
    if (ok) {
        error_free(busy);
        return true;
    }
    CPU_FOREACH(cs) {
        forget_saved_file(RISCV_CPU(cs)->kvm_vcpu);
    }
    if (busy) {
        error_propagate_prepend(errp, busy, "identities 32-63, 96-127 and so "
                                "on cannot be read: ");
    }
    return false;
}

bool kvm_riscv_aia_take_file(RISCVAIAKVMState *s, uint32_t hartid,
                             RISCVIMSICRegs *regs, Error **errp)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(qemu_get_cpu(hartid))->kvm_vcpu;
    RISCVIMSICRegs *file;

    /* With a split irqchip the files are the first that is saved. */
    if (!vcpu->extra.saved_file &&
        !(kvm_riscv_pmu_ask(errp) && kvm_riscv_aia_save_files(s, errp))) {
        return false;
    }
    file = vcpu->extra.saved_file;
    g_assert(file->num_words == regs->num_words);
    regs->eidelivery = file->eidelivery;
    regs->eithreshold = file->eithreshold;
    memcpy(regs->eip, file->eip, regs->num_words * sizeof(uint32_t));
    memcpy(regs->eie, file->eie, regs->num_words * sizeof(uint32_t));
    forget_saved_file(vcpu);
    return true;
}

static bool load_file(CPUState *cs, Error **errp)
{
    RISCVAIAKVMState *s = kvm_riscv_aia_find();
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    const RISCVIMSICRegs *regs = vcpu->extra.file_to_load;

    vcpu->extra.file_to_load = NULL;
    return riscv_imsic_regs_load(&s->access, kvm_arch_vcpu_id(cs), regs,
                                 kvm_riscv_aia_file_is_stale(s, cs), errp);
}

/* The harts whose files wait to be written, once all have come, or NULL. */
static GPtrArray *harts_to_load(void)
{
    g_autoptr(GPtrArray) harts = g_ptr_array_new();
    CPUState *cs;

    CPU_FOREACH(cs) {
        KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;

        if (!vcpu->loaded_file) {
            return NULL;
        }
        if (vcpu->extra.file_to_load) {
            g_ptr_array_add(harts, cs);
        }
    }
    return g_steal_pointer(&harts);
}

bool kvm_riscv_aia_load_file(RISCVAIAKVMState *s, uint32_t hartid,
                             const RISCVIMSICRegs *regs, Error **errp)
{
    g_autoptr(GPtrArray) harts = NULL;
    CPUState *cs = qemu_get_cpu(hartid);
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    Error *busy = NULL;
    bool wide = true;
    int ret;

    vcpu->extra.file_to_load = regs;
    vcpu->loaded_file = true;
    if (s->mode != KVM_DEV_RISCV_AIA_MODE_EMUL &&
        riscv_imsic_regs_need_wide(regs, kvm_riscv_aia_file_is_stale(s, cs)) &&
        !riscv_imsic_is_wide(&s->access, hartid, &wide, errp)) {
        return false;
    }
    if (wide && !load_file(cs, errp)) {
        return false;
    }
    harts = harts_to_load();
    if (!harts) {
        return true;
    }
    ret = lend_files(s, harts, load_file, &busy);
    if (ret != -EBUSY) {
        error_propagate(errp, busy);
        return ret == 0;
    }
    /* Those that got none tell what they cannot do without. */
    error_free(busy);
    for (unsigned i = 0; i < harts->len; i++) {
        cs = g_ptr_array_index(harts, i);
        if (RISCV_CPU(cs)->kvm_vcpu->extra.file_to_load &&
            !load_file(cs, errp)) {
            return false;
        }
    }
    return true;
}

static bool reset_file(CPUState *cs, Error **errp)
{
    RISCVAIAKVMState *s = kvm_riscv_aia_find();
    RISCVIMSICRegs regs;
    bool ok;

    riscv_imsic_regs_init(&regs, s->shape.ours.num_ids);
    ok = riscv_imsic_regs_reset(&s->access, kvm_arch_vcpu_id(cs), &regs, errp);
    riscv_imsic_regs_free(&regs);
    return ok;
}

static bool reset_upper_halves(RISCVAIAKVMState *s, Error **errp)
{
    g_autoptr(GPtrArray) narrow = g_ptr_array_new();
    Error *busy = NULL;
    CPUState *cs;
    bool wide;
    int ret;

    CPU_FOREACH(cs) {
        KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;

        vcpu->extra.reset_upper = vcpu->ran;
        /* Lest KVM_RUN tells the old guest of steal time. */
        if (vcpu->ran &&
            (kvm_riscv_put_reg_list(cs, vcpu->regs.reset, errp) < 0 ||
             !riscv_imsic_is_wide(&s->access, kvm_arch_vcpu_id(cs), &wide,
                                  errp) ||
             (wide && !reset_file(cs, errp)))) {
            return false;
        }
        if (vcpu->ran && !wide && s->mode != KVM_DEV_RISCV_AIA_MODE_EMUL) {
            g_ptr_array_add(narrow, cs);
        }
    }
    ret = lend_files(s, narrow, reset_file, &busy);
    if (ret == -EBUSY) {
        /* The guest's own boot code cannot do more either. */
        warn_reportf_err(busy, "identities 32-63, 96-127 and so on are not "
                         "reset: ");
        return true;
    }
    error_propagate(errp, busy);
    return ret == 0;
}

bool kvm_riscv_aia_reset_files(RISCVAIAKVMState *s, uint32_t hartid,
                               Error **errp)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(qemu_get_cpu(hartid))->kvm_vcpu;

    if (!kvm_riscv_vcpu_is_reset_whole() && vcpu->ran &&
        !vcpu->extra.reset_upper && !reset_upper_halves(s, errp)) {
        return false;
    }
    vcpu->extra.reset_upper = false;
    return true;
}
