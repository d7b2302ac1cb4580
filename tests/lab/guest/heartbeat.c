/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a guest of the lab does: a load on every hart that would notice
 * corrupted state, traffic on its devices, and once a second a line on
 * standard output that says how far everything is:
 *
 *   HB {"seq":7,"up_ms":...,"ticks":[...],...}
 *
 * "seq" numbers the lines, so that whoever reads them sees a lost one.
 * "ticks" counts, for each hart, rounds of load that ended well; "gap_ms" is
 * the longest time between two of them since the line before.  "errors"
 * counts what was found corrupted, "first_error" describes the first.
 *
 * Lines on standard input: "quit" powers off, "say TEXT" is answered by
 * "SAY TEXT" on standard error, which is the serial port, as the input is.
 * Where standard output is another port, each line there has one here, "SEQ 7".
 * More would be too much: the driver prints all that waits with interrupts off,
 * and in an emulated host each byte takes a millisecond or three.
 */

#define _GNU_SOURCE
#include <asm/hwprobe.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "heartbeat.h"

enum {
    MAX_HARTS = 64,
    SPINS = 50000,          /* how long registers are held, each kind */
    PAGES = 64,             /* memory of a hart; each round rewrites one */
    PAGE = 4096,
    MAX_VLENB = 256,
    MAX_BLOCK = 1024,       /* of Zicboz */
};

struct hart {
    int id;
    atomic_ulong ticks;
    atomic_ulong gap_ns;
    atomic_uint baton;      /* futex: the neighbour has ended a round */
    uint64_t *memory;
};

static struct hart harts[MAX_HARTS];
int nharts;
static bool has_vector, has_zbb;
static unsigned long zicboz_bytes;      /* of a block; 0 without Zicboz */
static long pause_ms = 10;

static atomic_ulong errors;
static char first_error[160];

static atomic_ulong net_sent, net_replies, net_lost;
static atomic_ulong blk_reads;
static bool has_net, has_blk, has_traffic, has_port;

void corrupted(const char *fmt, ...)
{
    va_list ap;

    if (atomic_fetch_add(&errors, 1) == 0) {
        va_start(ap, fmt);
        vsnprintf(first_error, sizeof(first_error), fmt, ap);
        va_end(ap);
    }
}

uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void sleep_ms(long ms)
{
    struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&ts, NULL);
}

