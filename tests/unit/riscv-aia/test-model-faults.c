/*
 * Faults of the kernel outside the AIA, without QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A test that meets one is incomplete: see docs/kernel-facts.md.
 */

#include "qemu/osdep.h"
#include <sys/wait.h>
#include "qemu/atomic.h"
#include "script.h"

/*
 * CSRs that are put while the guest does not run, as by a load or a reset.
 * Linux 7.2 can run the vCPU with those of before, see docs/kernel-facts.md.
 */
static void test_put_csr(void)
{
    VM *vm = vm_new(1);
    uint64_t val;

    vm_set_sscratch(vm, 0, 1);
    g_assert_cmphex(vm_read_sscratch(vm, 0, 0), ==, 1);
    vm_set_sscratch(vm, 0, 2);
    vm_load_vcpu(vm, 0, 1);
    val = vm_read_sscratch(vm, 0, 0);
    vm_free(vm);
    if (val == 1) {
        g_test_incomplete("this kernel enters the guest with the CSRs of "
                          "before");
    } else {
        g_assert_cmphex(val, ==, 2);
    }
}

/* What helps: another vCPU that is loaded on each CPU after the CSR was put */
static void test_put_csr_loaded(void)
{
    VM *vm = vm_new(1), *other = vm_new(1);

    vm_set_sscratch(vm, 0, 1);
    g_assert_cmphex(vm_read_sscratch(vm, 0, 0), ==, 1);
    vm_set_sscratch(vm, 0, 2);
    vm_load_vcpu(other, 0, 0);
    vm_load_vcpu(other, 0, 1);
    vm_load_vcpu(vm, 0, 1);
    g_assert_cmphex(vm_read_sscratch(vm, 0, 0), ==, 2);
    vm_free(other);
    vm_free(vm);
}

/*
 * The guest reads a page that the host shares with others, and writes it while
 * dirty pages are logged, as during a migration.  Linux 7.2 can have it write
 * what is shared, see docs/kernel-facts.md; here that is a file, in most
 * guests the host's page of zeros.
 */
static void test_write_shared(void)
{
    const uint64_t addr = 0x100000;
    size_t size = qemu_real_host_page_size();
    int fd = memfd_create("shared", MFD_CLOEXEC);
    VM *vm = vm_new(1);
    uint64_t *memory, val;

    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    g_assert(memory != MAP_FAILED);
    vm_set_memory(vm, addr, memory, size, false);
    g_assert_cmphex(vm_read_memory(vm, 0, addr), ==, 0);
    vm_set_memory(vm, addr, memory, size, true);
    vm_write_memory(vm, 0, addr, 1);
    g_assert_cmphex(*memory, ==, 1);
    g_assert_cmpint(pread(fd, &val, sizeof(val), 0), ==, sizeof(val));
    if (val) {
        g_test_incomplete("this kernel writes to shared pages while dirty "
                          "pages are logged");
    }
    vm_free(vm);
    munmap(memory, size);
    close(fd);
}

#define DAMON "/sys/kernel/mm/damon/admin/kdamonds/"

