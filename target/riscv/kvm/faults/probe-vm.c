/*
 * A virtual machine that finds out what KVM does
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/cacheflush.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "qemu/memfd.h"
#include "system/kvm.h"
#include "probe-vm.h"

#define CORE_REG(name) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                        KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(name))
#define CSR_REG(name)  (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                        KVM_REG_RISCV_CSR | KVM_REG_RISCV_CSR_REG(name))

/* There is nothing at 0: a store there leaves the guest. */
static const uint32_t code[] = {
    0x00053303, /* ld t1, 0(a0) */
    0x00603023, /* sd t1, 0(zero) */
    0x00b53023, /* sd a1, 0(a0) */
    0x00b03023, /* sd a1, 0(zero) */
    0x14002373, /* csrr t1, sscratch */
    0x00603023, /* sd t1, 0(zero) */
    0x00000073, /* ecall */
    0x00b03023, /* sd a1, 0(zero) */
};
#define READ_OFFSET     0
#define WRITE_OFFSET    8
#define SSCRATCH_OFFSET 16
#define ECALL_OFFSET    24

struct ProbeVM {
    int vm;
    int vcpu;
    size_t run_size;
    struct kvm_run *run;
    void *code;
    /* CPU time that the guest may take until it tells something */
    struct timespec limit;
};

static uint64_t code_gpa(void)
{
    return qemu_real_host_page_size();
}

bool probe_vm_set_memory(ProbeVM *vm, uint32_t slot, uint64_t gpa,
                         void *memory, size_t size, uint32_t flags)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .flags = flags,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)memory,
    };

    return ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

/* All signals but SIG_IPI stay blocked in KVM_RUN. */
static bool set_signal_mask(int vcpu)
{
    const uint64_t mask = ~(1ULL << (SIG_IPI - 1));
    g_autofree struct kvm_signal_mask *arg =
        g_malloc(sizeof(*arg) + sizeof(mask));

    arg->len = sizeof(mask);
    memcpy(arg->sigset, &mask, sizeof(mask));
    return ioctl(vcpu, KVM_SET_SIGNAL_MASK, arg) == 0;
}

ProbeVM *probe_vm_new(Error **errp)
{
    size_t page = qemu_real_host_page_size();
    ProbeVM *vm = g_new0(ProbeVM, 1);

    vm->vcpu = -1;
    vm->run = MAP_FAILED;
    vm->limit.tv_sec = 2;
    vm->run_size = MAX(kvm_ioctl(kvm_state, KVM_GET_VCPU_MMAP_SIZE, 0), 0);
    vm->code = qemu_memalign(page, page);
    memset(vm->code, 0, page);
    memcpy(vm->code, code, sizeof(code));
    flush_idcache_range((uintptr_t)vm->code, (uintptr_t)vm->code,
                        sizeof(code));
    vm->vm = kvm_ioctl(kvm_state, KVM_CREATE_VM, 0);
    if (vm->vm < 0) {
        error_setg_errno(errp, -vm->vm, "no second virtual machine");
        goto fail;
    }
    vm->vcpu = ioctl(vm->vm, KVM_CREATE_VCPU, 0);
    if (vm->vcpu >= 0) {
        vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                       vm->vcpu, 0);
    }
    if (vm->run == MAP_FAILED || !set_signal_mask(vm->vcpu) ||
        !probe_vm_set_memory(vm, 0, code_gpa(), vm->code, page, 0)) {
        error_setg_errno(errp, errno, "no vCPU in a second virtual machine");
        goto fail;
    }
    return vm;

fail:
    probe_vm_free(vm);
    return NULL;
}

void probe_vm_free(ProbeVM *vm)
{
    if (!vm) {
        return;
    }
    if (vm->run != MAP_FAILED) {
        munmap(vm->run, vm->run_size);
    }
    if (vm->vcpu >= 0) {
        close(vm->vcpu);
    }
    if (vm->vm >= 0) {
        close(vm->vm);
    }
    qemu_vfree(vm->code);
    g_free(vm);
}

static bool set_reg(ProbeVM *vm, uint64_t id, uint64_t val)
{
    struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&val };

    return ioctl(vm->vcpu, KVM_SET_ONE_REG, &reg) == 0;
}

static bool get_reg(ProbeVM *vm, uint64_t id, uint64_t *val)
{
    struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)val };

    return ioctl(vm->vcpu, KVM_GET_ONE_REG, &reg) == 0;
}

/* KVM_RUN itself lets it through. */
static void block_kick(sigset_t *old)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIG_IPI);
    pthread_sigmask(SIG_BLOCK, &set, old);
}

