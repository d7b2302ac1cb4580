/*
 * Streams with a field that no source would send
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The layout of the sections is that of docs/wire-format.md.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/since.h"
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "streams.h"

typedef enum Where {
    APLIC, IMSIC, REGS, SHAPE, REGS_VERSION, SHAPE_VERSION, SECTION_VERSION,
    SECTION_INSTANCE,
} Where;

static const char *const section_name[] = {
    [APLIC] = "riscv_aplic_kvm",
    [IMSIC] = "riscv_imsic_kvm",
    [REGS] = "cpu",
    [SHAPE] = "riscv_aia_shape",
    [REGS_VERSION] = "cpu",
    [SHAPE_VERSION] = "riscv_aia_shape",
    [SECTION_VERSION] = "riscv_aplic_kvm",
    [SECTION_INSTANCE] = "riscv_imsic_kvm",
};

/* Where the fields of a section begin; of hart 1, where there is one each. */
static size_t base(const AIAStream *s, Where where)
{
    unsigned nth = where == IMSIC || where == REGS;
    const AIASection *section = aia_stream_find(s, section_name[where], nth);

    switch (where) {
    case REGS:
        return aia_stream_subsection(s, section, "cpu/kvm-riscv");
    case REGS_VERSION:
        return aia_stream_subsection(s, section, "cpu/kvm-riscv") - 4;
    case SHAPE_VERSION:
    case SECTION_VERSION:
        return section->data - 4;
    case SECTION_INSTANCE:
        return section->data - 8;
    default:
        return section->data;
    }
}

typedef enum Array {
    NONE,
    PENDING, ENABLED, INPUT, USUAL_TARGET, SOURCES, NUM_SENT, SOURCECFG, TARGET,
    EIP, EIE,
    ID, VALUE, RESET,
    HART_ID, IMSIC_ADDR, NUM_USED, USED, SATP, NUM_CONFIG, CONFIG_ID,
    CONFIG_VALUE, CPU_VERSION,
} Array;

/* Offset of an array, and the length of an element of it. */
static size_t array(const AIAStream *s, Where where, Array which,
                    unsigned *bytes)
{
    const uint8_t *p = s->bytes + base(s, where);
    uint32_t sources = ldl_be_p(p);
    uint32_t words = DIV_ROUND_UP(sources + 1, 32);
    uint32_t num = ldl_be_p(p + 4), file_words = ldl_be_p(p + 12);
    uint32_t harts = ldl_be_p(p + 48);
    size_t used = 52 + 16 * harts, sent = 12 + 12 * words, config;

    *bytes = which == SOURCECFG ? 1 :
             which >= ID && which != NUM_USED && which != NUM_CONFIG &&
             which != CPU_VERSION ? 8 : 4;
    switch (which) {
    case NONE:
        return 0;
    case PENDING:
    case ENABLED:
    case INPUT:
        return 12 + (which - PENDING) * 4 * words;
    case USUAL_TARGET:
    case SOURCES:
        return sent + (which - USUAL_TARGET) * 4;
    case NUM_SENT:
    case SOURCECFG:
    case TARGET:
        sent += 4 + 4 * words;
        return which == NUM_SENT ? sent : which == SOURCECFG ? sent + 4 :
               sent + 4 + ldl_be_p(p + sent);
    case EIP:
    case EIE:
        return 16 + (which - EIP) * 4 * file_words;
    case ID:
    case VALUE:
    case RESET:
        return 8 + (which - ID) * 8 * num;
    case HART_ID:
    case IMSIC_ADDR:
        return 52 + (which - HART_ID) * 8 * harts;
    case NUM_USED:
    case USED:
        return used + (which - NUM_USED) * 4;
    case SATP:
    case NUM_CONFIG:
    case CONFIG_ID:
    case CONFIG_VALUE:
    case CPU_VERSION:
        used += 4 + 8 * ldl_be_p(p + used);
        config = used + 12;
        return which == SATP ? used : which == NUM_CONFIG ? used + 8 :
               config + (which - CONFIG_ID) * 8 * ldl_be_p(p + config - 4);
    }
    g_assert_not_reached();
}

/**
 * Change - of one field, to a value that makes no sense
 * @offset: into the section, or the element of @array
 * @bytes: length of a field outside of arrays, 4 if not given
 * @value: what it is to be; ORed to what it is if @bits
 * @error: regular expression that matches what the destination says of it
 */
typedef struct Change {
    Where where;
    Array array;
    unsigned offset;
    unsigned bytes;
    uint64_t value;
    bool bits;
    const char *error;
} Change;

/* Register ids of KVM for RISC-V: architecture, size, type */
#define REG(size, type) (0x8000000000000000 | (uint64_t)(size) << 52 | \
                         (uint64_t)(type) << 24)

