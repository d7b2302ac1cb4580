/*
 * Library that makes calls of ioctl() fail, and moves vCPUs; to be preloaded
 * into QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * So every access to the kernel can be made to fail in the QEMU that is
 * shipped.  See fault.h for what can be asked for.
 */

#include "qemu/osdep.h"
#include <malloc.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/kvm.h>
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "fault.h"
#include "report.h"

/* The pc, and where on the machine "virt" a guest may run */
#define RISCV_PC  (KVM_REG_RISCV | KVM_REG_SIZE_U64 | KVM_REG_RISCV_CORE | \
                   KVM_REG_RISCV_CORE_REG(regs.pc))
#define RAM_START 0x80000000

static FaultControl *control;

static void __attribute__((constructor)) map_control(void)
{
    const char *name = getenv(FAULT_ENV);
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;

    if (fd >= 0) {
        control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE,
                       MAP_SHARED, fd, 0);
        close(fd);
    }
    if (fd < 0 || control == MAP_FAILED) {
        fprintf(stderr, "cannot map what %s names\n", FAULT_ENV);
        _exit(1);
    }
}

/* Whether the vCPU of this thread has been put to wait in KVM_RUN */
static __thread bool waits;

static uint64_t subject(unsigned long request, const void *arg)
{
    const struct kvm_device_attr *attr = arg;
    const struct kvm_one_reg *reg = arg;

    switch (request) {
    case KVM_GET_DEVICE_ATTR:
    case KVM_SET_DEVICE_ATTR:
    case KVM_HAS_DEVICE_ATTR:
        return (uint64_t)attr->group << 32 | attr->attr;
    case KVM_GET_ONE_REG:
    case KVM_SET_ONE_REG:
        return reg->id;
    case KVM_RUN:
        return waits;
    default:
        return 0;
    }
}

static bool fails(unsigned long request, const void *arg)
{
    uint64_t wanted = qatomic_load_acquire(&control->request);
    struct mallinfo2 heap;
    uint64_t what;
    uint32_t n;

    if (wanted != request && wanted != FAULT_ANY) {
        return false;
    }
    what = subject(request, arg);
    if ((what & control->mask) != control->match) {
        return false;
    }
    n = qatomic_fetch_inc(&control->calls);
    if (n < FAULT_LOG) {
        control->call[n] = (FaultCall){ request, what };
    }
    if (!control->nth || n + 1 < control->nth ||
        n + 1 >= control->nth + control->times) {
        return false;
    }
    heap = mallinfo2();
    control->heap = heap.uordblks + heap.hblkhd;
    qatomic_inc(&control->failed);
    return control->error;
}

/* The vCPU whose CSRs were put since it was in KVM_RUN, in this thread */
static __thread int put_to = -1;
/* Whether the next is an entry of QEMU's own, which is not in RAM */
static __thread bool entry;
/* Whether it has been in KVM_RUN */
static __thread bool ran;

static struct kvm_run *map_run(int vcpu)
{
    struct kvm_run *run = mmap(NULL, sizeof(*run), PROT_READ | PROT_WRITE,
                               MAP_SHARED, vcpu, 0);

    g_assert(run != MAP_FAILED);
    return run;
}

static int set_affinity(const cpu_set_t *cpus)
{
    return syscall(SYS_sched_setaffinity, 0, sizeof(*cpus), cpus) < 0 ? -1 : 0;
}

/* As a sandbox has it fail, in QEMU and not in this library */
int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *cpus)
{
    if (control->confines) {
        errno = EPERM;
        return -1;
    }
    return syscall(SYS_sched_setaffinity, pid, size, cpus) < 0 ? -1 : 0;
}

/* Has KVM_RUN load the vCPU, and end before it enters the guest. */
static void load_only(int vcpu)
{
    const uint64_t mask = ~(1ULL << (SIG_IPI - 1));
    g_autofree struct kvm_signal_mask *arg =
        g_malloc(sizeof(*arg) + sizeof(mask));
    struct kvm_run *run = map_run(vcpu);
    sigset_t set, old;

    arg->len = sizeof(mask);
    memcpy(arg->sigset, &mask, sizeof(mask));
    sigemptyset(&set);
    sigaddset(&set, SIG_IPI);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    pthread_kill(pthread_self(), SIG_IPI);
    syscall(SYS_ioctl, vcpu, KVM_SET_SIGNAL_MASK, arg);
    run->immediate_exit = 0;
    syscall(SYS_ioctl, vcpu, KVM_RUN, 0);
    syscall(SYS_ioctl, vcpu, KVM_SET_SIGNAL_MASK, NULL);
    munmap(run, sizeof(*run));
    /* Now QEMU takes it for a kick, after which it comes again. */
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/*
 * The last of a thread's CPUs: a hart that is bound to the first one is loaded
 * there, which hides what the kernel forgets.
 */
static int last_cpu(const cpu_set_t *cpus)
{
    int cpu = CPU_SETSIZE - 1;

    while (cpu >= 0 && !CPU_ISSET(cpu, cpus)) {
        cpu--;
    }
    return cpu;
}

static void put_reg(int vcpu, const struct kvm_one_reg *reg)
{
    if ((reg->id & KVM_REG_RISCV_TYPE_MASK) == KVM_REG_RISCV_CSR) {
        put_to = vcpu;
    }
    if (reg->id == RISCV_PC) {
        entry = *(const uint64_t *)(uintptr_t)reg->addr < RAM_START;
    }
}

/*
 * KVM_RUN on the last CPU where the thread may run, for which the vCPU comes
 * from another one if CSRs were put since it was there.
 */
static int run_moved(int vcpu, unsigned long request, void *arg)
{
    cpu_set_t cpus, last, other;
    bool put = put_to == vcpu && ran;
    int ret;

    put_to = -1;
    ran = true;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) || CPU_COUNT(&cpus) < 2 ||
        /* What QEMU can do after its entry works only where it is not moved. */
        (entry && control->confines)) {
        return syscall(SYS_ioctl, vcpu, request, arg);
    }
    CPU_ZERO(&last);
    CPU_SET(last_cpu(&cpus), &last);
    CPU_XOR(&other, &cpus, &last);
    if (put && set_affinity(&other) == 0) {
        load_only(vcpu);
        qatomic_inc(&control->moved);
    }
    set_affinity(&last);
    ret = syscall(SYS_ioctl, vcpu, request, arg);
    set_affinity(&cpus);
    return ret;
}