uint64_t scramble(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

static void integers(struct hart *h)
{
    static uint64_t expected[MAX_HARTS];
    uint64_t x = 0x9e3779b97f4a7c15ull + h->id;

    for (int i = 0; i < SPINS / 4; i++) {
        x = scramble(x);
    }
    if (!expected[h->id]) {
        expected[h->id] = x;
    } else if (x != expected[h->id]) {
        corrupted("hart %d: integer result %llx, expected %llx", h->id,
                  (unsigned long long)x,
                  (unsigned long long)expected[h->id]);
    }
}

/* What the kernel has said at the start, before any move */
static uint64_t hwprobe(int64_t key)
{
    struct riscv_hwprobe pair = { .key = key };

    if (syscall(__NR_riscv_hwprobe, &pair, 1, 0, NULL, 0) || pair.key != key) {
        return 0;
    }
    return pair.value;
}

/* Instructions of extensions that the guest was told of when it booted. */
static void extensions(struct hart *h)
{
    static _Alignas(MAX_BLOCK) uint8_t blocks[MAX_HARTS][MAX_BLOCK];
    uint8_t *block = blocks[h->id];
    uint64_t x = scramble(atomic_load(&h->ticks) + 1), bits;

    if (has_zbb) {
        asm volatile(".option push\n"
                     ".option arch, +zbb\n"
                     "cpop %0, %1\n"
                     ".option pop" : "=r"(bits) : "r"(x));
        for (int i = 0; i < 64; i++) {
            bits -= x >> i & 1;
        }
        if (bits) {
            corrupted("hart %d: cpop is wrong", h->id);
        }
    }
    if (zicboz_bytes) {
        memset(block, 0xff, zicboz_bytes);
        asm volatile(".option push\n"
                     ".option arch, +zicboz\n"
                     "cbo.zero (%0)\n"
                     ".option pop" :: "r"(block) : "memory");
        for (unsigned long i = 0; i < zicboz_bytes; i++) {
            if (block[i]) {
                corrupted("hart %d: cbo.zero leaves byte %lu", h->id, i);
                break;
            }
        }
    }
}

/*
 * An emulated host may forget a rounding mode that was set and not yet used:
 * QEMU 10.0.13 marks the floating-point state as changed for the guest, but
 * not for the hypervisor, when only fcsr is written.  An instruction that
 * writes a register makes good for it, and the loop for what happens between
 * the two.  The same holds for vcsr.
 */
static void set_rounding(unsigned long mode)
{
    unsigned long fcsr;

    do {
        asm volatile("fscsr %1\n"
                     "fmv.d.x ft0, zero\n"
                     "frcsr %0" : "=r"(fcsr) : "r"(mode << 5) : "ft0");
    } while (fcsr != mode << 5);
}

/* Arithmetic whose result depends on the rounding mode, one per hart. */
static void floats(struct hart *h)
{
    static uint64_t expected[MAX_HARTS];
    static volatile double third = 3.0; /* to be divided by at run time */
    unsigned long mode = h->id % 4, fcsr;
    double sum = 0;
    uint64_t bits;

    set_rounding(mode);
    for (int i = 1; i < SPINS / 32; i++) {
        sum += i / third;
    }
    asm volatile("frcsr %0" : "=r"(fcsr), "+f"(sum));
    memcpy(&bits, &sum, sizeof(bits));
    if (fcsr != (mode << 5 | 1)) {      /* 1: inexact */
        corrupted("hart %d: fcsr %lx, expected %lx", h->id, fcsr,
                  mode << 5 | 1);
    }
    if (!expected[h->id]) {
        expected[h->id] = bits;
    } else if (bits != expected[h->id]) {
        corrupted("hart %d: floating-point sum %llx, expected %llx", h->id,
                  (unsigned long long)bits,
                  (unsigned long long)expected[h->id]);
    }
    set_rounding(0);
}

/* All floating-point registers hold a pattern for a while. */
static void float_registers(struct hart *h)
{
    uint64_t in[32], out[32];
    unsigned long spins = SPINS;

    for (int i = 0; i < 32; i++) {
        in[i] = (uint64_t)atomic_load(&h->ticks) << 16 | h->id << 8 | i;
    }
    asm volatile(
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,"
        "23,24,25,26,27,28,29,30,31\n"
        "fld f\\n, \\n * 8(%1)\n"
        ".endr\n"
        "1: addi %0, %0, -1\n"
        "bnez %0, 1b\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,"
        "23,24,25,26,27,28,29,30,31\n"
        "fsd f\\n, \\n * 8(%2)\n"
        ".endr\n"
        : "+r"(spins)
        : "r"(in), "r"(out)
        : "memory", "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8",
          "f9", "f10", "f11", "f12", "f13", "f14", "f15", "f16", "f17",
          "f18", "f19", "f20", "f21", "f22", "f23", "f24", "f25", "f26",
          "f27", "f28", "f29", "f30", "f31");
    for (int i = 0; i < 32; i++) {
        if (in[i] != out[i]) {
            corrupted("hart %d: f%d is %llx, expected %llx", h->id, i,
                      (unsigned long long)out[i], (unsigned long long)in[i]);
        }
    }
}

/*
 * All vector registers and their CSRs hold a pattern for a while.  No system
 * call may come between: the kernel does not keep vectors over one.
 */
static void vector_registers(struct hart *h)
{
    static uint8_t in[MAX_HARTS][32 * MAX_VLENB] __attribute__((aligned(8)));
    static uint8_t out[MAX_HARTS][32 * MAX_VLENB] __attribute__((aligned(8)));
    unsigned long spins = SPINS, vlenb, vl, vtype, vcsr, group;
    unsigned long rounding = (h->id + atomic_load(&h->ticks)) % 4;
    unsigned long set_vl;
    const uint8_t *from = in[h->id];
    uint8_t *to = out[h->id];
    uint64_t word = atomic_load(&h->ticks) + 1;

    asm volatile(".option push\n.option arch, +v\n"
                 "csrr %0, vlenb\n.option pop" : "=r"(vlenb));
    if (vlenb > MAX_VLENB) {
        return;
    }
    for (unsigned i = 0; i < 32 * vlenb; i += 8) {
        word = scramble(word);
        memcpy(in[h->id] + i, &word, 8);
    }
    asm volatile(
        ".option push\n"
        ".option arch, +v\n"
        "slli %[group], %[vlenb], 3\n"
        "vsetvli %[set_vl], zero, e8, m8, ta, ma\n"
        "0: csrw vcsr, %[csr]\n"
        "vmv.v.i v0, 0\n"
        "csrr %[vcsr], vcsr\n"
        "bne %[vcsr], %[csr], 0b\n"
        "vle8.v v0, (%[from])\n"
        "add %[from], %[from], %[group]\n"
        "vle8.v v8, (%[from])\n"
        "add %[from], %[from], %[group]\n"
        "vle8.v v16, (%[from])\n"
        "add %[from], %[from], %[group]\n"
        "vle8.v v24, (%[from])\n"
        "1: addi %[spins], %[spins], -1\n"
        "bnez %[spins], 1b\n"
        "csrr %[vl], vl\n"
        "csrr %[vtype], vtype\n"
        "csrr %[vcsr], vcsr\n"
        "vsetvli zero, zero, e8, m8, ta, ma\n"
        "vse8.v v0, (%[to])\n"
        "add %[to], %[to], %[group]\n"
        "vse8.v v8, (%[to])\n"
        "add %[to], %[to], %[group]\n"
        "vse8.v v16, (%[to])\n"
        "add %[to], %[to], %[group]\n"
        "vse8.v v24, (%[to])\n"
        ".option pop\n"
        : [spins] "+&r"(spins), [from] "+&r"(from), [to] "+&r"(to),
          [group] "=&r"(group), [set_vl] "=&r"(set_vl), [vl] "=&r"(vl),
          [vtype] "=&r"(vtype), [vcsr] "=&r"(vcsr)
        : [vlenb] "r"(vlenb), [csr] "r"(rounding << 1 | 1)
        : "memory");
    if (vl != set_vl || vtype != 0xc3 || vcsr != (rounding << 1 | 1)) {
        corrupted("hart %d: vl %lu vtype %lx vcsr %lx, expected %lu c3 %lx",
                  h->id, vl, vtype, vcsr, set_vl, rounding << 1 | 1);
    }
    for (unsigned i = 0; i < 32 * vlenb; i++) {
        if (in[h->id][i] != out[h->id][i]) {
            corrupted("hart %d: v%lu differs at byte %lu", h->id, i / vlenb,
                      i % vlenb);
            break;
        }
    }
}

/* A page a round: what was written when it was its turn last? */
static void memory(struct hart *h)
{
    uint64_t round = atomic_load(&h->ticks);
    uint64_t *page = h->memory + round % PAGES * (PAGE / 8);

    for (int i = 0; i < PAGE / 8; i++) {
        if (round >= PAGES && page[i] != round - PAGES) {
            corrupted("hart %d: memory of round %llu has %llx", h->id,
                      (unsigned long long)round - PAGES,
                      (unsigned long long)page[i]);
            break;
        }
    }
    for (int i = 0; i < PAGE / 8; i++) {
        page[i] = round;
    }
}

/* Harts wake one another, which takes IPIs, or wait for their timers. */
static void pass_baton(struct hart *h)
{
    struct hart *next = &harts[(h->id + 1) % nharts];
    struct timespec ts = { 0, pause_ms * 1000000 };
    unsigned seen = atomic_load(&h->baton);

    if (next != h && atomic_load(&h->ticks) % 2) {
        atomic_fetch_add(&next->baton, 1);
        syscall(SYS_futex, &next->baton, FUTEX_WAKE_PRIVATE, 1);
    }
    syscall(SYS_futex, &h->baton, FUTEX_WAIT_PRIVATE, seen, &ts);
}

void pin_to(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set)) {
        corrupted("cannot run on hart %d: %s", cpu, strerror(errno));
    }
}

