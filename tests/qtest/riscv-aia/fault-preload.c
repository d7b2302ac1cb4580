/*
 * Library that makes calls of ioctl() fail; to be preloaded into QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * So every access to the kernel can be made to fail in the QEMU that is
 * shipped.  See fault.h for what can be asked for.
 */

#include "qemu/osdep.h"
#include <malloc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/kvm.h>
#include "qemu/atomic.h"
#include "fault.h"

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

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);

    /* It may come sign-extended: QEMU keeps some in an int. */
    if (fails((uint32_t)request, arg)) {
        errno = control->error;
        return -1;
    }
    return syscall(SYS_ioctl, fd, request, arg);
}
