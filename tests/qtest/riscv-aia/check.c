/*
 * Migration of guests that check one thing each
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guests are those of tests/guests that include check.h.  They bring about
 * a state, ask the test for something (CHECK_ASK_*) and go on to check.
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "migration/migration-qmp.h"
#include "peer.h"
#include "threads.h"

/* What the guest told where it stands. */
static CheckReport standing;

/* The levels that were driven last, as in CheckReport. */
static uint64_t driven[2];

/* The file that takes what the guests of a case print. */
static char *serial_file;

static void write_check(QTestState *qts, size_t offset, uint64_t value)
{
    qtest_writeq(qts, AIA_REPORT + offset, value);
}

static void go_on(QTestState *qts)
{
    write_check(qts, offsetof(CheckReport, go), standing.stage);
}

/* The path of the APLIC, of which the sources are the inputs. */
static char *find_aplic(QTestState *qts)
{
    QDict *rsp;
    char *path = NULL;
    QListEntry *entry;

    rsp = qtest_qmp(qts, "{'execute': 'qom-list', 'arguments': "
                    "{'path': '/machine/unattached'}}");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *child = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(child, "type"),
                        "child<riscv.aplic-kvm>")) {
            g_assert_null(path);
            path = g_strdup_printf("/machine/unattached/%s",
                                   qdict_get_str(child, "name"));
        }
    }
    qobject_unref(rsp);
    g_assert_nonnull(path);
    return path;
}

enum { ODD = 1, EVEN = 2 };

/* Drives the wires of odd or even sources, or both, as the guest asked. */
static void drive(QTestState *qts, unsigned which)
{
    g_autofree char *aplic = find_aplic(qts);

    for (unsigned i = 1; i <= 96; i++) {
        uint64_t *word = &driven[i / 64];
        bool level = standing.wires[i / 64] >> i % 64 & 1;

        if (i != CHECK_WIRE_UART && i != CHECK_WIRE_RTC &&
            which & (i % 2 ? ODD : EVEN) &&
            extract64(*word, i % 64, 1) != level) {
            qtest_set_irq_in(qts, aplic, "unnamed-gpio-in", i, level);
            *word = deposit64(*word, i % 64, 1, level);
        }
    }
}

static void show_text(const char *what, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line; line++) {
        if (**line) {
            g_test_message("%s: %s", what, *line);
        }
    }
}

static void show(QTestState *qts, const char *command)
{
    g_autofree char *text = qtest_hmp(qts, "%s", command);

    g_strdelimit(text, "\r", '\n');
    show_text(command, text);
}

static bool guest_waits(QTestState *qts)
{
    qtest_memread(qts, AIA_REPORT, &standing, sizeof(standing));
    return standing.magic != CHECK_MAGIC ||
           (standing.result == CHECK_RUNNING &&
            standing.stage == standing.go);
}

/* To look at a hart takes it out of KVM: whether that woke one is told. */
static void show_where_it_stands(QTestState *qts)
{
    g_test_message("the guest stands after checkpoint %" PRIu64,
                   standing.stage);
    show(qts, "info registers -a");
    g_usleep(G_USEC_PER_SEC);
    if (!guest_waits(qts)) {
        g_test_message("looked at, it goes on");
    }
    show(qts, "info pic");
}

/*
 * Waits until a guest asks for more than its wires, or is done; @standing is
 * then what it says.
 */
static void wait_for_guest(QTestState *qts)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;

    do {
        if (guest_waits(qts)) {
            g_usleep(1000);
        } else if (standing.result != CHECK_RUNNING ||
                   standing.asked != CHECK_ASK_DRIVE) {
            return;
        } else {
            drive(qts, ODD | EVEN);
            go_on(qts);
        }
    } while (g_get_monotonic_time() < end);
    show_where_it_stands(qts);
    g_test_fail();
    g_assert_not_reached();
}

static void check_go_on(QTestState *qts, const AIACase *c)
{
    go_on(qts);
    wait_for_guest(qts);
}

static void show_serial(void *opaque)
{
    g_autofree char *text = NULL;

    if (g_file_get_contents(serial_file, &text, NULL, NULL)) {
        show_text("serial port", text);
    }
    unlink(serial_file);
}