static void *work(void *opaque)
{
    struct hart *h = opaque;
    uint64_t last, now, gap;

    pin_to(h->id);
    last = now_ns();
    for (;;) {
        integers(h);
        floats(h);
        float_registers(h);
        if (has_vector) {
            vector_registers(h);
        }
        memory(h);
        extensions(h);
        now = now_ns();
        gap = now - last;
        last = now;
        if (gap > atomic_load(&h->gap_ns)) {
            atomic_store(&h->gap_ns, gap);
        }
        atomic_fetch_add(&h->ticks, 1);
        pass_baton(h);
    }
    return NULL;
}

static uint16_t checksum(const void *data, size_t len)
{
    const uint16_t *p = data;
    uint32_t sum = 0;

    for (; len > 1; len -= 2) {
        sum += *p++;
    }
    sum = (sum >> 16) + (sum & 0xffff);
    return ~(sum + (sum >> 16));
}

/* Pings the gateway, which QEMU's own network code answers. */
static void *ping(void *opaque)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    struct {
        struct icmphdr icmp;
        uint64_t words[32];
    } request, *reply;
    uint8_t packet[1024];
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

    to.sin_addr.s_addr = htonl(0x0a000202);
    for (uint16_t seq = 1; ; seq++) {
        uint64_t give_up = now_ns() + 2000000000ull;
        bool answered = false;

        memset(&request, 0, sizeof(request));
        request.icmp.type = ICMP_ECHO;
        request.icmp.un.echo.sequence = htons(seq);
        for (int i = 0; i < 32; i++) {
            request.words[i] = scramble(seq * 32 + i + 1);
        }
        request.icmp.checksum = checksum(&request, sizeof(request));
        if (sendto(fd, &request, sizeof(request), 0, (void *)&to,
                   sizeof(to)) != sizeof(request)) {
            sleep_ms(1000);
            continue;
        }
        atomic_fetch_add(&net_sent, 1);
        while (!answered && now_ns() < give_up) {
            struct pollfd p = { fd, POLLIN, 0 };
            ssize_t len;

            if (poll(&p, 1, 500) <= 0) {
                continue;
            }
            len = recv(fd, packet, sizeof(packet), 0);
            reply = (void *)(packet + sizeof(struct iphdr));
            if (len < (ssize_t)(sizeof(struct iphdr) + sizeof(*reply)) ||
                reply->icmp.type != ICMP_ECHOREPLY ||
                ntohs(reply->icmp.un.echo.sequence) != seq) {
                continue;
            }
            answered = true;
            if (memcmp(reply->words, request.words, sizeof(request.words))) {
                corrupted("network: reply %u has other data", seq);
            }
        }
        atomic_fetch_add(answered ? &net_replies : &net_lost, 1);
        sleep_ms(50);
    }
    return opaque;
}