/* VMSTATE_UINT32_EQUAL has told what differs until then. */
#if QEMU_SINCE(11, 1)
#define UNEQUAL(hint) "[0-9a-f]+ != [0-9a-f]+"
#else
#define UNEQUAL(hint) hint
#endif

static const Change changes[] = {
    { APLIC, .value = 0, .error = UNEQUAL("APLIC sources must") },
    { APLIC, .value = 97, .error = UNEQUAL("APLIC sources must") },
    { APLIC, .value = UINT32_MAX, .error = UNEQUAL("APLIC sources must") },
    { APLIC, .offset = 4, .value = 0x200, .bits = true, .error = "domaincfg" },
    { APLIC, .offset = 8, .value = 0x1000, .bits = true, .error = "genmsi" },
    { APLIC, SOURCECFG, 0, .value = 8, .bits = true,
      .error = "source [0-9]+: sourcecfg" },
    { APLIC, SOURCECFG, 1, .value = 0x80, .bits = true,
      .error = "source [0-9]+: sourcecfg" },
    { APLIC, TARGET, 1, .value = 0x800, .bits = true,
      .error = "source [0-9]+: target" },
    { APLIC, USUAL_TARGET, 0, .value = 0x800, .bits = true,
      .error = "source [0-9]+: target" },
    { APLIC, SOURCES, 0, .value = 1, .bits = true,
      .error = "number of APLIC sources with" },
    { APLIC, SOURCES, 3, .value = 2, .bits = true,
      .error = "number of APLIC sources with" },
    { APLIC, NUM_SENT, 0, .value = 0,
      .error = "number of APLIC sources with" },
    { APLIC, NUM_SENT, 0, .value = UINT32_MAX,
      .error = "number of APLIC sources with" },
    { APLIC, PENDING, 0, .value = 1, .bits = true, .error = "outside of 1" },
    { APLIC, PENDING, 3, .value = 2, .bits = true, .error = "outside of 1" },
    { APLIC, ENABLED, 0, .value = 1, .bits = true, .error = "outside of 1" },
    { APLIC, ENABLED, 3, .value = 0x80000000, .bits = true,
      .error = "outside of 1" },
    { APLIC, INPUT, 0, .value = 1, .bits = true, .error = "outside of 1" },
    { APLIC, INPUT, 3, .value = 2, .bits = true, .error = "outside of 1" },

    { IMSIC, .value = 0, .error = UNEQUAL("hart ids must be the same") },
    { IMSIC, .value = 2, .error = UNEQUAL("hart ids must be the same") },
    { IMSIC, .offset = 4, .value = 2, .error = "hart 1: eidelivery" },
    { IMSIC, .offset = 4, .value = 0x40000000, .error = "hart 1: eidelivery" },
    { IMSIC, .offset = 8, .value = 2048, .error = "hart 1: eithreshold" },
    { IMSIC, .offset = 8, .value = UINT32_MAX,
      .error = "hart 1: eithreshold" },
    { IMSIC, .offset = 12, .value = 9,
      .error = "number of words of an interrupt file" },
    { IMSIC, .offset = 12, .value = UINT32_MAX,
      .error = "number of words of an interrupt file" },
    { IMSIC, EIP, 0, .value = 1, .bits = true, .error = "hart 1: identity 0" },
    { IMSIC, EIE, 0, .value = 1, .bits = true, .error = "hart 1: identity 0" },

    { REGS, .value = 2, .error = "MP state 2 of hart 1" },
    { REGS, .value = UINT32_MAX, .error = "MP state 4294967295 of hart 1" },
    { REGS, .offset = 4, .value = 4097, .error = "number of KVM registers" },
    { REGS, .offset = 4, .value = UINT32_MAX,
      .error = "number of KVM registers" },
    { REGS, .offset = 4, .value = 0, .error = "" },
    { REGS, .offset = 4, .value = 1, .error = "" },
    { REGS, .offset = 4, .value = 4096, .error = "" },
    /* CONFIG isa, ISA_EXT, SBI_EXT, CORE pc, TIMER compare */
    { REGS, ID, 0, .value = REG(3, 1), .error = "does not belong" },
    { REGS, ID, 0, .value = REG(3, 7), .error = "does not belong" },
    { REGS, ID, 0, .value = REG(3, 8), .error = "does not belong" },
    { REGS, ID, 0, .value = REG(3, 2), .error = "does not belong" },
    { REGS, ID, 0, .value = REG(3, 4) + 2, .error = "does not belong" },
    /* CORE mode with 32 and 128 bits, twice, of ARM, of no type */
    { REGS, ID, 0, .value = REG(2, 2) + 32, .error = "register 0x802" },
    { REGS, ID, 0, .value = REG(4, 2) + 32, .error = "register 0x804" },
    { REGS, ID, 0, .value = REG(3, 2) + 32, .error = "there twice" },
    { REGS, ID, 0, .value = 0x6030000000100000, .error = "register 0x603" },
    { REGS, ID, 0, .value = REG(3, 0xff), .error = "register 0x803" },
    { REGS, VALUE, 0, .value = 1ULL << 32, .error = "cannot hold" },
    { REGS, RESET, 0, .value = 1ULL << 32, .error = "cannot hold" },
    { REGS_VERSION, .value = 2, .error = "too new" },

    { SHAPE, .offset = 0, .value = 1, .error = "kernel-irqchip: split" },
    { SHAPE, .offset = 8, .value = 97, .error = "sources: 97 on the source" },
    { SHAPE, .offset = 12, .value = 63, .error = "identities: 63 on" },
    { SHAPE, .offset = 16, .value = 1, .error = "group index bits: 1 on" },
    { SHAPE, .offset = 24, .value = 3, .error = "hart index bits: 3 on" },
    { SHAPE, .offset = 28, .value = 2, .error = "guest index bits: 2 on" },
    { SHAPE, .offset = 32, .bytes = 8, .value = 0xc000000,
      .error = "APLIC address: 0xc000000 on" },
    { SHAPE, .offset = 40, .bytes = 8, .value = 1000000,
      .error = "timer frequency.*: 1000000 on" },
    { SHAPE, .offset = 48, .value = 4097, .error = "number of harts" },
    { SHAPE, .offset = 48, .value = 0, .error = "" },
    { SHAPE, HART_ID, 1, .value = 5, .error = "hart id: 5 on" },
    { SHAPE, IMSIC_ADDR, 1, .value = 0x28002000,
      .error = "address of hart 1: 0x28002000 on" },
    { SHAPE, NUM_USED, 0, .value = 4097, .error = "number of KVM registers" },
    { SHAPE, SATP, 0, .value = 11, .error = "paging: the guest uses sv64" },
    { SHAPE, NUM_CONFIG, 0, .value = 4097,
      .error = "number of registers that configure" },
    { SHAPE, NUM_CONFIG, 0, .value = 0, .error = "" },
    /* Before CONFIG isa: twice, CSR sstatus, 32 bits, of ARM */
    { SHAPE, CONFIG_ID, 1, .value = REG(3, 1), .error = "there twice" },
    { SHAPE, CONFIG_ID, 0, .value = REG(3, 3), .error = "does not configure" },
    { SHAPE, CONFIG_ID, 0, .value = REG(2, 1), .error = "does not configure" },
    { SHAPE, CONFIG_ID, 0, .value = 0x6030000001000000,
      .error = "does not configure" },
    /* CONFIG zicbom_block_size, mvendorid */
    { SHAPE, CONFIG_VALUE, 1, .value = 32,
      .error = "block size of zicbom: 32 on the source" },
    { SHAPE, CONFIG_VALUE, 2, .value = 0x489,
      .error = "mvendorid: 0x489 on the source, 0x0 on" },
    { SHAPE, CPU_VERSION, 0, .value = 9,
      .error = "section cpu of QEMU: version 9 on the source, 1" },
    { SHAPE, CPU_VERSION, 0, .value = 99,
      .error = "section cpu of QEMU: version 99 on the source, 1" },
    { SHAPE_VERSION, .value = 3, .error = "an older version of this fork" },
    { SHAPE_VERSION, .value = 5, .error = "unsupported version 5" },

    { SECTION_VERSION, .value = 3, .error = "unsupported version 3" },
    { SECTION_INSTANCE, .value = 7, .error = "Unknown (savevm )?section" },
};

