/*
 * State of a vCPU that the kernel lists and QEMU does not carry elsewhere
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * KVM_GET_REG_LIST names all registers of a vCPU.  Those that only configure
 * it must be the same on both sides already; those that kvm-cpu.c marshals
 * are in CPURISCVState.  All others, also those of a kernel newer than this
 * file, go into one list of (id, value).
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "migration/blocker.h"
#include "migration/refused.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "vcpu.h"
#include "vcpu-config.h"
#include "vcpu-migratable.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"
#include "vcpu-wait.h"

#define TIMER_REG(name) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                         KVM_REG_RISCV_TIMER | KVM_REG_RISCV_TIMER_REG(name))

static struct kvm_reg_list *get_reg_list(CPUState *cs, Error **errp)
{
    struct kvm_reg_list probe = { .n = 0 };
    struct kvm_reg_list *list;
    int ret = kvm_vcpu_ioctl(cs, KVM_GET_REG_LIST, &probe);

    if (ret == -E2BIG) {
        list = g_malloc(sizeof(*list) + probe.n * sizeof(list->reg[0]));
        list->n = probe.n;
        ret = kvm_vcpu_ioctl(cs, KVM_GET_REG_LIST, list);
        if (ret == 0) {
            return list;
        }
        g_free(list);
    }
    error_setg(errp, "This kernel does not list the registers of a vCPU "
               "(KVM_GET_REG_LIST: %s), so that the guest's state is not "
               "known; use Linux 6.6 or newer", strerror(-ret));
    return NULL;
}

bool kvm_riscv_vcpu_is_stopped(CPUState *cs)
{
    uint32_t mp_state = KVM_MP_STATE_RUNNABLE;

    return kvm_riscv_get_mp_state(cs, &mp_state, NULL) == 0 &&
           mp_state == KVM_MP_STATE_STOPPED;
}

/*
 * Runs before the handler of kvm-cpu.c that reads the timer, which a start
 * resets: on a stop the last comes first.
 */
static void vm_state_change(void *opaque, bool running, RunState state)
{
    CPUState *cs = opaque;

    if (running) {
        RISCV_CPU(cs)->kvm_vcpu->ran = true;
#if AIA_FORK
        kvm_riscv_extra_run(cs);
#endif
        return;
    }
    if (kvm_riscv_vcpu_finish_start(cs)) {
        /* What was read before is no more. */
        cs->vcpu_dirty = false;
    }
}

static int list_regs(CPUState *cs, const struct kvm_reg_list *all,
                     RISCVRegList *regs, Error **errp)
{
    bool has_d = riscv_has_ext(cpu_env(cs), RVD);
    uint32_t n = 0;

    riscv_reg_list_alloc(regs, all->n);
    for (uint64_t i = 0; i < all->n; i++) {
        uint64_t id = all->reg[i];

        if (riscv_reg_is_config(id) || riscv_reg_is_carried(id, has_d)) {
            continue;
        }
        if (RISCV_REG_BYTES(id) > sizeof(uint64_t)) {
            riscv_reg_error(errp, id, cs->cpu_index, "is wider than this QEMU "
                            "can carry; use a newer one");
            return -ENOTSUP;
        }
        regs->id[n++] = id;
    }
    regs->num = n;
    qsort(regs->id, n, sizeof(uint64_t), riscv_reg_id_compare);
    for (uint32_t i = 0; i < n; i++) {
        int ret = kvm_riscv_get_reg(cs, regs->id[i], &regs->reset[i], errp);

        if (ret < 0) {
            return ret;
        }
        regs->value[i] = regs->reset[i];
    }
    return 0;
}