static bool G_GNUC_PRINTF(2, 3) damon_set(const char *name, const char *fmt,
                                          ...)
{
    g_autofree char *path = g_strconcat(DAMON, name, NULL);
    g_autofree char *val = NULL;
    va_list ap;
    int fd = open(path, O_WRONLY);
    bool ok;

    va_start(ap, fmt);
    val = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    ok = fd >= 0 && write(fd, val, strlen(val)) == strlen(val);
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* Has the kernel look, every 5 ms, whether memory of a process was used. */
static bool damon_start(pid_t pid, const void *memory, size_t size)
{
    const unsigned long start = (uintptr_t)memory;

    return damon_set("nr_kdamonds", "1") &&
           damon_set("0/contexts/nr_contexts", "1") &&
           damon_set("0/contexts/0/operations", "fvaddr") &&
           damon_set("0/contexts/0/targets/nr_targets", "1") &&
           damon_set("0/contexts/0/targets/0/pid_target", "%d", pid) &&
           damon_set("0/contexts/0/targets/0/regions/nr_regions", "1") &&
           damon_set("0/contexts/0/targets/0/regions/0/start", "%lu", start) &&
           damon_set("0/contexts/0/targets/0/regions/0/end", "%lu",
                     start + size) &&
           damon_set("0/state", "on");
}

/* Writes a page of a guest that is logged, and counts how often. */
static void write_logged(uint64_t *memory, size_t size, unsigned *count)
{
    const uint64_t addr = 0x100000;
    VM *vm = vm_new(1);

    vm_set_memory(vm, addr, memory, size, true);
    for (;;) {
        vm_write_memory(vm, 0, addr, 1);
        qatomic_inc(count);
    }
}

/* Until there are @num of them in all */
static bool wait_for_writes(const unsigned *count, unsigned num)
{
    int64_t end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

    while (qatomic_read(count) < num) {
        if (g_get_monotonic_time() > end) {
            return false;
        }
        g_usleep(1000);
    }
    return true;
}

/*
 * Memory that is logged ages: the kernel takes away the A bit to see whether it
 * is used.  Where the hardware does not set it again by itself (Svade), a hart
 * of Linux 7.2 that then writes takes the same fault for ever, see
 * docs/kernel-facts.md.
 */
static void test_aged_memory(void)
{
    size_t size = qemu_real_host_page_size();
    unsigned *count = mmap(NULL, size, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t pid;

    g_assert(count != MAP_FAILED && memory != MAP_FAILED);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        write_logged(memory, size, count);
    }
    g_assert_true(wait_for_writes(count, 10));
    if (!damon_start(pid, memory, size)) {
        g_test_skip("this kernel has no DAMON to age memory with");
    } else if (!wait_for_writes(count, qatomic_read(count) + 300)) {
        g_test_incomplete("this kernel hangs a hart that writes to memory "
                          "which has aged while it was logged");
    }
    damon_set("0/state", "off");
    damon_set("nr_kdamonds", "0");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    munmap(memory, size);
    munmap(count, size);
}

/*
 * The host puts other pages where the guest has some.  Linux 6.12 leaves those
 * to the guest that follow a part of 2 MiB where it has none, see
 * docs/kernel-facts.md; to whom they belong then does not matter here.
 */
static void test_unmap(void)
{
    const uint64_t addr = 4 << 20;
    size_t size = qemu_real_host_page_size();
    int fd = memfd_create("pages", MFD_CLOEXEC);
    VM *vm = vm_new(1);
    uint8_t *memory;
    uint64_t val;

    g_assert_cmpint(ftruncate(fd, 4 * size), ==, 0);
    for (val = 0; val < 4; val++) {
        g_assert_cmpint(pwrite(fd, &val, sizeof(val), val * size), ==,
                        sizeof(val));
    }
    memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(memory != MAP_FAILED);
    vm_set_memory(vm, addr - size, memory, 2 * size, false);
    g_assert_cmphex(vm_read_memory(vm, 0, addr), ==, 1);
    g_assert(mmap(memory, 2 * size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_FIXED, fd, 2 * size) == memory);
    val = vm_read_memory(vm, 0, addr);
    if (val == 1) {
        g_test_incomplete("this kernel leaves the guest pages that the host "
                          "has taken away");
    } else {
        g_assert_cmphex(val, ==, 3);
    }
    vm_free(vm);
    munmap(memory, 2 * size);
    close(fd);
}

#define HUGE_PAGE (2 << 20)

/* Writes a page of a huge one before, during and after a log, and counts. */
static void write_after_log(uint8_t *memory, unsigned *count)
{
    const uint64_t addr = HUGE_PAGE;
    size_t page = qemu_real_host_page_size();
    VM *vm = vm_new(1);

    for (int i = 1; i <= 3; i++) {
        vm_set_memory(vm, addr, memory, HUGE_PAGE, i == 2);
        vm_write_memory(vm, 0, addr + (i == 3 ? 2 : 1) * page, i);
        qatomic_inc(count);
    }
    for (;;) {
        pause();
    }
}

/*
 * A migration fails, and the guest goes on.  Linux 7.2 has a hart that then
 * writes to a part of a huge page take the same fault for ever, see
 * docs/kernel-facts.md.
 */
static void test_write_after_log(void)
{
    unsigned *count = mmap(NULL, qemu_real_host_page_size(),
                           PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint8_t *memory = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *huge = (uint8_t *)QEMU_ALIGN_UP((uintptr_t)memory, HUGE_PAGE);
    pid_t pid;

    g_assert(memory != MAP_FAILED && count != MAP_FAILED);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        memset(huge, 0, HUGE_PAGE);
        g_assert_cmpint(madvise(huge, HUGE_PAGE, MADV_COLLAPSE), ==, 0);
        write_after_log(huge, count);
    }
    if (!wait_for_writes(count, 3)) {
        g_assert_cmpint(qatomic_read(count), ==, 2);
        g_test_incomplete("this kernel hangs a hart that writes to a huge page "
                          "after its parts were logged");
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    munmap(memory, 2 * HUGE_PAGE);
    munmap(count, qemu_real_host_page_size());
}

/*
 * A timer of the kernel's own that goes on after a load.  Where the host has no
 * Sstc Linux has it interrupt at once, see docs/kernel-facts.md.
 */
static void test_timer_state(void)
{
    const int64_t cycles = 1LL << 40;
    VM *vm = vm_new(1);
    int64_t left = vm_start_timer(vm, 0, cycles);

    vm_free(vm);
    if (left < 0) {
        g_test_incomplete("this kernel starts a timer as if it were over");
    } else {
        g_assert_cmpint(left, ==, cycles);
    }
}

void add_kernel_tests(void)
{
    g_test_add_func("/riscv-aia/kernel/timer-state", test_timer_state);
    g_test_add_func("/riscv-aia/kernel/put-csr", test_put_csr);
    g_test_add_func("/riscv-aia/kernel/put-csr-loaded", test_put_csr_loaded);
    g_test_add_func("/riscv-aia/kernel/write-shared", test_write_shared);
    g_test_add_func("/riscv-aia/kernel/aged-memory", test_aged_memory);
    g_test_add_func("/riscv-aia/kernel/unmap", test_unmap);
    g_test_add_func("/riscv-aia/kernel/write-after-log", test_write_after_log);
}