static void change(AIAStream *s, const Change *c)
{
    unsigned bytes;
    size_t at = base(s, c->where) + array(s, c->where, c->array, &bytes);
    uint64_t value = c->value;

    bytes = c->array ? bytes : c->bytes ?: 4;
    at += c->array ? c->offset * bytes : c->offset;
    if (c->bits) {
        value |= ldn_be_p(s->bytes + at, bytes);
    }
    g_assert_cmphex(value, !=, ldn_be_p(s->bytes + at, bytes));
    stn_be_p(s->bytes + at, bytes, value);
}

static void tell_change(const Change *c)
{
    g_test_message("%s, array %d, %u: 0x%" PRIx64, section_name[c->where],
                   c->array, c->offset, c->value);
}

static void check_refusal(const Change *c, const char *words)
{
    if (!g_regex_match_simple(c->error, words, 0, 0)) {
        g_test_message("not refused for \"%s\": %s", c->error, words);
        g_test_fail();
    }
}

/* Loads @uri; returns what the destination said if it refused it. */
static char *refused(const char *uri)
{
    char *words = NULL;
    AIAWatched to = { 0 };

    aia_watched_start(&to, &stream_tick, stream_tick.to, "-S -incoming defer");
    aia_incoming(to.qts, uri);
    if (!aia_watched_loaded(&to)) {
        words = aia_watched_words(&to);
    }
    aia_watched_quit(&to);
    return words;
}