/* Reads blocks past the page cache; the disk is all zeroes. */
static void *read_disk(void *opaque)
{
    int fd = *(int *)opaque;
    uint64_t *block = aligned_alloc(PAGE, PAGE), x = 1;

    for (;;) {
        off_t at;

        x = scramble(x);
        at = x % (64 << 20) / PAGE * PAGE;
        memset(block, 0xff, PAGE);
        if (pread(fd, block, PAGE, at) != PAGE) {
            corrupted("disk: cannot read at %lld: %s", (long long)at,
                      strerror(errno));
        }
        for (int i = 0; i < PAGE / 8; i++) {
            if (block[i]) {
                corrupted("disk: %llx at %lld",
                          (unsigned long long)block[i],
                          (long long)at + i * 8);
                break;
            }
        }
        atomic_fetch_add(&blk_reads, 1);
        sleep_ms(50);
    }
    return NULL;
}

/* A performance counter of this thread, or of all that hart 0 does */
static int open_counter(bool of_hart)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof(attr),
        .config = PERF_COUNT_HW_INSTRUCTIONS,
    };

    return syscall(SYS_perf_event_open, &attr, of_hart ? -1 : 0,
                   of_hart ? 0 : -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* At least a million instructions, if they are counted; the test judges. */
static void count_instructions(void)
{
    uint64_t before, after;
    int fd = open_counter(false);

    if (fd < 0 || read(fd, &before, sizeof(before)) != sizeof(before)) {
        dprintf(STDERR_FILENO, "SAY counted nothing\n");
        return;
    }
    for (int i = 0; i < 1000000; i++) {
        asm volatile("");
    }
    if (read(fd, &after, sizeof(after)) == sizeof(after)) {
        dprintf(STDERR_FILENO, "SAY counted %llu\n",
                (unsigned long long)(after - before));
    }
    close(fd);
}

static void close_counter(int fd)
{
    uint64_t counted = 0;

    if (read(fd, &counted, sizeof(counted)) != sizeof(counted)) {
        counted = 0;
    }
    close(fd);
    dprintf(STDERR_FILENO, "SAY counted %llu\n", (unsigned long long)counted);
}

static void *obey(void *opaque)
{
    char line[128];
    int counter = -1;

    while (fgets(line, sizeof(line), stdin)) {
        if (!strcmp(line, "quit\n")) {
            reboot(RB_POWER_OFF);
        } else if (!strncmp(line, "say ", 4)) {
            dprintf(STDERR_FILENO, "SAY %s", line + 4);
        } else if (!strcmp(line, "count\n")) {
            count_instructions();
        } else if (!strcmp(line, "open\n")) {
            counter = open_counter(true);
            dprintf(STDERR_FILENO, "SAY %s\n", counter < 0 ? "no" : "yes");
        } else if (!strcmp(line, "close\n")) {
            close_counter(counter);
        }
    }
    return opaque;
}

enum { TIMER, IPI, SERIAL, NET, BLK, SOURCES };

static const char *const source_names[SOURCES] = {
    "timer", "ipi", "serial", "virtio-net", "virtio-blk",
};

static int source_of(const char *irq, const char *what)
{
    if (!strncmp(irq, "IPI", 3)) {
        return IPI;
    } else if (strstr(what, "riscv-timer")) {
        return TIMER;
    } else if (strstr(what, "ttyS0")) {
        return SERIAL;
    } else if (strstr(what, "-input") || strstr(what, "-output")) {
        return NET;
    } else if (strstr(what, "-req")) {
        return BLK;
    }
    return -1;
}

static void count_interrupts(unsigned long counts[SOURCES][MAX_HARTS])
{
    char line[4096];
    FILE *f = fopen("/proc/interrupts", "r");

    memset(counts, 0, sizeof(counts[0]) * SOURCES);
    if (!f) {
        return;
    }
    while (fgets(line, sizeof(line), f)) {
        char *colon = strchr(line, ':'), *p;
        unsigned long n[MAX_HARTS];
        int source, cpu, used;

        if (!colon) {
            continue;
        }
        *colon = '\0';
        p = colon + 1;
        for (cpu = 0; cpu < nharts; cpu++) {
            if (sscanf(p, "%lu%n", &n[cpu], &used) != 1) {
                break;
            }
            p += used;
        }
        source = source_of(line + strspn(line, " "), p);
        for (int i = 0; source >= 0 && i < cpu; i++) {
            counts[source][i] += n[i];
        }
    }
    fclose(f);
}

static char report[8192];
static size_t report_len;

void put(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    report_len += vsnprintf(report + report_len, sizeof(report) - report_len,
                            fmt, ap);
    va_end(ap);
}

static void put_list(const char *name, const unsigned long *values)
{
    put("\"%s\":[", name);
    for (int i = 0; i < nharts; i++) {
        put("%s%lu", i ? "," : "", values[i]);
    }
    put("]");
}

static void beat(unsigned long seq)
{
    static unsigned long counts[SOURCES][MAX_HARTS];
    unsigned long values[MAX_HARTS];

    report_len = 0;
    put("HB {\"seq\":%lu,\"up_ms\":%llu,\"vector\":%d,\"zbb\":%d,"
        "\"zicboz\":%lu,", seq, (unsigned long long)now_ns() / 1000000,
        has_vector, has_zbb, zicboz_bytes);
    for (int i = 0; i < nharts; i++) {
        values[i] = atomic_load(&harts[i].ticks);
    }
    put_list("ticks", values);
    for (int i = 0; i < nharts; i++) {
        values[i] = atomic_exchange(&harts[i].gap_ns, 0) / 1000000;
    }
    put(",");
    put_list("gap_ms", values);
    put(",\"errors\":%lu,\"first_error\":\"%s\"", atomic_load(&errors),
        first_error);
    if (has_net) {
        put(",\"net\":{\"sent\":%lu,\"replies\":%lu,\"lost\":%lu}",
            atomic_load(&net_sent), atomic_load(&net_replies),
            atomic_load(&net_lost));
    }
    if (has_blk) {
        put(",\"blk\":{\"reads\":%lu}", atomic_load(&blk_reads));
    }
    if (has_traffic) {
        traffic_report();
    }
    count_interrupts(counts);
    put(",\"irqs\":{");
    for (int i = 0; i < SOURCES; i++) {
        put("%s", i ? "," : "");
        put_list(source_names[i], counts[i]);
    }
    put("}}\n");
    if (write(STDOUT_FILENO, report, report_len) != (ssize_t)report_len) {
        corrupted("cannot write to standard output: %s", strerror(errno));
    }
    if (has_port) {
        dprintf(STDERR_FILENO, "SEQ %lu\n", seq);
    }
}

void start(void *(*function)(void *), void *opaque)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, function, opaque)) {
        corrupted("cannot start a thread");
    }
}

