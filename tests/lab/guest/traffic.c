/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Traffic of which nothing may be lost, on devices with many queues.
 *
 * Each hart has a flow of its own over each network card from eth1 on: a
 * numbered packet is sent until the other end has returned it unchanged, and
 * only then the next one.  Linux sends what a hart sends by the hart's own
 * queue, and the host's tap returns it by that of the same number, so that no
 * queue can stop unseen.  Each hart writes numbered blocks to a region of its
 * own of vdb, by its own queue again, and reads them back before they are
 * written anew.
 *
 * TRAFFIC says how the interrupts of eth2 and on are spread over the
 * identities of the last hart; see crowd().
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "heartbeat.h"

enum {
    PORT = 7,               /* where the other end listens */
    FIRST_PORT = 7000,      /* of hart 0, here */
    MAX_CARDS = 8,
    MAX_FLOWS = 256,
    MAX_INTERRUPTS = 256,
    WORDS = 96,             /* of a packet, filled by its number */
    REPEAT_MS = 2000,       /* when an answer is taken for lost */
    BLOCK = 4096,
    SLOTS = 64,             /* blocks of a hart */
};

struct packet {
    uint64_t number;
    uint64_t words[WORDS];
};

struct flow {
    int card, hart;
    atomic_ulong number;    /* of the last packet that came back */
    atomic_ulong sent, received;
};

struct writer {
    int fd, hart;
    atomic_ulong number;    /* of the last block written */
};

static struct flow flows[MAX_FLOWS];
static int nflows;
static struct writer writers[MAX_FLOWS];
static int nwriters;
/* The cards, then the disk: as its interrupts are called, and as it is. */
static struct { char prefix[16], name[16]; } devices[MAX_CARDS + 1];
static int ndevices, ncards;
static long pause_ms = 50;

static void fill(uint64_t *words, int count, uint64_t seed)
{
    uint64_t x = seed * 2 + 1;

    for (int i = 0; i < count; i++) {
        x = scramble(x);
        words[i] = x;
    }
}

static void *flow_packets(void *opaque)
{
    struct flow *f = opaque;
    struct sockaddr_in here = { .sin_family = AF_INET }, there = here;
    struct packet out, in;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    pin_to(f->hart);
    here.sin_port = htons(FIRST_PORT + f->hart);
    here.sin_addr.s_addr = htonl(0x0a010002 + (f->card << 8));
    there.sin_port = htons(PORT);
    there.sin_addr.s_addr = htonl(0x0a010001 + (f->card << 8));
    if (bind(fd, (void *)&here, sizeof(here))) {
        corrupted("eth%d: no socket: %s", f->card, strerror(errno));
        return NULL;
    }
    for (uint64_t number = 1; ; number++) {
        bool answered = false;

        out.number = number;
        fill(out.words, WORDS, number * MAX_FLOWS + (f - flows));
        while (!answered) {
            uint64_t give_up = now_ns() + REPEAT_MS * 1000000ull;

            /*
             * The socket is not connected: that would have it keep the queue
             * of its first packet, which is not always sent by this hart.
             */
            if (sendto(fd, &out, sizeof(out), 0, (void *)&there,
                       sizeof(there)) != sizeof(out)) {
                corrupted("eth%d: cannot send: %s", f->card, strerror(errno));
                sleep_ms(REPEAT_MS);
                continue;
            }
            atomic_fetch_add(&f->sent, 1);
            while (!answered && now_ns() < give_up) {
                struct pollfd p = { fd, POLLIN, 0 };
                ssize_t len;

                if (poll(&p, 1, REPEAT_MS / 4) <= 0) {
                    continue;
                }
                len = recv(fd, &in, sizeof(in), MSG_DONTWAIT);
                if (len < 0) {
                    continue;
                }
                atomic_fetch_add(&f->received, 1);
                if (len == sizeof(in) && in.number < number) {
                    /* Late: it had been repeated already. */
                    continue;
                }
                answered = true;
                if (len != sizeof(in) || memcmp(&in, &out, sizeof(in))) {
                    corrupted("eth%d: packet %llu of hart %d came back "
                              "changed", f->card, (unsigned long long)number,
                              f->hart);
                }
            }
        }
        atomic_store(&f->number, number);
        sleep_ms(pause_ms);
    }
}

