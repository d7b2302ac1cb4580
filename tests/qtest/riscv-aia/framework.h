/*
 * Framework of the RISC-V AIA migration test: starting and moving guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_FRAMEWORK_H
#define RISCV_AIA_FRAMEWORK_H

#include "libqtest.h"
#include "report.h"

/* How long an event may take that will come, in seconds: all is emulated. */
#define AIA_WAIT_S 120

typedef struct AIACase AIACase;

/**
 * AIAMove - a way for a guest to get from one QEMU into another
 * @name: as in the path of the test
 * @run: moves the guest of @from, which is the QEMU it was started in or that
 *     of an earlier move; returns the one in which it is then, which may be
 *     @from.  The caller quits that one only.
 * @capabilities: of the migration, set on both sides
 * @compression: of multifd, or NULL
 * @how: which of the ways that @run knows, or NULL
 */
typedef struct AIAMove {
    const char *name;
    QTestState *(*run)(QTestState *from, const AIACase *c);
    const char *capabilities[3];
    const char *compression;
    const char *how;
} AIAMove;

/**
 * AIACase - what one test runs
 * @guest: file of tests/guests, without ".elf"
 * @from, @to: riscv-aia= of source and destination
 * @irqchip: kernel-irqchip= of both
 * @per_socket: how many harts a socket has, the last one perhaps fewer; 0 for
 *     one socket without NUMA
 * @reversed: the first harts are in the last socket
 * @options: further options of both, or NULL
 * @arg: for guests of check.h
 * @prepare: called once the guest of aia_test_check() runs, or NULL
 * @go_on: lets the guest change its state and comes back when it has; what
 *     a snapshot must undo
 * @tcg: the emulated AIA instead of KVM
 * @binary: variable of the environment that names another QEMU to start than
 *     QTEST_QEMU_BINARY does, or NULL
 * @mixed: source and destination are different versions of QEMU
 * @apart: each hart is kept on a CPU of the host of its own, lest an emulated
 *     host loses interrupts that the guest waits for (docs/lab.md)
 * @sends_on_load: its devices send interrupts when they are loaded, so that it
 *     does not hold the same then
 */
struct AIACase {
    const AIAMove *move;
    const char *guest;
    const char *from;
    const char *to;
    const char *irqchip;
    unsigned harts;
    unsigned per_socket;
    bool reversed;
    const char *options;
    uint64_t arg[8];
    void (*prepare)(QTestState *qts, const AIACase *c);
    void (*go_on)(QTestState *qts, const AIACase *c);
    bool tcg;
    const char *binary;
    bool mixed;
    bool apart;
    bool sends_on_load;
};

/*
 * Into a file while the guest stands, and out of it: the state is saved again
 * at once and must be the same.
 */
extern const AIAMove aia_move_file;
extern const AIAMove aia_move_exec;
extern const AIAMove aia_move_incoming;     /* by the command line */
extern const AIAMove aia_move_mapped_ram;
extern const AIAMove aia_move_mapped_ram_multifd;

/* Into another process, as the guest is: running or not. */
extern const AIAMove aia_move_live;
extern const AIAMove aia_move_fd;
extern const AIAMove aia_move_multifd;
extern const AIAMove aia_move_multifd_zlib;
extern const AIAMove aia_move_multifd_zstd;
extern const AIAMove aia_move_postcopy;

/* Back to what the process was in before. */
extern const AIAMove aia_move_snapshot;

/*
 * As aia_move_file, of a guest of aia_test_check(), to harts that get no file
 * where they are bound to: the pending bits of upper halves come by MSIs to one
 * that has none enabled, and what genmsi sends while it is loaded is cleared
 * again.
 */
extern const AIAMove aia_move_crowded;

/* All that lead into another process */
extern const AIAMove *const aia_moves[];
extern const int aia_num_moves;

/*
 * How many guest interrupt files each CPU of this host has, of which a guest
 * in hwaccel mode needs one for each hart that runs there: what
 * QTEST_RISCV_AIA_FILES says, else as many as any case of ours takes.
 */
#define AIA_MANY_FILES 7
unsigned aia_guest_files(void);

/*
 * Whether threads of harts may change CPUs: Linux 6.12 does not wake them from
 * WFI then (docs/kernel-facts.md).
 */
bool aia_harts_may_move(void);

/* What /proc has as the status of a QEMU; free it with g_free(). */
char *aia_proc_status(QTestState *qts);

/* Adds a case with a copy of @c. */
void aia_add(const char *path, const AIACase *c, void (*run)(const void *));

/* Starts a QEMU for the case, with further options; mode as of riscv-aia=. */
QTestState *aia_start(const AIACase *c, const char *mode, const char *more);

/* How many sockets the case has. */
unsigned aia_sockets(const AIACase *c);

/* Waits until query-status tells this. */
void aia_wait_for_status(QTestState *qts, const char *wanted);

