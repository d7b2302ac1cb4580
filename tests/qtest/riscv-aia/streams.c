/*
 * Streams that no source would send
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The stream of a guest of tests/guests/tick.c is changed and loaded: the
 * destination must refuse it with an error or run a guest that is right.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migration/migration-qmp.h"
#include "streams.h"

const AIACase stream_tick = {
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = 2, .options = "-m 16M",
};

AIAStream *make_stream(AIAFiles *f)
{
    QTestState *qts = aia_start(&stream_tick, stream_tick.from, "");
    AIAStream *s;

    aia_tick_wait(qts, &stream_tick, 1);
    aia_stop(qts);
    migrate_qmp(qts, NULL, f->uri_a, NULL, "{}");
    wait_for_migration_complete(qts);
    qtest_quit(qts);
    s = aia_stream_read(f->a);
    return s;
}

/* The section that a load of @a leaves, which is the last, or NULL. */
static const AIASection *last_of(const AIAStream *a, const AIASection *like)
{
    const AIASection *last = NULL;

    for (unsigned i = 0; i < a->num; i++) {
        if (g_str_equal(a->sections[i].name, like->name) &&
            a->sections[i].instance == like->instance) {
            last = &a->sections[i];
        }
    }
    return last;
}

void check_same_aia(const AIAStream *a, const AIAStream *b)
{
    for (unsigned i = 0; i < b->num; i++) {
        const AIASection *x = &b->sections[i];
        const AIASection *y = last_of(a, x);

        if (g_str_equal(x->name, "riscv_aplic_kvm") ||
            g_str_equal(x->name, "riscv_imsic_kvm")) {
            g_assert_nonnull(y);
            g_assert_cmpmem(b->bytes + x->data, x->end - 5 - x->data,
                            a->bytes + y->data, y->end - 5 - y->data);
        }
    }
}

/* Of a section riscv_imsic_kvm: word @w of eip (0) or eie (1) */
static uint32_t file_word(const uint8_t *file, unsigned which, uint32_t w)
{
    uint32_t num = ldl_be_p(file + 12);

    return w < num ? ldl_be_p(file + 16 + 4 * (which * num + w)) : 0;
}

/*
 * The interrupt files are as in @a, except that more may be pending: by what
 * was changed sources or devices may have sent something.
 */
static void check_files(const AIAStream *a, const AIAStream *b)
{
    for (unsigned hart = 0; hart < stream_tick.harts; hart++) {
        const AIASection *x = aia_stream_find(b, "riscv_imsic_kvm", hart);
        const AIASection *y = last_of(a, x);
        const uint8_t *saved = b->bytes + x->data;
        const uint8_t *loaded = y ? a->bytes + y->data : NULL;

        g_assert_nonnull(y);
        g_assert_cmpmem(saved, 12, loaded, 12);
        for (uint32_t w = 0; w < AIA_FILE_WORDS; w++) {
            g_assert_cmphex(file_word(loaded, 0, w) & ~file_word(saved, 0, w),
                            ==, 0);
            g_assert_cmphex(file_word(loaded, 1, w), ==,
                            file_word(saved, 1, w));
        }
    }
}

/*
 * Sections
 */

static unsigned index_of(const AIAStream *s, const char *name, unsigned nth)
{
    return aia_stream_find(s, name, nth) - s->sections;
}

static void drop(AIAStream *s, unsigned i)
{
    g_free(s->sections[i].name);
    s->num--;
    memmove(&s->sections[i], &s->sections[i + 1],
            (s->num - i) * sizeof(*s->sections));
}

/* Has the section @i follow that which is at @to without it. */
static void move(AIAStream *s, unsigned i, unsigned to)
{
    AIASection section = s->sections[i];

    memmove(&s->sections[i], &s->sections[i + 1],
            (s->num - 1 - i) * sizeof(*s->sections));
    memmove(&s->sections[to + 1], &s->sections[to],
            (s->num - 1 - to) * sizeof(*s->sections));
    s->sections[to] = section;
}

static void repeat(AIAStream *s, unsigned i)
{
    s->sections = g_renew(AIASection, s->sections, s->num + 1);
    s->sections[s->num] = s->sections[i];
    s->sections[s->num].name = g_strdup(s->sections[i].name);
    s->num++;
}

/*
 * Loads a changed stream: either it is refused, or the machine is as the
 * stream says.  Where the guest can find itself whole then, it must go on.
 */
static void load(const AIAStream *s, const AIAFiles *f, bool whole)
{
    g_autofree char *words = NULL;
    AIAStream *saved;
    AIAWatched to = { 0 };

    aia_watched_start(&to, &stream_tick, stream_tick.to, "-S -incoming defer");
    aia_incoming(to.qts, f->uri_a);
    if (!aia_watched_loaded(&to)) {
        words = aia_watched_words(&to);
        g_test_message("refused: %s", words);
        g_assert_true(g_regex_match_simple("load of migration failed|"
                                           "error while loading state|"
                                           "the source sends no section|"
                                           "Putting registers after init",
                                           words, 0, 0));
    } else {
        aia_save(to.qts, f->uri_b);
        saved = aia_stream_read(f->b);
        (whole ? check_same_aia : check_files)(s, saved);
        aia_stream_free(saved);
        qtest_qmp_assert_success(to.qts, "{'execute': 'cont'}");
        if (whole) {
            aia_tick_wait(to.qts, &stream_tick, 1);
        }
        qtest_qmp_assert_success(to.qts, "{'execute': 'stop'}");
    }
    aia_watched_quit(&to);
}