static void *write_blocks(void *opaque)
{
    struct writer *w = opaque;
    size_t words = BLOCK / sizeof(uint64_t);
    uint64_t *out = aligned_alloc(BLOCK, BLOCK);
    uint64_t *in = aligned_alloc(BLOCK, BLOCK);

    pin_to(w->hart);
    for (uint64_t number = 1; ; number++) {
        off_t at = (w->hart * SLOTS + number % SLOTS) * (off_t)BLOCK;

        if (number > SLOTS) {
            out[0] = number - SLOTS;
            fill(out + 1, words - 1, out[0] * MAX_FLOWS + w->hart);
            if (pread(w->fd, in, BLOCK, at) != BLOCK) {
                corrupted("vdb: cannot read: %s", strerror(errno));
            } else if (memcmp(in, out, BLOCK)) {
                corrupted("vdb: block %llu of hart %d is %llx",
                          (unsigned long long)out[0], w->hart,
                          (unsigned long long)in[0]);
            }
        }
        out[0] = number;
        fill(out + 1, words - 1, number * MAX_FLOWS + w->hart);
        if (pwrite(w->fd, out, BLOCK, at) != BLOCK) {
            corrupted("vdb: cannot write: %s", strerror(errno));
        }
        atomic_store(&w->number, number);
        sleep_ms(pause_ms);
    }
    return NULL;
}

/* Notes which virtio device it is that Linux calls by this name. */
static bool add_device(const char *class, const char *name)
{
    char path[128], target[PATH_MAX];
    const char *virtio;
    ssize_t len;

    snprintf(path, sizeof(path), "/sys/class/%s/%s/device", class, name);
    len = readlink(path, target, sizeof(target) - 1);
    if (len < 0) {
        return false;
    }
    target[len] = '\0';
    virtio = strrchr(target, '/') + 1;
    snprintf(devices[ndevices].prefix, sizeof(devices[0].prefix), "%s-",
             virtio);
    snprintf(devices[ndevices].name, sizeof(devices[0].name), "%s", name);
    ndevices++;
    return true;
}

/* Calls the function with the number, count and name of each interrupt. */
static void each_interrupt(void (*function)(int irq, unsigned long count,
                                            const char *name))
{
    char line[4096];
    FILE *f = fopen("/proc/interrupts", "r");

    while (f && fgets(line, sizeof(line), f)) {
        unsigned long count = 0;
        int irq, used = 0;
        char *name, *p;

        line[strcspn(line, "\n")] = '\0';
        name = strrchr(line, ' ');
        if (!name || sscanf(line, "%d:%n", &irq, &used) != 1 || !used) {
            continue;
        }
        p = line + used;
        for (int hart = 0; hart < nharts; hart++) {
            unsigned long n;

            if (sscanf(p, "%lu%n", &n, &used) != 1) {
                break;
            }
            count += n;
            p += used;
        }
        function(irq, count, name + 1);
    }
    if (f) {
        fclose(f);
    }
}

/* The device with this interrupt, if it is that of a queue; else -1. */
static int device_of(const char *interrupt)
{
    for (int i = 0; i < ndevices; i++) {
        if (!strncmp(interrupt, devices[i].prefix, strlen(devices[i].prefix))
            && strchr(interrupt, '.')) {
            return i;
        }
    }
    return -1;
}

static int busy[MAX_INTERRUPTS], idle[MAX_INTERRUPTS], nbusy, nidle, nput;

static void choose_interrupt(int irq, unsigned long count, const char *name)
{
    const char *kind = strchr(name, '-');
    int device = device_of(name);

    (void)count;
    if (device > 0 && device < ncards && nbusy < MAX_INTERRUPTS) {
        busy[nbusy++] = irq;
    } else if (kind && nidle < MAX_INTERRUPTS &&
               (!strcmp(kind, "-input") || !strcmp(kind, "-output"))) {
        idle[nidle++] = irq;
    }
}

static void bind_to(int irq, int hart)
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/irq/%d/smp_affinity_list", irq);
    f = fopen(path, "w");
    if (!f || fprintf(f, "%d", hart) < 0 || fclose(f)) {
        corrupted("cannot bind interrupt %d to hart %d: %s", irq, hart,
                  strerror(errno));
    }
}

/*
 * Linux gives an interrupt the lowest identity that is free on its hart, so
 * the order of binding is that of identities.  Interrupts of a serial device,
 * most of them idle, fill the places between.
 *
 * wide:   four groups, one in each half of eip0 and of eip2
 * narrow: two groups, in the lower halves, because a file that the kernel
 *         emulates has no others for its guest
 */