/*
 * A destination ends with an error.  The sections of the devices are enough
 * for that.
 */
void test_incoming(void)
{
    unsigned step = g_test_slow() ? 1 : 11;
    g_autofree char *first = NULL;
    AIAStream *whole;
    AIAFiles f;

    aia_files_init(&f);
    whole = make_stream(&f);
    aia_stream_write(whole, f.a, false);
    first = refused(f.uri_a);
    g_assert_cmpstr(first, ==, NULL);
    for (int i = 0; i < ARRAY_SIZE(changes); i += step) {
        AIAStream *s = aia_stream_copy(whole);
        g_autofree char *words = NULL;

        tell_change(&changes[i]);
        change(s, &changes[i]);
        aia_stream_write(s, f.a, false);
        words = refused(f.uri_a);
        check_refusal(&changes[i], words ?: "nothing, but loaded it");
        aia_stream_free(s);
    }
    aia_stream_free(whole);
    aia_files_free(&f);
}

/* Length of the stream of the only snapshot */
static size_t snapshot_len(QTestState *qts)
{
    QDict *rsp = qtest_qmp(qts, "{'execute': 'query-named-block-nodes'}");
    QListEntry *entry;
    size_t len = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *image = qdict_get_qdict(qobject_to(QDict,
                                                  qlist_entry_obj(entry)),
                                       "image");

        if (qdict_haskey(image, "snapshots")) {
            QObject *first = qlist_peek(qdict_get_qlist(image, "snapshots"));

            len = qdict_get_int(qobject_to(QDict, first), "vm-state-size");
        }
    }
    qobject_unref(rsp);
    return len;
}

/* Where in an image the stream of its snapshot is, which is in one piece. */
static size_t find_snapshot(const AIAFiles *f, size_t len)
{
    static const char magic[] = "QEVM\0\0";
    g_autofree char *image = NULL;
    gsize image_len;
    char *p;

    g_assert_true(g_file_get_contents(f->disk, &image, &image_len, NULL));
    p = memmem(image, image_len, magic, sizeof(magic));
    g_assert_nonnull(p);
    g_assert_cmpuint(len, <=, image + image_len - p);
    g_assert_true(g_file_set_contents(f->a, p, len, NULL));
    return p - image;
}

static void write_at(const char *file, const AIAStream *s, size_t at)
{
    int fd = open(file, O_WRONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, s->bytes, s->len, at), ==, s->len);
    close(fd);
}

static char *load_snapshot(AIAWatched *w)
{
    g_autofree char *said = qtest_hmp(w->qts, "loadvm snap");
    g_autofree char *words = aia_watched_words(w);

    return g_strconcat(said, words, NULL);
}

/*
 * One process refuses snapshots that are changed where they lie in the image,
 * and takes the right one after them.  It is not run then: pflash would crash
 * (docs/qemu-facts.md).
 */
void test_fields(void)
{
    AIAWatched w = { 0 };
    g_autofree char *saved = NULL, *last = NULL;
    AIAStream *whole, *again;
    AIAFiles f;
    size_t at;

    aia_files_init(&f);
    aia_watched_start(&w, &stream_tick, stream_tick.from, "");
    aia_tick_wait(w.qts, &stream_tick, 1);
    aia_disk_add(w.qts, f.disk);
    aia_stop(w.qts);
    saved = qtest_hmp(w.qts, "savevm snap");
    g_assert_cmpstr(saved, ==, "");
    at = find_snapshot(&f, snapshot_len(w.qts));
    whole = aia_stream_read(f.a);
    for (int i = 0; i < ARRAY_SIZE(changes); i++) {
        AIAStream *s = aia_stream_copy(whole);
        g_autofree char *words = NULL;

        tell_change(&changes[i]);
        change(s, &changes[i]);
        write_at(f.disk, s, at);
        words = load_snapshot(&w);
        check_refusal(&changes[i], strstr(words, "Error:") ? words
                                 : "nothing, but loaded it");
        aia_stream_free(s);
    }
    write_at(f.disk, whole, at);
    last = load_snapshot(&w);
    g_assert_null(strstr(last, "Error"));
    aia_disk_remove(w.qts);
    aia_save(w.qts, f.uri_b);
    again = aia_stream_read(f.b);
    check_same_aia(whole, again);
    aia_stream_free(again);
    aia_stream_free(whole);
    aia_watched_quit(&w);
    aia_files_free(&f);
}
