/*
 * Destinations that cannot take the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migration/migration-util.h"
#include "migration/migration-qmp.h"
#include "framework.h"

/*
 * ShapeCase - source, destination
 * @words: regular expressions for what the destination says
 */
typedef struct ShapeCase {
    const char *name;
    AIACase from;
    AIACase to;
    const char *words[3];
} ShapeCase;

/* Refused before the guest is stopped, which goes on and can move elsewhere. */
static void test_shape(const void *opaque)
{
    const ShapeCase *s = opaque;
    QTestState *from = aia_start(&s->from, s->from.from, "-S"), *to;
    g_autofree char *more = NULL, *said = NULL;
    AIAFiles f;

    aia_files_init(&f);
    aia_tick_boot(from, &s->from);
    more = g_strdup_printf("-incoming defer 2>%s", f.errors);
    to = aia_start(&s->to, s->to.to, more);
    qtest_set_expected_status(to, EXIT_FAILURE);
    migrate_set_capability(from, "return-path", true);
    migrate_set_capability(to, "return-path", true);
    aia_incoming(to, f.socket);
    migrate_qmp(from, NULL, f.socket, NULL, "{}");
    wait_for_migration_fail(from, true);
    qtest_wait_qemu(to);
    qtest_quit(to);
    g_assert_true(g_file_get_contents(f.errors, &said, NULL, NULL));
    for (int i = 0; i < ARRAY_SIZE(s->words) && s->words[i]; i++) {
        if (!g_regex_match_simple(s->words[i], said, 0, 0)) {
            g_test_message("'%s' is not in what follows", s->words[i]);
            g_test_message("%s", said);
            g_test_fail();
        }
    }
    aia_tick_wait(from, &s->from, 2);
    from = aia_move_live.run(from, &s->from);
    aia_tick_wait(from, &s->from, 2);
    qtest_quit(from);
    aia_files_free(&f);
}

/* Where the section has the frequency of the timer: docs/wire-format.md */
#define TIMEBASE_OFFSET 40

/* A host whose timer is twice as fast is made of the stream of this one. */
static void test_timebase(const void *opaque)
{
    const AIACase *c = opaque;
    QTestState *from = aia_start(c, c->from, "-S"), *to;
    g_autofree char *stream = NULL, *more = NULL, *said = NULL, *says = NULL;
    gsize total;
    size_t len;
    uint64_t hz;
    char *shape;
    AIAFiles f;

    aia_files_init(&f);
    aia_tick_boot(from, c);
    aia_stop(from);
    aia_save(from, f.uri_a);
    g_assert_true(g_file_get_contents(f.a, &stream, &total, NULL));
    shape = aia_find_section(stream, stream + total, "riscv_aia_shape", &len);
    g_assert_nonnull(shape);
    hz = ldq_be_p(shape + TIMEBASE_OFFSET);
    says = g_strdup_printf("cannot take the guest: timer frequency "
                           "\\(Hz\\): %" PRIu64 " on the source, %" PRIu64
                           " on the destination\\n", 2 * hz, hz);
    stq_be_p(shape + TIMEBASE_OFFSET, 2 * hz);
    g_assert_true(g_file_set_contents(f.b, stream, total, NULL));

    more = g_strdup_printf("-incoming defer 2>%s", f.errors);
    to = aia_start(c, c->to, more);
    aia_incoming(to, f.uri_b);
    aia_wait_failed(to);
    g_assert_true(g_file_get_contents(f.errors, &said, NULL, NULL));
    g_test_message("%s", said);
    g_assert_true(g_regex_match_simple(says, said, 0, 0));

    aia_cont(from);
    aia_tick_wait(from, c, 2);
    qtest_quit(from);
    aia_files_free(&f);
}

#define CASE(...) { \
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on", \
    .harts = 2, .move = &aia_move_live, __VA_ARGS__ }

static const ShapeCase cases[] = {
    {
        "harts", CASE(), CASE(.harts = 4),
        { "cannot take the guest",
          "harts: 2 on the source, 4 on the destination",
          "hart index bits: 1 on the source, 2 on the destination" },
    }, {
        "guest-bits", CASE(), CASE(.options = "-machine aia-guests=3"),
        { "guest index bits: 0 on the source, 2 on the destination",
          "IMSIC address of hart 1: 0x28001000 on the source, 0x28004000" },
    }, {
        "split", CASE(.irqchip = "split"), CASE(),
        { "kernel-irqchip: split on the source, on on the destination",
          "APLIC sources: 0 on the source, 96 on the destination" },
    }, {
        "extension", CASE(), CASE(.options = "-cpu host,zicbom=off"),
        { "zicbom: on the source, not on the destination",
          "\n.*so on either host can move.*: -cpu host,zicbom=off\n" },
    }, {
        "vector", CASE(), CASE(.options = "-cpu host,v=off"),
        { "v: on the source, not on the destination",
          "-cpu host,v=off\n" },
    }, {
        "vendor", CASE(),
        CASE(.options = "-cpu host,mvendorid=0x489,marchid=1,mimpid=2"),
        { "mvendorid: 0x0 on the source, 0x489 on the destination",
          "-cpu host,mvendorid=0x0,marchid=0x[0-9a-f]+,mimpid=0x" },
    },
};

void aia_add_shape_tests(void)
{
    static const AIACase timebase = CASE();

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("riscv-aia/shape/%s",
                                                cases[i].name);

        qtest_add_data_func(path, &cases[i], test_shape);
    }
    aia_add("riscv-aia/shape/timebase", &timebase, test_timebase);
}