int kvm_riscv_vcpu_list_regs(CPUState *cs, Error **errp)
{
    RISCVRegList *regs = &RISCV_CPU(cs)->kvm_vcpu->regs;
    g_autofree struct kvm_reg_list *all = get_reg_list(cs, errp);
    int ret;

    riscv_reg_list_free(regs);
    if (!all) {
        return -ENOTSUP;
    }
    ret = list_regs(cs, all, regs, errp) ?:
          kvm_riscv_vcpu_config_init(cs, all, errp);
    if (ret < 0) {
        /* None is carried where one cannot be. */
        riscv_reg_list_free(regs);
        return ret;
    }
    trace_kvm_riscv_vcpu_init(cs->cpu_index, all->n, regs->num);
    return 0;
}

int kvm_riscv_vcpu_init(CPUState *cs)
{
    static Error *blocker;
    Error *err = NULL;
    int ret = kvm_riscv_vcpu_leave_out(cs, &err);

    if (ret < 0) {
        error_report_err(err);
        return ret;
    }
    RISCV_CPU(cs)->kvm_vcpu = g_new0(KVMRISCVVCPU, 1);
#if AIA_FORK
    kvm_riscv_extra_init(cs);
#endif
    /* A guest that is not to move does not need to be carried. */
    if (kvm_riscv_vcpu_list_regs(cs, &err) < 0) {
        if (blocker) {
            error_free(err);
        } else {
            blocker = err;
            migrate_add_blocker(&blocker, &error_fatal);
        }
    }
    qemu_add_vm_change_state_handler(vm_state_change, cs);
    return 0;
}

/* A vCPU that is put once more is the first of another reset or load. */
static void mark_put(CPUState *cs)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    CPUState *other;

    if (vcpu->put) {
        CPU_FOREACH(other) {
            RISCV_CPU(other)->kvm_vcpu->put = false;
        }
    }
    vcpu->put = true;
}

bool kvm_riscv_vcpu_all_put(void)
{
    CPUState *cs;

    CPU_FOREACH(cs) {
        if (!RISCV_CPU(cs)->kvm_vcpu->put) {
            return false;
        }
    }
    return true;
}

int kvm_riscv_vcpu_keep_timer(CPUState *cs, Error **errp)
{
    uint64_t compare, time;
    int ret;

    if (kvm_riscv_vcpu_has_sstc() || (cpu_env(cs)->mip & MIP_STIP)) {
        return 0;
    }
    /* Its state may say that one that is over is on. */
    ret = kvm_riscv_get_reg(cs, TIMER_REG(compare), &compare, errp) ?:
          kvm_riscv_get_reg(cs, TIMER_REG(time), &time, errp);
    if (ret < 0 || compare > time) {
        return ret;
    }
    return kvm_riscv_set_reg(cs, TIMER_REG(state), KVM_RISCV_TIMER_STATE_ON,
                             errp);
}

static int put_regs(CPUState *cs, int level, Error **errp)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    int ret;

    /* Nothing in QEMU changes these registers while the guest runs. */
    if (level < KVM_PUT_RESET_STATE) {
        return kvm_riscv_vcpu_put_owed(cs, errp) ?:
               kvm_riscv_vcpu_keep_timer(cs, errp);
    }
    mark_put(cs);
    kvm_riscv_vcpu_forget_owed(cs);
    if (level == KVM_PUT_RESET_STATE) {
        /* A reset gives harts the MP state of their own, see kvm-cpu.c. */
        memcpy(vcpu->regs.value, vcpu->regs.reset,
               vcpu->regs.num * sizeof(uint64_t));
#if AIA_FORK
        kvm_riscv_extra_was_reset(cs);
#endif
    }
    ret = kvm_riscv_put_reg_list(cs, vcpu->regs.value, errp);
    if (!ret && level == KVM_PUT_FULL_STATE) {
        ret = kvm_riscv_set_mp_state(cs, vcpu->mp_state, errp);
#if AIA_FORK
        ret = ret ?: kvm_riscv_extra_put(cs, errp);
#endif
    }
    if (ret < 0) {
        return ret;
    }
    trace_kvm_riscv_vcpu_put(cs->cpu_index, vcpu->regs.num, vcpu->mp_state);
    return 0;
}