int main(int argc, char **argv)
{
    const char *traffic = getenv("TRAFFIC");
    static int disk;
    struct termios tty;

    if (argc == 2 && !strcmp(argv[1], "answer")) {
        return traffic_answer();
    }
    if (!tcgetattr(STDIN_FILENO, &tty)) {
        tty.c_lflag &= ~ECHO;
        tcsetattr(STDIN_FILENO, TCSANOW, &tty);
    }
    if (getenv("HEARTBEAT_PAUSE_MS")) {
        pause_ms = atol(getenv("HEARTBEAT_PAUSE_MS"));
    }
    nharts = sysconf(_SC_NPROCESSORS_ONLN);
    if (nharts > MAX_HARTS) {
        nharts = MAX_HARTS;
    }
    has_vector = getauxval(AT_HWCAP) >> ('v' - 'a') & 1 &&
                 !getenv("HEARTBEAT_NO_VECTOR");
    has_zbb = hwprobe(RISCV_HWPROBE_KEY_IMA_EXT_0) & RISCV_HWPROBE_EXT_ZBB;
    if (hwprobe(RISCV_HWPROBE_KEY_IMA_EXT_0) & RISCV_HWPROBE_EXT_ZICBOZ) {
        zicboz_bytes = hwprobe(RISCV_HWPROBE_KEY_ZICBOZ_BLOCK_SIZE);
        zicboz_bytes = zicboz_bytes > MAX_BLOCK ? 0 : zicboz_bytes;
    }
    disk = open("/dev/vda", O_RDONLY | O_DIRECT);
    has_blk = disk >= 0;
    has_net = access("/sys/class/net/eth0", F_OK) == 0;
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);

    for (int i = 0; i < nharts; i++) {
        harts[i].id = i;
        harts[i].memory = aligned_alloc(PAGE, PAGES * PAGE);
        memset(harts[i].memory, 0, PAGES * PAGE);
        start(work, &harts[i]);
    }
    start(obey, NULL);
    if (has_net) {
        start(ping, NULL);
    }
    if (has_blk) {
        start(read_disk, &disk);
    }
    has_port = getenv("HEARTBEAT_PORT") != NULL;
    has_traffic = traffic != NULL;
    if (has_traffic) {
        traffic_start(traffic);
    }
    for (unsigned long seq = 1; ; seq++) {
        beat(seq);
        /* Also interrupts every hart that runs one of our threads. */
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
        sleep_ms(1000);
    }
}