/* What the guest prints is shown if the test fails. */
static char *open_serial(const AIACase *c)
{
    int fd = g_file_open_tmp("riscv-aia-serial-XXXXXX", &serial_file, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    qtest_add_abrt_handler(show_serial, NULL);
    return g_strdup_printf("%s -chardev file,id=serial,path=%s,append=on "
                           "-serial chardev:serial", c->options ?: "",
                           serial_file);
}

static void close_serial(void)
{
    qtest_remove_abrt_handler(NULL);
    unlink(serial_file);
    g_clear_pointer(&serial_file, g_free);
}

/* Starts the guest of @c, which does not run yet. */
static QTestState *start(const AIACase *c)
{
    QTestState *qts = aia_start(c, c->from, "-S");

    memset(driven, 0, sizeof(driven));
    write_check(qts, offsetof(CheckReport, harts), c->harts);
    for (int i = 0; i < ARRAY_SIZE(c->arg); i++) {
        write_check(qts, offsetof(CheckReport, arg) + i * sizeof(uint64_t),
                    c->arg[i]);
    }
    return qts;
}

/*
 * Moves the guest, of which there were @moves, whenever it asks for that until
 * it is done.
 */
static void move_until_done(QTestState *qts, const AIACase *c, unsigned moves)
{
    for (;;) {
        uint64_t before[2];

        wait_for_guest(qts);
        if (standing.result != CHECK_RUNNING) {
            break;
        }
        g_assert_true(standing.asked == CHECK_ASK_MOVE ||
                      standing.asked == CHECK_ASK_MOVE_DRIVE);
        memcpy(before, driven, sizeof(before));
        qts = c->move->run(qts, c);
        if (!qts) {
            /* It has come to its end on another host. */
            return;
        }
        moves++;
        /* A snapshot has gone on in between, and is back now. */
        qtest_memread(qts, AIA_REPORT, &standing, sizeof(standing));
        if (standing.asked == CHECK_ASK_MOVE && !aia_has_peer()) {
            memcpy(driven, before, sizeof(driven));
        }
        go_on(qts);
    }
    standing.what[sizeof(standing.what) - 1] = '\0';
    if (standing.result != CHECK_PASSED) {
        g_test_message("after %u moves: %s", moves, standing.what);
    }
    g_assert_cmpuint(standing.result, ==, CHECK_PASSED);
    g_assert_cmpuint(moves, >, 0);
    qtest_quit(qts);
    if (aia_has_peer()) {
        aia_peer_end(NULL);
    }
}

void aia_test_check(const void *opaque)
{
    AIACase c = *(const AIACase *)opaque;
    g_autofree char *options = open_serial(&c);
    QTestState *qts;

    c.options = options;
    c.go_on = check_go_on;
    qts = start(&c);
    aia_cont(qts);
    if (c.prepare) {
        c.prepare(qts, &c);
    }
    move_until_done(qts, &c, 0);
    close_serial();
}

/*
 * Through a file.  Wires that the guest asked for move while neither of the
 * two runs: half of them before the save, half of them after the load.
 */
static QTestState *move_file(QTestState *from, const AIACase *c)
{
    bool driving = standing.asked == CHECK_ASK_MOVE_DRIVE;
    QTestState *other = NULL;
    QTestState *to;
    AIAFiles f;

    aia_files_init(&f);
    aia_stop(from);
    if (driving) {
        drive(from, ODD);
    }
    aia_save(from, f.uri_a);
    qtest_quit(from);
    aia_check_told(f.a, (const CheckFiles *)standing.told);

    if (c->move == &aia_move_crowded) {
        other = aia_take_files();
    }
    to = aia_start(c, c->to, "-S -incoming defer");
    if (other) {
        aia_bind_harts(to, c, CPU_1);
    }
    aia_incoming(to, f.uri_a);
    wait_for_migration_complete(to);
    aia_save(to, f.uri_b);
    aia_compare_streams(c, f.a, f.b);
    if (driving) {
        drive(to, EVEN);
    }
    if (other) {
        /* In software files the guest could not enable all identities. */
        aia_bind_harts(to, c, CPU_0);
        qtest_quit(other);
    }
    aia_cont(to);
    aia_files_free(&f);
    return to;
}

static const AIAMove check_move_file = { "file", move_file };
const AIAMove aia_move_crowded = { "crowded", move_file };

/*
 * While the guest runs.  Wires that it asked for move while memory is being
 * sent, and others when the source has just stopped.
 */
static QTestState *move_live(QTestState *from, const AIACase *c)
{
    static const char *const done[] = { "completed", "failed", NULL };
    QTestState *to;
    AIAFiles f;

    if (standing.asked != CHECK_ASK_MOVE_DRIVE) {
        AIACase plain = *c;

        plain.move = &aia_move_live;
        return plain.move->run(from, &plain);
    }
    to = aia_start(c, c->to, "-incoming defer");
    aia_files_init(&f);
    aia_incoming(to, f.socket);
    migrate_set_capability(from, "pause-before-switchover", true);
    /* It will not come to its end with this. */
    migrate_set_parameter_int(from, "max-bandwidth", 4096);
    migrate_qmp(from, NULL, f.socket, NULL, "{}");
    wait_for_migration_status(from, "active", (const char **)done);
    drive(from, ODD);
    wait_for_migration_status(from, "active", (const char **)done);
    migrate_set_parameter_int(from, "max-bandwidth", 1 << 30);
    wait_for_migration_status(from, "pre-switchover", (const char **)done);
    drive(from, EVEN);
    migrate_continue(from, "pre-switchover");
    wait_for_migration_complete(from);
    qtest_qmp_eventwait(to, "RESUME");
    qtest_quit(from);
    aia_files_free(&f);
    return to;
}

static const AIAMove check_move_live = { "live", move_live };

/* Waits for a guest of another host, where half of the wires moved. */
static QTestState *arrive(const AIACase *c)
{
    QTestState *to = aia_peer_receive(c, driven);

    if (to) {
        qtest_memread(to, AIA_REPORT, &standing, sizeof(standing));
        if (standing.asked == CHECK_ASK_MOVE_DRIVE) {
            drive(to, EVEN);
        }
        aia_cont(to);
    }
    return to;
}

/* To another host, and back if it comes back */
static QTestState *move_peer(QTestState *from, const AIACase *c)
{
    if (g_strcmp0(c->move->how, "stopped") == 0) {
        aia_stop(from);
    }
    if (standing.asked == CHECK_ASK_MOVE_DRIVE) {
        drive(from, ODD);
    }
    aia_peer_send(from, c, driven);
    return arrive(c);
}

const AIAMove *aia_check_peer_move(int i)
{
    static AIAMove moves[AIA_CHECK_PEER_MOVES];

    moves[i] = aia_peer_moves[i];
    moves[i].run = move_peer;
    return &moves[i];
}

void aia_check_away(const void *opaque)
{
    AIACase c = *(const AIACase *)opaque;
    g_autofree char *options = open_serial(&c);
    QTestState *qts;

    c.options = options;
    c.go_on = check_go_on;
    qts = arrive(&c);
    if (qts) {
        go_on(qts);
        move_until_done(qts, &c, 1);
    }
    close_serial();
}

static int connect_to(const char *uri)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(g_strlcpy(addr.sun_path, uri + strlen("unix:"),
                              sizeof(addr.sun_path)), <,
                    sizeof(addr.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==,
                    0);
    return fd;
}

static void wait_for_text(const char *file, const char *text)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    bool found = false;

    while (!found) {
        g_autofree char *contents = NULL;

        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
        found = g_file_get_contents(file, &contents, NULL, NULL) &&
                strstr(contents, text);
    }
}

