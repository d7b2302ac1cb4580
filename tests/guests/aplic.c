/*
 * The APLIC holds and does the same after a move as without it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In each round every source gets a state of its own: mode, pending, enabled,
 * and what its wire did.  The round is gone through twice, the second time
 * with a move in its middle.  All that is read and all interrupts that come
 * afterwards, counted by hart and identity, must be the same.
 *
 * arg[0] has a bit for each round that is to be run:
 *     bit 0 of its number: another state for each source; two such rounds
 *           have all states
 *     bit 1: with interrupts enabled in the domain
 *     bit 2: wires go to other levels during the move
 */

#include "aia.h"

#define ROUNDS 8

#define UART_IER        (UART_THR + 1)
#define UART_IER_THRI   0x02
#define RTC_ALARM_LOW   0x101008UL
#define RTC_ALARM_HIGH  0x10100cUL
#define RTC_IRQ_ENABLED 0x101010UL

#define SM_INACTIVE   0
#define SM_DETACHED   1
#define SM_LEVEL_HIGH 6
#define SM_LEVEL_LOW  7

typedef struct Wires {
    uint64_t level[2];
} Wires;

typedef struct State {
    uint32_t mode;
    bool pending;
    bool enabled;
    bool wire_before;
    bool wire;
} State;

static bool upper;
static bool moved;

/* What the run without a move found. */
static uint32_t found[16384];
static unsigned num_found;
static unsigned next_found;

static void note(const char *what, unsigned index, uint32_t value)
{
    if (!moved) {
        found[num_found++] = value;
        check_equal("room to note", 0, num_found < 16384, true);
    } else {
        check_equal(what, index, value, found[next_found++]);
    }
}

/* The identity of a source: no upper halves, where there are none. */
static uint32_t identity(unsigned source)
{
    return upper ? 2 * source : source / 31 * 64 + source % 31 + 1;
}

static uint32_t target(unsigned source)
{
    return source % 2 << 18 | identity(source);
}

/* Every field in use, harts and guests that are not there as well. */
static uint32_t odd_target(unsigned source)
{
    return source * 0x9e3779b1 & 0xfffff7ff;
}

static State state(unsigned source, unsigned round)
{
    unsigned n = source + (round & 1 ? 64 : 0);

    return (State) {
        .mode = n & 7,
        .pending = n >> 3 & 1,
        .enabled = n >> 4 & 1,
        .wire_before = n >> 5 & 1,
        .wire = n >> 6 & 1,
    };
}

static bool has_device(unsigned source)
{
    return source == CHECK_WIRE_UART || source == CHECK_WIRE_RTC;
}

/*
 * All interrupts that were sent before have arrived and been taken: the same
 * way brings each hart another one, of the lowest priority.  An emulated host
 * may not wake hart 1 for it (docs/lab.md).
 */
static void settle(uint32_t last)
{
    for (unsigned hart = 0; hart < 2; hart++) {
        unsigned count = taken[hart].of[last];

        aplic_write(APLIC_GENMSI, hart << 18 | last);
        if (hart) {
            wake(hart);
        }
        while (taken[hart].of[last] == count) {
            asm volatile("fence");
        }
    }
}

/* Where another one still lies about, it is seen: they take turns. */
#define LAST_BEFORE (upper ? 254 : 222)
#define LAST_AFTER  (upper ? 255 : 223)

static void set_wires(const Wires *wires)
{
    report.wires[0] = wires->level[0];
    report.wires[1] = wires->level[1];
}

static void drive(const Wires *wires)
{
    set_wires(wires);
    ask_test(CHECK_ASK_DRIVE);
}

static Wires wires_of(unsigned round, bool before, bool inverted)
{
    Wires wires = { 0 };

    for (unsigned i = 1; i <= SOURCES; i++) {
        State s = state(i, round);

        if ((before ? s.wire_before : s.wire) != inverted) {
            wires.level[i / 64] |= 1UL << i % 64;
        }
    }
    return wires;
}

/* The RTC's alarm has gone off long ago; its wire is as this enables it. */
static void drive_rtc(bool level)
{
    mmio_write(RTC_IRQ_ENABLED, level);
}

/* The UART can always take another byte. */
static void drive_uart(bool level)
{
    mmio_write8(UART_IER, level ? UART_IER_THRI : 0);
}

static void note_registers(void)
{
    note("domaincfg", 0, aplic_read(APLIC_DOMAINCFG));
    note("genmsi", 0, aplic_read(APLIC_GENMSI));
    for (unsigned i = 1; i <= SOURCES; i++) {
        note("sourcecfg", i, aplic_read(APLIC_SOURCECFG(i)));
        note("target", i, aplic_read(APLIC_TARGET(i)));
    }
    for (unsigned w = 0; w < APLIC_WORDS; w++) {
        note("setip", w, aplic_read(APLIC_SETIP(w)));
        note("setie", w, aplic_read(APLIC_SETIE(w)));
        note("in_clrip", w, aplic_read(APLIC_IN_CLRIP(w)));
    }
}

/* Notes what has come since the last time. */
static void note_taken(const char *now)
{
    step = now;
    settle(LAST_AFTER);
    for (unsigned hart = 0; hart < 2; hart++) {
        for (unsigned id = 1; id <= IDENTITIES; id++) {
            note(hart ? "taken by hart 1" : "taken by hart 0", id,
                 taken[hart].of[id]);
        }
        forget_taken(hart);
    }
    note_registers();
}

static unsigned taken_of(unsigned source)
{
    return taken[source % 2].of[identity(source)];
}