static void crowd(const char *layout)
{
    bool wide = !strcmp(layout, "wide");
    int groups = wide ? 4 : 2, stride = wide ? 32 : 64, hart = nharts - 1;
    int i = 0, j = 0;

    each_interrupt(choose_interrupt);
    for (int k = 0; k < nbusy; k++) {
        bind_to(busy[k], 0);
    }
    for (int k = 0; k < nidle; k++) {
        bind_to(idle[k], 0);
    }
    for (int group = 0; group < groups; group++) {
        for (; i < nbusy * (group + 1) / groups; i++) {
            bind_to(busy[i], hart);
        }
        for (; j < nidle && i + j < stride * (group + 1); j++) {
            bind_to(idle[j], hart);
        }
    }
}

static void put_interrupt(int irq, unsigned long count, const char *name)
{
    int device = device_of(name);

    (void)irq;
    if (device >= 0) {
        put("%s\"%s%s\":%lu", nput++ ? "," : "", devices[device].name,
            name + strlen(devices[device].prefix) - 1, count);
    }
}

void traffic_report(void)
{
    unsigned long out = 0;

    put(",\"packets\":{");
    for (int i = 0; i < nflows; i++) {
        put("%s\"eth%d, hart %d\":%lu", i ? "," : "", flows[i].card,
            flows[i].hart, atomic_load(&flows[i].number));
        out += atomic_load(&flows[i].sent) - atomic_load(&flows[i].received);
    }
    put("},\"unanswered\":%lu,\"blocks\":{", out);
    for (int i = 0; i < nwriters; i++) {
        put("%s\"hart %d\":%lu", i ? "," : "", i,
            atomic_load(&writers[i].number));
    }
    put("},\"interrupts\":{");
    nput = 0;
    each_interrupt(put_interrupt);
    put("}");
}

void traffic_start(const char *layout)
{
    static int disk;

    for (int card = 1; card < MAX_CARDS; card++) {
        char name[16];

        snprintf(name, sizeof(name), "eth%d", card);
        if (!add_device("net", name)) {
            break;
        }
        for (int hart = 0; hart < nharts && nflows < MAX_FLOWS; hart++) {
            flows[nflows].card = card;
            flows[nflows++].hart = hart;
        }
    }
    ncards = ndevices;
    disk = open("/dev/vdb", O_RDWR | O_DIRECT);
    if (disk < 0 || !add_device("block", "vdb")) {
        corrupted("no vdb: %s", strerror(errno));
    }
    crowd(layout);
    for (int i = 0; i < nflows; i++) {
        start(flow_packets, &flows[i]);
    }
    for (nwriters = 0; nwriters < nharts && disk >= 0; nwriters++) {
        writers[nwriters].hart = nwriters;
        writers[nwriters].fd = disk;
        start(write_blocks, &writers[nwriters]);
    }
}

int traffic_answer(void)
{
    static uint64_t last[MAX_CARDS][MAX_FLOWS];
    struct sockaddr_in here = { .sin_family = AF_INET,
                                .sin_port = htons(PORT) };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (bind(fd, (void *)&here, sizeof(here))) {
        perror("bind");
        return 1;
    }
    for (;;) {
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        struct packet packet;
        unsigned card, hart;
        ssize_t len;

        len = recvfrom(fd, &packet, sizeof(packet), 0, (void *)&from, &size);
        if (len < 0) {
            perror("recvfrom");
            return 1;
        }
        card = ntohl(from.sin_addr.s_addr) >> 8 & 0xff;
        hart = ntohs(from.sin_port) - FIRST_PORT;
        if (len != sizeof(packet) || card >= MAX_CARDS || hart >= MAX_FLOWS) {
            continue;
        }
        if (packet.number > last[card][hart] + 1) {
            printf("eth%u, hart %u: packet %llu came after %llu\n", card, hart,
                   (unsigned long long)packet.number,
                   (unsigned long long)last[card][hart]);
            fflush(stdout);
        }
        if (packet.number > last[card][hart]) {
            last[card][hart] = packet.number;
        }
        /* One that is lost is repeated. */
        sendto(fd, &packet, sizeof(packet), 0, (void *)&from, size);
    }
}