/*
 * In a stream that pauses after the APLIC's section, before those of the
 * interrupt files.  Wires move then, at the destination: what comes of that
 * must wait until all is loaded.
 */
static QTestState *move_paused(QTestState *from, const AIACase *c)
{
    g_autofree char *more = NULL, *stream = NULL;
    char *aplic;
    size_t bytes;
    QTestState *to;
    gsize len, cut;
    AIAFiles f;
    int fd;

    aia_files_init(&f);
    aia_stop(from);
    aia_save(from, f.uri_a);
    qtest_quit(from);
    g_assert_true(g_file_get_contents(f.a, &stream, &len, NULL));
    aplic = aia_find_section(stream, stream + len, "riscv_aplic_kvm", &bytes);
    g_assert_nonnull(aplic);
    cut = aplic + bytes + AIA_FOOTER_BYTES - stream;

    more = g_strdup_printf("-S -incoming defer "
                           "-trace kvm_riscv_aia_load_aplic -D %s", f.b);
    to = aia_start(c, c->to, more);
    aia_incoming(to, f.socket);
    fd = connect_to(f.socket);
    g_assert_cmpint(qemu_write_full(fd, stream, cut), ==, cut);
    wait_for_text(f.b, "kvm_riscv_aia_load_aplic");
    drive(to, ODD | EVEN);
    g_assert_cmpint(qemu_write_full(fd, stream + cut, len - cut), ==,
                    len - cut);
    wait_for_migration_complete(to);
    close(fd);
    aia_cont(to);
    aia_files_free(&f);
    return to;
}

