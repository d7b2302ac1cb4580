/*
 * "info pic" of a guest with the AIA in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"

static void assert_says(const char *text, const char *pattern)
{
    if (!g_regex_match_simple(pattern, text, G_REGEX_MULTILINE, 0)) {
        g_test_message("'%s' is not in what follows", pattern);
        g_test_message("%s", text);
        g_test_fail();
    }
}

/*
 * What tick.c has set up shows while it runs, and looking does not change it.
 * Each hart has something pending that is not enabled.
 */
static void test_info(const void *opaque)
{
    const AIACase *c = opaque;
    QTestState *qts = aia_start(c, c->from, "-S");
    g_autofree char *running = NULL, *stopped = NULL, *again = NULL;

    aia_tick_boot(qts, c);
    aia_tick_wait(qts, c, 2);
    running = qtest_hmp(qts, "info pic");
    assert_says(running, "^APLIC: domaincfg 0x80000104 \\(on\\), genmsi "
                "0x00000000, 96 sources");
    /* It is pending for the moment between coming and going to its file. */
    assert_says(running, "^ +60  edge rise +0 +\\d +1 +\\d +8\\r?$");
    assert_says(running, "^ +21  edge rise +0 +1 +0 ");
    for (unsigned hart = 0; hart < c->harts; hart++) {
        g_autofree char *line =
            g_strdup_printf("^IMSIC of hart %u: eidelivery 1, eithreshold %u",
                            hart, 200 + hart);
        g_autofree char *pending =
            g_strdup_printf("^  pending:.*\\b%u\\b", 24 + hart % 8);

        assert_says(running, line);
        assert_says(running, pending);
    }
    assert_says(running, "^  enabled: 1 4 6 8-23 ");
    if (!g_str_equal(c->from, "emul")) {
        assert_says(running, "^  pending:.* 50 .*\\r?\\n  enabled:.* 40 ");
    }

    aia_stop(qts);
    stopped = qtest_hmp(qts, "info pic");
    again = qtest_hmp(qts, "info pic");
    g_assert_cmpstr(stopped, ==, again);
    aia_cont(qts);
    aia_tick_wait(qts, c, 2);
    qtest_quit(qts);
}

/* What is in hardware is known whole, also where it has nothing there. */
static void test_lower(void)
{
    static const AIACase c = {
        .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
        .harts = 2,
    };
    QTestState *qts = aia_start(&c, c.from, "-S");
    g_autofree char *text = NULL;

    qtest_writeq(qts, AIA_REPORT + offsetof(TickReport, no_upper), 1);
    aia_cont(qts);
    aia_tick_wait(qts, &c, 2);
    text = qtest_hmp(qts, "info pic");
    assert_says(text, "^IMSIC of hart 1: eidelivery 1, eithreshold 201\\r?$");
    aia_tick_wait(qts, &c, 2);
    qtest_quit(qts);
}

static void add(const char *mode, const char *irqchip)
{
    AIACase c = {
        .guest = "tick", .from = mode, .to = mode, .irqchip = irqchip,
        .harts = 2,
    };
    g_autofree char *path = g_strdup_printf("riscv-aia/info/%s/%s", mode,
                                            irqchip);

    aia_add(path, &c, test_info);
}

void aia_add_info_tests(void)
{
    add("auto", "on");
    add("emul", "split");
    qtest_add_func("riscv-aia/info/lower", test_lower);
}