bool aia_is_running(QTestState *qts);
void aia_stop(QTestState *qts);
void aia_cont(QTestState *qts);

/*
 * As a user calls migrate-incoming: QEMU ends where the load fails.  The
 * function of QEMU's tests has it stay since 11.1.
 */
void aia_incoming(QTestState *qts, const char *uri);

/* Waits for the end of a QEMU that is to fail, and asserts that it does. */
void aia_wait_failed(QTestState *qts);

/* Turns what a move needs on or off, on either side. */
void aia_set_capabilities(QTestState *qts, const AIAMove *m, bool on);

/*
 * Sees to it that precopy does not come to its end before postcopy; starts
 * that when it has begun.
 */
void aia_prepare_postcopy(QTestState *from);
void aia_start_postcopy(QTestState *from);

/* Saves the state of @qts, which stands, in a file. */
void aia_save(QTestState *qts, const char *uri);

/* Likewise, of its devices alone: its memory is none of this. */
void aia_save_devices(QTestState *qts, const char *file);

/*
 * Asserts that @c->to, reached by @c->move, refuses the running guest of @from
 * with an error that matches the regular expression, and that the guest goes
 * on where it was.  The move is one of those into another process.
 */
void aia_move_refused(QTestState *from, const AIACase *c, const char *error);

/* The temporary files of one move, gone with aia_files_free(). */
typedef struct AIAFiles {
    char *dir;
    char *a;
    char *b;
    char *uri_a;
    char *uri_b;
    char *socket;
    char *disk;
    char *errors;
} AIAFiles;

void aia_files_init(AIAFiles *f);
void aia_files_free(AIAFiles *f);

/* A disk that takes snapshots, without a device. */
void aia_disk_add(QTestState *qts, const char *file);
void aia_disk_remove(QTestState *qts);

/*
 * Finds the next section called @name between @p and @end, which are in a
 * stream; returns its data, which is followed by a footer of
 * AIA_FOOTER_BYTES, or NULL.
 */
char *aia_find_section(char *p, char *end, const char *name, size_t *len);

#define AIA_FOOTER_BYTES 5

/* Words of 32 bits of the 255 identities of the machine "virt" */
#define AIA_FILE_WORDS 8

/*
 * Asserts that the interrupt controllers and vCPUs in two streams hold the
 * same, byte for byte; of the vCPUs of different versions of QEMU, what is
 * ours.
 */
void aia_compare_streams(const AIACase *c, const char *a, const char *b);

/* Whether KVM of this host has timers of its own, instead of the hardware's. */
bool aia_host_lacks_sstc(void);

/*
 * Asserts that a stream has the interrupt files that the guest told of, which
 * it cannot look into afterwards.
 */
void aia_check_told(const char *stream, const CheckFiles *files);

/* The same for a guest that was never started and one after a reset. */
void aia_compare_reset(const AIACase *c, const char *fresh, const char *reset);

/* Runs a guest of check.h, moves it at each of its checkpoints. */
void aia_test_check(const void *opaque);

/* The same without huge pages, each of which would become the guest's whole */
void aia_test_memory(const void *opaque);

/* What the guest devices is about */
#define AIA_DEVICES \
    "-audiodev none,id=audio -device intel-hda,addr=1 " \
    "-device hda-output,audiodev=audio " \
    "-device virtio-net-pci-non-transitional,addr=2,romfile= " \
    "-global migration.announce-rounds=1"

/* Has the guest tick, which stands at its reset, run until it takes ticks. */
void aia_tick_boot(QTestState *qts, const AIACase *c);

/* What the guest tick tells of itself */
TickReport aia_tick_report(QTestState *qts);

/*
 * Waits until every hart of the guest tick has taken @by more interrupts of
 * every kind; fails if one was lost.
 */
void aia_tick_wait(QTestState *qts, const AIACase *c, unsigned by);

/* Waits for rounds of the guest vcpu_compute; fails if it has found a fault. */
void aia_compute_wait(QTestState *qts, const AIACase *c, unsigned rounds);

/* Waits for the last rounds, and ends the guest and its QEMU. */
void aia_compute_end(QTestState *qts, const AIACase *c);

/* Adds the cases with other QEMUs; false where none is named. */
bool aia_add_fleet_tests(void);

/* The other cases, each in a file of that name */
void aia_add_info_tests(void);
void aia_add_lost_wakeup_tests(void);
void aia_add_shape_tests(void);
void aia_add_tick_tests(bool tcg);
void aia_add_check_tests(void);
void aia_add_few_files_tests(void);
void aia_add_vcpu_tests(void);
void aia_add_confined_tests(void);
void aia_add_fault_tests(void);
void aia_add_guest_file_tests(void);
void aia_add_no_file_tests(void);
void aia_add_pages_tests(void);
void aia_add_phase_tests(void);
void aia_add_populate_tests(void);
void aia_add_stream_tests(void);
void aia_add_system_event_tests(void);

#endif