static RISCVVCPUPutLast *put_last;

void kvm_riscv_vcpu_set_put_last(RISCVVCPUPutLast *put)
{
    put_last = put;
}

int kvm_riscv_vcpu_put(CPUState *cs, int level, Error **errp)
{
    int ret = put_regs(cs, level, errp);

    if (ret < 0) {
        return ret;
    }
    if (!put_last) {
        RISCV_CPU(cs)->kvm_vcpu->loaded = false;
        return 0;
    }
    return put_last(cs, level, errp);
}

static bool vcpu_pre_save(void *opaque, Error **errp)
{
    CPUState *cs = CPU(opaque);
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;

    if (kvm_riscv_vcpu_put_owed(cs, errp) < 0) {
        return false;
    }
#if AIA_FORK
    if (!kvm_riscv_extra_pre_save(cs, errp)) {
        return false;
    }
#else
    if (cpu_env(cs)->mip & MIP_SSIP) {
        error_setg(errp, "hart %d has a software interrupt pending, which a "
                   "WFI does not see once KVM has loaded it", cs->cpu_index);
        return false;
    }
#endif
    if (kvm_riscv_get_mp_state(cs, &vcpu->mp_state, errp) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < vcpu->regs.num; i++) {
        if (kvm_riscv_get_reg(cs, vcpu->regs.id[i], &vcpu->regs.value[i],
                              errp) < 0) {
            return false;
        }
    }
    riscv_vcpu_regs_save(vcpu);
    return true;
}
VMSTATE_PRE_SAVE_HOOK(vcpu_pre_save)

static int vcpu_pre_load(void *opaque)
{
    riscv_reg_list_free(&RISCV_CPU(opaque)->kvm_vcpu->stream);
#if AIA_FORK
    kvm_riscv_extra_pre_load(CPU(opaque));
#endif
    return 0;
}

bool kvm_riscv_vcpu_has_reg(uint64_t id)
{
    RISCVRegList *regs = &RISCV_CPU(first_cpu)->kvm_vcpu->regs;

    return bsearch(&id, regs->id, regs->num, sizeof(id),
                   riscv_reg_id_compare);
}

typedef struct UsedRegs {
    GArray *ids;
    uint64_t satp_mode;
    Error **errp;
    bool ok;
} UsedRegs;

static void do_used_regs(CPUState *cs, run_on_cpu_data arg)
{
    RISCVRegList *regs = &RISCV_CPU(cs)->kvm_vcpu->regs;
    UsedRegs *used = arg.host_ptr;
    uint64_t satp;

    if (kvm_riscv_get_reg(cs, CSR_REG(satp), &satp, used->errp) < 0) {
        used->ok = false;
        return;
    }
    used->satp_mode = MAX(used->satp_mode, get_field(satp, SATP64_MODE));
    for (uint32_t i = 0; i < regs->num; i++) {
        uint64_t value;

        if (kvm_riscv_get_reg(cs, regs->id[i], &value, used->errp) < 0) {
            used->ok = false;
            return;
        }
        if (value != regs->reset[i] &&
            !g_array_binary_search(used->ids, &regs->id[i],
                                   riscv_reg_id_compare, NULL)) {
            g_array_append_val(used->ids, regs->id[i]);
            g_array_sort(used->ids, riscv_reg_id_compare);
        }
    }
}

GArray *kvm_riscv_vcpu_used_regs(uint64_t *satp_mode, Error **errp)
{
    UsedRegs used = {
        .ids = g_array_new(false, false, sizeof(uint64_t)),
        .errp = errp,
        .ok = true,
    };
    CPUState *cs;

    CPU_FOREACH(cs) {
        if (used.ok) {
            run_on_cpu(cs, do_used_regs, RUN_ON_CPU_HOST_PTR(&used));
        }
    }
    if (!used.ok) {
        g_array_free(used.ids, true);
        return NULL;
    }
    *satp_mode = used.satp_mode;
    return used.ids;
}