/* Every section of ours is dropped, doubled, and loaded last. */
static void test_sections(void)
{
    static const struct {
        const char *name;
        unsigned nth;
    } ours[] = {
        { "riscv_aia_shape" }, { "riscv_aplic_kvm" }, { "riscv_imsic_kvm" },
        { "riscv_imsic_kvm", 1 }, { "cpu" }, { "cpu", 1 },
    };
    AIAStream *whole;
    AIAFiles f;

    aia_files_init(&f);
    whole = make_stream(&f);
    for (unsigned i = 0; i < 3 * ARRAY_SIZE(ours);
         i += g_test_slow() ? 1 : 4) {
        AIAStream *s = aia_stream_copy(whole);
        unsigned at = index_of(s, ours[i / 3].name, ours[i / 3].nth);

        g_test_message("%s %u %s", ours[i / 3].name, ours[i / 3].nth,
                       i % 3 == 0 ? "dropped" :
                       i % 3 == 1 ? "doubled" : "last");
        switch (i % 3) {
        case 0:
            drop(s, at);
            break;
        case 1:
            repeat(s, at);
            break;
        case 2:
            move(s, at, s->num - 1);
            break;
        }
        aia_stream_write(s, f.a, true);
        load(s, &f, true);
        aia_stream_free(s);
    }
    aia_stream_free(whole);
    aia_files_free(&f);
}

/*
 * Anything
 */

/* By default the same each time, so that a failure is one of the fork. */
static GRand *random_source;

static void flip(uint8_t *bytes, size_t from, size_t to)
{
    size_t at = from + g_rand_int_range(random_source, 0, to - from);
    unsigned bit = g_rand_int_range(random_source, 0, 8);

    g_test_message("bit %u of byte %zu", bit, at);
    bytes[at] ^= 1 << bit;
}

/*
 * Where the bits of @section end that may be flipped.  What comes behind QEMU
 * takes, and then aborts (docs/qemu-facts.md): a length of a block of memory
 * that is too much, a machine that was suspended before it was saved, which
 * comes in globalstate after a length and the name of the state.  Nor would
 * anything tell that a page of memory is not what it was.
 */
static size_t end_of_flips(const AIASection *section)
{
    if (g_str_equal(section->name, "ram") ||
        g_str_equal(section->name, "fw_cfg")) {
        return section->start;
    }
    if (g_str_equal(section->name, "globalstate")) {
        return section->data + 4 + 32 + 1;
    }
    return section->end;
}

/*
 * Bits are flipped in the states of devices, and in what comes before.  pflash
 * crashes QEMU if it is there twice (docs/qemu-facts.md).
 */
static void change_anything(AIAStream *s)
{
    unsigned j = g_rand_int_range(random_source, 0, s->num);
    unsigned i;
    size_t end;

    do {
        i = g_rand_int_range(random_source, 0, s->num);
    } while (g_str_equal(s->sections[i].name, "pflash_cfi01"));
    switch (g_rand_int_range(random_source, 0, 10)) {
    case 0:
        g_test_message("section %s dropped", s->sections[i].name);
        drop(s, i);
        break;
    case 1:
        g_test_message("section %s doubled", s->sections[i].name);
        repeat(s, i);
        break;
    case 2:
        g_test_message("section %s moved from %u to %u", s->sections[i].name,
                       i, j);
        move(s, i, j);
        break;
    case 3:
        /* Magic and version: QEMU allocates what comes next says. */
        flip(s->bytes, 0, 8);
        break;
    default:
        end = end_of_flips(&s->sections[i]);
        if (end > s->sections[i].start) {
            flip(s->bytes, s->sections[i].start, end);
        }
        break;
    }
}

static void cut(const AIAFiles *f)
{
    struct stat st;

    g_assert_cmpint(stat(f->a, &st), ==, 0);
    st.st_size = g_rand_int_range(random_source, 0, st.st_size);
    g_test_message("cut to %" PRIu64 " bytes", (uint64_t)st.st_size);
    g_assert_cmpint(truncate(f->a, st.st_size), ==, 0);
}

static void test_random(void)
{
    unsigned num = g_test_slow() ? 500 : 8;
    AIAStream *whole;
    AIAFiles f;

    random_source = g_rand_new_with_seed(g_test_slow() ? g_test_rand_int() : 1);
    aia_files_init(&f);
    whole = make_stream(&f);
    for (unsigned n = 0; n < num; n++) {
        AIAStream *s = aia_stream_copy(whole);
        unsigned changes = g_rand_int_range(random_source, 0, 4);

        g_test_message("stream %u", n);
        for (unsigned i = 0; i < changes; i++) {
            change_anything(s);
        }
        aia_stream_write(s, f.a, true);
        if (!changes) {
            cut(&f);
        }
        load(s, &f, false);
        aia_stream_free(s);
    }
    aia_stream_free(whole);
    aia_files_free(&f);
    g_clear_pointer(&random_source, g_rand_free);
}

void aia_add_stream_tests(void)
{
    qtest_add_func("riscv-aia/streams/fields", test_fields);
    qtest_add_func("riscv-aia/streams/incoming", test_incoming);
    qtest_add_func("riscv-aia/streams/sections", test_sections);
    qtest_add_func("riscv-aia/streams/random", test_random);
}
