/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a guest of the lab does: a load on every hart that would notice
 * corrupted state, traffic on its devices, and once a second a line on
 * standard output that says how far everything is:
 *
 *   HB {"seq":7,"up_ms":...,"ticks":[...],...}
 *
 * and where HEARTBEAT_SAMPLES is set one of each tenth of a second, with the
 * interrupts of all harts together:
 *
 *   IRQ {"seq":70,"irqs":[...]}
 *
 * "seq" numbers the lines, so that whoever reads them sees a lost one.
 * "ticks" counts, for each hart, rounds of load that ended well; "gap_ms" is
 * the longest time between two of them since the line before.  "errors"
 * counts what was found corrupted, "first_error" describes the first.
 *
 * Lines on standard input: "quit" powers off, "say TEXT" is answered by
 * "SAY TEXT" on standard error, which is the serial port, as the input is, and
 * "run COMMAND" by what a shell prints, in one such line.  "alarm N" is one of
 * the real-time clock in N seconds, answered when it is set.
 * Where standard output is another port, each line there has one here, "SEQ 7".
 * More would be too much: the driver prints all that waits with interrupts off,
 * and in an emulated host each byte takes a millisecond or three.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/perf_event.h>
#include <linux/rtc.h>
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
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "heartbeat.h"

int nharts;

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

void pin_to(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set)) {
        corrupted("cannot run on hart %d: %s", cpu, strerror(errno));
    }
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

static void run(const char *command)
{
    FILE *f = popen(command, "r");
    char said[1024];
    size_t len = f ? fread(said, 1, sizeof(said) - 1, f) : 0;

    said[len] = '\0';
    for (char *p = said; (p = strchr(p, '\n')); ) {
        *p = p[1] ? ' ' : '\0';
    }
    dprintf(STDERR_FILENO, "SAY %s\n", said);
    if (f) {
        pclose(f);
    }
}

static void set_alarm(int seconds)
{
    struct rtc_wkalrm alarm = { .enabled = 1 };
    int fd = open("/dev/rtc0", O_RDONLY);
    bool set = false;

    if (fd >= 0 && !ioctl(fd, RTC_RD_TIME, &alarm.time)) {
        struct tm tm = {
            .tm_sec = alarm.time.tm_sec + seconds,
            .tm_min = alarm.time.tm_min,
            .tm_hour = alarm.time.tm_hour,
            .tm_mday = alarm.time.tm_mday,
            .tm_mon = alarm.time.tm_mon,
            .tm_year = alarm.time.tm_year,
        };

        timegm(&tm);
        alarm.time.tm_sec = tm.tm_sec;
        alarm.time.tm_min = tm.tm_min;
        alarm.time.tm_hour = tm.tm_hour;
        alarm.time.tm_mday = tm.tm_mday;
        alarm.time.tm_mon = tm.tm_mon;
        alarm.time.tm_year = tm.tm_year;
        set = !ioctl(fd, RTC_WKALM_SET, &alarm);
    }
    close(fd);
    dprintf(STDERR_FILENO, "SAY %s\n", set ? "set" : strerror(errno));
}

static void *obey(void *opaque)
{
    char line[256];
    int counter = -1;

    while (fgets(line, sizeof(line), stdin)) {
        if (!strcmp(line, "quit\n")) {
            reboot(RB_POWER_OFF);
        } else if (!strncmp(line, "say ", 4)) {
            dprintf(STDERR_FILENO, "SAY %s", line + 4);
        } else if (!strncmp(line, "run ", 4)) {
            run(line + 4);
        } else if (!strncmp(line, "alarm ", 6)) {
            set_alarm(atoi(line + 6));
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

enum { TIMER, IPI, SERIAL, NET, BLK, SOURCES, SAMPLES = 10 };

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

void put_list(const char *name, const unsigned long *values)
{
    put("\"%s\":[", name);
    for (int i = 0; i < nharts; i++) {
        put("%s%lu", i ? "," : "", values[i]);
    }
    put("]");
}

static unsigned long counts[SOURCES][MAX_HARTS];

static void send_report(void)
{
    if (write(STDOUT_FILENO, report, report_len) != (ssize_t)report_len) {
        corrupted("cannot write to standard output: %s", strerror(errno));
    }
}

/* In few bytes: it comes ten times as often as a heartbeat. */
static void sample(unsigned long seq)
{
    report_len = 0;
    put("IRQ {\"seq\":%lu,\"irqs\":[", seq);
    count_interrupts(counts);
    for (int i = 0; i < SOURCES; i++) {
        unsigned long sum = 0;

        for (int hart = 0; hart < nharts; hart++) {
            sum += counts[i][hart];
        }
        put("%s%lu", i ? "," : "", sum);
    }
    put("]}\n");
    send_report();
}

static void beat(unsigned long seq)
{
    report_len = 0;
    put("HB {\"seq\":%lu,\"up_ms\":%llu,", seq,
        (unsigned long long)now_ns() / 1000000);
    load_report();
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
    send_report();
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
    nharts = sysconf(_SC_NPROCESSORS_ONLN);
    if (nharts > MAX_HARTS) {
        nharts = MAX_HARTS;
    }
    disk = open("/dev/vda", O_RDONLY | O_DIRECT);
    has_blk = disk >= 0;
    has_net = access("/sys/class/net/eth0", F_OK) == 0;
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);

    load_start();
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
        if (!getenv("HEARTBEAT_SAMPLES")) {
            sleep_ms(1000);
            continue;
        }
        for (int i = 0; i < SAMPLES; i++) {
            uint64_t next = now_ns() / 1000000 + 1000 / SAMPLES, now;

            sample((seq - 1) * SAMPLES + i + 1);
            now = now_ns() / 1000000;
            if (now < next) {
                sleep_ms(next - now);
            }
        }
    }
}