/*
 * The guest has told when its timer is to interrupt, and whether it has yet
 * follows from that.  With Sstc the hardware tells STIP: one that was put would
 * never go.  Without, the kernel keeps a timer of its own, which has to be
 * started, and sets STIP when it is over: at the source also while the machine
 * stood, which the guest's time did not pass.
 */
static void load_timer(CPURISCVState *env)
{
    bool has_sstc = kvm_riscv_vcpu_has_sstc();
    bool is_over = env->kvm_timer_compare <= env->kvm_timer_time;

    env->mip &= ~(uint64_t)MIP_STIP;
    if (!has_sstc && is_over) {
        env->mip |= MIP_STIP;
    }
    env->kvm_timer_state = !has_sstc && !is_over &&
                           env->kvm_timer_compare != UINT64_MAX;
}

/* It may have been switched on since the shape was sent. */
static bool check_satp(CPUState *cs, Error **errp)
{
    uint64_t mode = get_field(cpu_env(cs)->satp, SATP64_MODE);

    if (mode > kvm_riscv_vcpu_satp_mode()) {
        error_setg(errp, "hart %d pages by %s, which this host does not have",
                   cs->cpu_index, riscv_satp_mode_name(mode));
        return false;
    }
    return true;
}

static bool vcpu_post_load(void *opaque, int version_id, Error **errp)
{
    CPUState *cs = CPU(opaque);
    RISCVCPU *cpu = RISCV_CPU(cs);
    KVMRISCVVCPU *vcpu = cpu->kvm_vcpu;
    bool ok = check_satp(cs, errp);

#if AIA_FORK
    ok = ok && kvm_riscv_extra_check(cs, errp);
#endif
    ok = ok && riscv_vcpu_regs_load(vcpu, cs->cpu_index,
                                    riscv_has_ext(&cpu->env, RVD), errp);
    trace_kvm_riscv_vcpu_load(cs->cpu_index, vcpu->stream.num, vcpu->regs.num);
    riscv_reg_list_free(&vcpu->stream);
    if (!ok) {
        return false;
    }
    load_timer(&cpu->env);
#if AIA_FORK
    kvm_riscv_extra_take(cs);
#endif
    vcpu->loaded = true;
    return true;
}
VMSTATE_POST_LOAD_HOOK(vcpu_post_load)

int kvm_riscv_vcpu_check_loaded(CPUState *cs)
{
    if (RISCV_CPU(cs)->kvm_vcpu->loaded) {
        return 0;
    }
#if AIA_FORK
    error_report("hart %d: the source sends no subsection cpu/kvm-riscv: it is "
                 "a QEMU that cannot save a KVM guest whole", cs->cpu_index);
    error_printf("Only this fork can, so the guest has to be started in it; "
                 "one that runs in another QEMU can only be shut down there "
                 "and started here.\n");
    return -EINVAL;
#else
    warn_report("hart %d: the source sends no subsection cpu/kvm-riscv: the "
                "guest may not go on", cs->cpu_index);
    return 0;
#endif
}

static bool vcpu_needed(void *opaque)
{
    return kvm_enabled();
}

const VMStateDescription vmstate_kvm_riscv_vcpu = {
    .name = "cpu/kvm-riscv",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = vcpu_needed,
    VMSTATE_PRE_SAVE(vcpu_pre_save),
    .pre_load = vcpu_pre_load,
    VMSTATE_POST_LOAD(vcpu_post_load),
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_POINTER(kvm_vcpu, RISCVCPU, vmstate_riscv_vcpu_regs,
                               KVMRISCVVCPU),
        VMSTATE_END_OF_LIST()
    },
#if AIA_FORK
    .subsections = vmstate_kvm_riscv_extra,
#endif
};