static void unblock_kick(const sigset_t *old)
{
    const struct timespec now = { 0 };
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIG_IPI);
    while (sigtimedwait(&set, NULL, &now) == SIG_IPI) {
        /* It has come. */
    }
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

/*
 * A guest that takes a fault for ever must not take QEMU along.  Time that the
 * thread runs, so that it does not matter what else the host does.
 */
static bool run_for_a_while(ProbeVM *vm)
{
    const struct itimerspec limit = { .it_value = vm->limit };
    struct sigevent kick = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = SIG_IPI,
        ._sigev_un._tid = qemu_get_thread_id(),
    };
    sigset_t old;
    timer_t timer;
    int ret;

    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &kick, &timer)) {
        return false;
    }
    block_kick(&old);
    timer_settime(timer, 0, &limit, NULL);
    do {
        ret = ioctl(vm->vcpu, KVM_RUN, 0);
    } while (ret < 0 && errno == EAGAIN);
    timer_delete(timer);
    unblock_kick(&old);
    return ret == 0 && vm->run->exit_reason == KVM_EXIT_MMIO;
}

/* Runs what is at @offset of the code until it tells something. */
static bool run(ProbeVM *vm, uint64_t offset, uint64_t gpa, uint64_t val)
{
    /* The store that it left with has to be completed, or it moves the pc. */
    vm->run->immediate_exit = 1;
    ioctl(vm->vcpu, KVM_RUN, 0);
    vm->run->immediate_exit = 0;
    return set_reg(vm, CORE_REG(regs.pc), code_gpa() + offset) &&
           set_reg(vm, CORE_REG(regs.a0), gpa) &&
           set_reg(vm, CORE_REG(regs.a1), val) && run_for_a_while(vm);
}

static bool run_and_tell(ProbeVM *vm, uint64_t offset, uint64_t gpa,
                         uint64_t *val)
{
    if (!run(vm, offset, gpa, 0)) {
        return false;
    }
    memcpy(val, vm->run->mmio.data, sizeof(*val));
    return true;
}

void probe_vm_expect_hang(ProbeVM *vm)
{
    vm->limit = (struct timespec) { .tv_nsec = 200 * SCALE_MS };
}

bool probe_vm_read(ProbeVM *vm, uint64_t gpa, uint64_t *val)
{
    return run_and_tell(vm, READ_OFFSET, gpa, val);
}

bool probe_vm_write(ProbeVM *vm, uint64_t gpa, uint64_t val)
{
    return run(vm, WRITE_OFFSET, gpa, val);
}

bool probe_vm_set_sscratch(ProbeVM *vm, uint64_t val)
{
    return set_reg(vm, CSR_REG(sscratch), val);
}

bool probe_vm_read_sscratch(ProbeVM *vm, uint64_t *val)
{
    return run_and_tell(vm, SSCRATCH_OFFSET, 0, val);
}

bool probe_vm_call_sbi(ProbeVM *vm, uint64_t ext, uint64_t fid, uint64_t arg,
                       int64_t *error, uint64_t *value)
{
    return set_reg(vm, CORE_REG(regs.a7), ext) &&
           set_reg(vm, CORE_REG(regs.a6), fid) &&
           run_and_tell(vm, ECALL_OFFSET, arg, value) &&
           get_reg(vm, CORE_REG(regs.a0), (uint64_t *)error);
}

/* With immediate_exit KVM would not come to it. */
bool probe_vm_load(ProbeVM *vm)
{
    sigset_t old;
    bool loaded;

    block_kick(&old);
    pthread_kill(pthread_self(), SIG_IPI);
    vm->run->immediate_exit = 0;
    loaded = ioctl(vm->vcpu, KVM_RUN, 0) < 0 && errno == EINTR;
    unblock_kick(&old);
    return loaded;
}

RISCVVerdict probe_vm_with_file(size_t size, size_t mapped, int flags,
                                RISCVVerdict (*ask)(ProbeVM *vm, void *data,
                                                    int fd, Error **errp),
                                Error **errp)
{
    int fd = qemu_memfd_create("riscv-probe", size, false, 0, 0, errp);
    RISCVVerdict verdict = RISCV_VERDICT_UNKNOWN;
    ProbeVM *vm;
    void *data;

    if (fd < 0) {
        return verdict;
    }
    data = mmap(NULL, mapped, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (data == MAP_FAILED) {
        error_setg_errno(errp, errno, "no memory for a probe");
    } else {
        vm = probe_vm_new(errp);
        if (vm) {
            verdict = ask(vm, data, fd, errp);
            probe_vm_free(vm);
        }
        munmap(data, mapped);
    }
    close(fd);
    return verdict;
}