static bool leaves(const struct kvm_run *run)
{
    return run->exit_reason == KVM_EXIT_SYSTEM_EVENT ||
           (run->exit_reason == KVM_EXIT_MMIO &&
            run->mmio.phys_addr == TICK_DEVICE && run->mmio.is_write);
}

/* QEMU's handler of the signal has immediate_exit set. */
static void hold_leaving(int vcpu)
{
    struct kvm_run *run = map_run(vcpu);
    sigset_t set, old;

    if (leaves(run)) {
        sigemptyset(&set);
        sigaddset(&set, SIG_IPI);
        pthread_sigmask(SIG_BLOCK, &set, &old);
        qatomic_inc(&control->held);
        while (!qatomic_read(&run->immediate_exit)) {
            sigsuspend(&old);
        }
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    munmap(run, sizeof(*run));
}

int madvise(void *addr, size_t len, int advice)
{
    if (advice == MADV_POPULATE_WRITE && qatomic_read(&control->keeps)) {
        qatomic_inc(&control->kept);
        while (qatomic_read(&control->keeps)) {
            g_usleep(1000);
        }
    }
    return syscall(SYS_madvise, addr, len, advice);
}

static void watch_run(void)
{
    int32_t thread = qatomic_xchg(&control->bound, 0);
    uint32_t n = qatomic_fetch_inc(&control->runs);

    if (n < FAULT_RUNS) {
        control->run[n] = (FaultRun){ syscall(SYS_gettid), sched_getcpu() };
    }
    if (thread) {
        syscall(SYS_sched_setaffinity, thread, sizeof(control->bound_to),
                &control->bound_to);
    }
    if (control->delay_ms && (waits || !control->delays_stopped)) {
        struct timespec end;

        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += control->delay_ms / 1000;
        end.tv_nsec += control->delay_ms % 1000 * 1000000;
        if (end.tv_nsec >= 1000000000) {
            end.tv_sec++;
            end.tv_nsec -= 1000000000;
        }
        /* QEMU's signals interrupt it. */
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL)) {
            continue;
        }
    }
}

/*
 * The virtual machine of each vCPU and device, and of itself, by file
 * descriptors; 0 is for none.  The guest's is the one that has a device.
 */
static int vm_of[1024];
static int guest_vm;

static void set_vm(int fd, int vm)
{
    if (fd >= 0 && fd < (int)ARRAY_SIZE(vm_of)) {
        qatomic_set(&vm_of[fd], vm);
    }
}

static void note_vm(int fd, uint32_t request, const void *arg, int ret)
{
    if (request == KVM_CREATE_VM) {
        set_vm(ret, ret);
    } else if (request == KVM_CREATE_VCPU) {
        set_vm(ret, fd);
    } else if (request == KVM_CREATE_DEVICE && ret == 0) {
        set_vm(((const struct kvm_create_device *)arg)->fd, fd);
        qatomic_set(&guest_vm, fd);
    }
}

static bool of_another_vm(int fd)
{
    int vm = fd < (int)ARRAY_SIZE(vm_of) ? qatomic_read(&vm_of[fd]) : 0;

    return vm && vm != qatomic_read(&guest_vm);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    bool counts;
    void *arg;
    int ret;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);

    counts = !(control->guest_only && of_another_vm(fd));
    /* It may come sign-extended: QEMU keeps some in an int. */
    if (counts && fails((uint32_t)request, arg)) {
        errno = control->error;
        return -1;
    }
    if (control->moves && (uint32_t)request == KVM_SET_ONE_REG) {
        put_reg(fd, arg);
    }
    if (counts && control->watches && (uint32_t)request == KVM_RUN) {
        watch_run();
    }
    if (control->moves && (uint32_t)request == KVM_RUN) {
        ret = run_moved(fd, request, arg);
    } else {
        ret = syscall(SYS_ioctl, fd, request, arg);
    }
    note_vm(fd, (uint32_t)request, arg, ret);
    if (ret == 0 && (uint32_t)request == KVM_SET_MP_STATE) {
        waits = *(uint32_t *)arg == KVM_MP_STATE_STOPPED;
    }
    if ((uint32_t)request == KVM_RUN && control->holds && ret == 0) {
        hold_leaving(fd);
    }
    return ret;
}