static void bring_about(unsigned round)
{
    Wires before = wires_of(round, true, false);
    Wires wires = wires_of(round, false, false);

    aplic_write(APLIC_DOMAINCFG, 0);
    drive_uart(true);
    drive_rtc(false);
    for (unsigned i = 1; i <= SOURCES; i++) {
        aplic_write(APLIC_SOURCECFG(i), SM_DETACHED);
    }
    drive(&before);
    for (unsigned w = 0; w < APLIC_WORDS; w++) {
        aplic_write(APLIC_IN_CLRIP(w), -1);
        aplic_write(APLIC_CLRIE(w), -1);
    }
    for (unsigned i = 1; i <= SOURCES; i++) {
        uint32_t mode = i == CHECK_WIRE_UART ? SM_LEVEL_LOW :
                        i == CHECK_WIRE_RTC ? SM_LEVEL_HIGH :
                        state(i, round).mode;

        aplic_write(APLIC_SOURCECFG(i), mode);
    }
    drive(&wires);
    for (unsigned i = 1; i <= SOURCES; i++) {
        State s = state(i, round);
        uint32_t bit = 1U << i % 32;

        if (!has_device(i)) {
            aplic_write(s.pending ? APLIC_SETIP(i / 32)
                                  : APLIC_IN_CLRIP(i / 32), bit);
        }
        if (s.enabled || has_device(i)) {
            aplic_write(APLIC_SETIE(i / 32), bit);
            aplic_write(APLIC_TARGET(i), target(i));
        } else {
            aplic_write(APLIC_TARGET(i), odd_target(i));
        }
    }
    if (round & 2) {
        aplic_write(APLIC_DOMAINCFG, APLIC_DOMAINCFG_IE);
    }
    drive_uart(false);
    drive_rtc(true);
    settle(LAST_BEFORE);
}

/* Each source that is pending and enabled comes once, and no other one. */
static void check_enabling(void)
{
    uint32_t due[APLIC_WORDS];

    step = "once interrupts are enabled";
    for (unsigned w = 0; w < APLIC_WORDS; w++) {
        due[w] = aplic_read(APLIC_SETIP(w)) & aplic_read(APLIC_SETIE(w));
    }
    aplic_write(APLIC_DOMAINCFG, APLIC_DOMAINCFG_IE);
    settle(LAST_AFTER);
    for (unsigned i = 1; i <= SOURCES; i++) {
        check_equal("number of interrupts of source", i, taken_of(i),
                    due[i / 32] >> i % 32 & 1);
    }
}

/* They have been forwarded, and come again with the next edge only. */
static void check_devices(void)
{
    static const unsigned sources[] = { CHECK_WIRE_UART, CHECK_WIRE_RTC };

    step = "wires of UART and RTC";
    drive_uart(true);
    drive_rtc(false);
    settle(LAST_AFTER);
    for (unsigned i = 0; i < 2; i++) {
        check_equal("interrupts of source still asserted", sources[i],
                    taken_of(sources[i]), 0);
    }
    drive_uart(false);
    drive_rtc(true);
    settle(LAST_AFTER);
    for (unsigned i = 0; i < 2; i++) {
        check_equal("interrupts of source asserted again", sources[i],
                    taken_of(sources[i]), 1);
    }
}

static void run(unsigned round)
{
    bool turned = round & 4;
    Wires wires = wires_of(round, false, turned);
    Wires other = wires_of(round, false, !turned);

    step = "before the move";
    bring_about(round);
    check_equal("interrupts of the UART", round, taken_of(CHECK_WIRE_UART),
                round >> 1 & 1);
    check_equal("interrupts of the RTC", round, taken_of(CHECK_WIRE_RTC),
                round >> 1 & 1);
    for (unsigned hart = 0; hart < 2; hart++) {
        forget_taken(hart);
    }

    set_wires(&wires);
    if (moved) {
        ask_test(turned ? CHECK_ASK_MOVE_DRIVE : CHECK_ASK_MOVE);
    } else if (turned) {
        ask_test(CHECK_ASK_DRIVE);
    }

    step = "after the move";
    note_registers();
    note_taken("by the move");
    check_enabling();
    note_taken("enabled");
    check_devices();
    note_taken("UART and RTC");
    /* Their wires show now: they can be made pending where asserted. */
    for (unsigned i = 1; i <= SOURCES; i++) {
        if (aplic_read(APLIC_SOURCECFG(i)) == SM_INACTIVE) {
            aplic_write(APLIC_SOURCECFG(i), SM_LEVEL_HIGH);
            aplic_write(APLIC_SETIPNUM, i);
        }
    }
    note_taken("inactive sources activated");
    drive(&other);
    note_taken("wires turned");
    drive(&wires);
    note_taken("wires turned back");
    for (unsigned i = 1; i <= SOURCES; i++) {
        aplic_write(APLIC_TARGET(i), target(i));
    }
    for (unsigned w = 0; w < APLIC_WORDS; w++) {
        aplic_write(APLIC_SETIE(w), -1);
    }
    note_taken("all enabled");
    step = "end";
    check_equal("number of notes", round, next_found, moved ? num_found : 0);
}

void main(unsigned long hart)
{
    if (hart) {
        serve(hart);
    }
    start_traps(hart);
    start_hart(1);
    upper = has_upper();
    open_file(0);
    on_hart(1, open_file);
    mmio_write(RTC_ALARM_HIGH, 0);
    mmio_write(RTC_ALARM_LOW, 0);

    for (unsigned round = 0; round < ROUNDS; round++) {
        if (report.arg[0] & 1UL << round) {
            num_found = 0;
            next_found = 0;
            moved = false;
            run(round);
            moved = true;
            run(round);
        }
    }
    pass();
}