static const AIAMove check_move_paused = { "paused", move_paused };

/*
 * Not at all: QEMU reads the registers of a machine that stands, wires move,
 * and what it puts back when the guest goes on must not undo that.
 */
static QTestState *look_at(QTestState *qts, const AIACase *c)
{
    g_autofree char *text = NULL;

    aia_stop(qts);
    text = qtest_hmp(qts, "info registers -a");
    g_assert_nonnull(strstr(text, "mip"));
    drive(qts, ODD | EVEN);
    aia_cont(qts);
    return qts;
}

static const AIAMove check_look_at = { "looked-at", look_at };

static const char *const modes[] = { "emul", "hwaccel", "auto" };

static void add(const char *guest, const char *name, const AIAMove *move,
                const char *mode, AIACase c)
{
    g_autofree char *path = g_strdup_printf("riscv-aia/%s%s/%s/%s", guest,
                                            name, move->name, mode);

    c.guest = guest;
    c.move = move;
    c.from = c.to = mode;
    c.irqchip = "on";
    aia_add(path, &c, aia_test_check);
}

/* @rounds: as arg[0] of tests/guests/aplic.c */
static void add_aplic(const char *name, const AIAMove *move, const char *mode,
                      uint64_t rounds)
{
    add("aplic", name, move, mode,
        (AIACase) { .harts = 2, .apart = true, .arg = { rounds } });
}

/* @rounds, @first: as arg[] of tests/guests/imsic.c */
static void add_imsic(const char *name, const AIAMove *move, const char *mode,
                      uint64_t rounds, uint64_t first)
{
    add("imsic", name, move, mode,
        (AIACase) { .harts = 4, .arg = { rounds, first } });
}

static void add_devices(const char *name, const char *mode)
{
    add("devices", name, &check_move_live, mode, (AIACase) {
        .harts = 1, .options = AIA_DEVICES,
    });
}

static void without_huge_pages(void (*run)(const void *), const void *opaque)
{
    g_assert_cmpint(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), ==, 0);
    run(opaque);
    g_assert_cmpint(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), ==, 0);
}

void aia_test_memory(const void *opaque)
{
    without_huge_pages(aia_test_check, opaque);
}

void aia_memory_away(const void *opaque)
{
    without_huge_pages(aia_check_away, opaque);
}

void aia_add_check_tests(void)
{
    static const AIACase memory = {
        .guest = "memory", .move = &check_move_live, .from = "emul",
        .to = "emul", .irqchip = "on", .harts = 2,
    };

    AIACase busy = {
        .guest = "memory_busy", .move = &check_move_live, .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 4,
    };

    add_aplic("", &check_move_file, "emul", 0x80);
    add_aplic("", &check_move_live, "hwaccel", 0x10);
    add_aplic("", &aia_move_snapshot, "auto", 0x08);
    add_aplic("", &check_move_paused, "auto", 0x40);
    add("wire", "", &check_look_at, "emul", (AIACase) { .harts = 2 });
    add_imsic("", &check_move_file, "emul", 2, 0);
    add_imsic("", &check_move_file, "auto", 3, 2);
    add_imsic("", &check_move_live, "hwaccel", 2, 1);
    add_imsic("", &aia_move_snapshot, "auto", 2, 4);
    aia_add("riscv-aia/memory/live/emul", &memory, aia_test_memory);
    aia_add("riscv-aia/memory_busy/live/auto", &busy, aia_test_check);
    add_devices("", "emul");
    add_devices("", "auto");
    if (!g_test_slow()) {
        return;
    }
    for (int m = 0; m < ARRAY_SIZE(modes); m++) {
        add_aplic("/all", &check_move_file, modes[m], 0xff);
        add_aplic("/all", &check_move_live, modes[m], 0xff);
        add_aplic("/all", &aia_move_snapshot, modes[m], 0x0f);
        add_aplic("/all", &check_move_paused, modes[m], 0xf0);
        add_aplic("/all", &check_look_at, modes[m], 0xf0);
        add("wire", "/all", &check_look_at, modes[m],
            (AIACase) { .harts = 2 });
        add_imsic("/all", &check_move_file, modes[m], 12, 100);
        add_imsic("/all", &check_move_live, modes[m], 12, 200);
        add_imsic("/all", &aia_move_snapshot, modes[m], 12, 300);
        add_devices("/all", modes[m]);
    }
}
