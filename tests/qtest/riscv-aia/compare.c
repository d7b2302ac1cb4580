/*
 * What streams hold of a guest, compared: two, or one and what the guest told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "framework.h"
#include "peer.h"

/*
 * A section is type 4, id, counted name, instance, version; it ends with 0x7e
 * and its id again.
 */
char *aia_find_section(char *p, char *end, const char *name, size_t *len)
{
    size_t name_len = strlen(name);

    for (; p + name_len + 14 < end; p++) {
        char footer[5] = { 0x7e };
        char *data = p + 6 + name_len + 8, *foot;

        if (p[0] != 4 || p[5] != name_len || memcmp(p + 6, name, name_len)) {
            continue;
        }
        memcpy(footer + 1, p + 1, 4);
        foot = memmem(data, end - data, footer, sizeof(footer));
        if (foot) {
            *len = foot - data;
            return data;
        }
    }
    return NULL;
}

bool aia_host_lacks_sstc(void)
{
    g_autofree char *info = NULL;

    return g_file_get_contents("/proc/cpuinfo", &info, NULL, NULL) &&
           strstr(info, "\nhart isa") && !strstr(info, "_sstc");
}

/*
 * Whether two sections hold the same.  Of a vCPU bits of sip may differ: the
 * external interrupt, which a software file asserts there and a hardware file
 * does not; the destination has not run and is on the former.  And without
 * Sstc that of the timer, which KVM asserts when its own timer is over, also
 * while the machine stands: the destination's is started when it runs.
 */
static bool same_section(const char *name, const char *a, const char *b,
                         size_t len)
{
    bool has_sip = g_str_equal(name, "cpu");
    /* Each of them once */
    bool may_seip = has_sip, may_stip = has_sip && aia_host_lacks_sstc();

    for (size_t i = 0; i < len; i++) {
        if (a[i] == b[i]) {
            continue;
        }
        if (may_seip && (a[i] ^ b[i]) == 0x02) {
            may_seip = false;
        } else if (may_stip && (a[i] ^ b[i]) == 0x20) {
            may_stip = false;
        } else {
            g_test_message("%s: byte %zu of %zu is %02x, was %02x", name,
                           i, len, (uint8_t)b[i], (uint8_t)a[i]);
            return false;
        }
    }
    return true;
}

/* In a vCPU's section: time, compare, state, after a version */
static char *find_timer(char *cpu, size_t len)
{
    static const char timer[] = "cpu/kvmtimer";
    char *p = memmem(cpu, len, timer, strlen(timer));

    g_assert_nonnull(p);
    return p + strlen(timer) + 4;
}

/* Without Sstc, whether KVM's own timer runs, which is not since it is over. */
static void forget_timer_state(char *cpu, size_t len)
{
    memset(find_timer(cpu, len) + 2 * 8, 0, 8);
}

/*
 * QEMU 10.0 to 10.2 reset neither the floating-point registers nor the timer
 * of a KVM vCPU (docs/qemu-facts.md).
 */
static void forget_what_survives_reset(char *cpu, size_t len)
{
    /* After x0 to x31: f0 to f31; time and compare */
    memset(cpu + 32 * 8, 0, 32 * 8);
    memset(find_timer(cpu, len), 0, 2 * 8);
}

/* Of a vCPU's section leaves our subsection: docs/wire-format.md */
static void keep_subsection(char **cpu, size_t *len)
{
    static const char name[] = "cpu/kvm-riscv";
    /* After a version: mp_state, num */
    char *p = memmem(*cpu, *len, name, strlen(name));

    g_assert_nonnull(p);
    *len -= p - *cpu;
    *cpu = p;
    p += strlen(name) + 4;
    g_assert_cmpuint(*len, >=, p + 8 - *cpu + ldl_be_p(p + 4) * 3 * 8);
    *len = p + 8 - *cpu + ldl_be_p(p + 4) * 3 * 8;
}

/*
 * Whether two hosts have the same in a vCPU: what QEMU has of it, and the
 * registers that the source sends.  Another kernel may have them in another
 * order, more of them, and not those that are as a reset leaves them.
 */
static bool same_on_hosts(char *a, size_t la, char *b, size_t lb)
{
    char *ra = a, *rb = b;
    size_t rest_a = la, rest_b = lb;
    uint32_t num_a, num_b;

    keep_subsection(&ra, &rest_a);
    keep_subsection(&rb, &rest_b);
    if (ra - a != rb - b || !same_section("cpu", a, b, ra - a)) {
        return false;
    }
    ra += strlen("cpu/kvm-riscv") + 4;
    rb += strlen("cpu/kvm-riscv") + 4;
    num_a = ldl_be_p(ra + 4);
    num_b = ldl_be_p(rb + 4);
    if (ldl_be_p(ra) != ldl_be_p(rb)) {
        g_test_message("cpu: MP state %u, was %u", ldl_be_p(rb), ldl_be_p(ra));
        return false;
    }
    ra += 8;
    rb += 8;
    for (uint32_t i = 0, j; i < num_a; i++) {
        uint64_t id = ldq_be_p(ra + i * 8);
        uint64_t was = ldq_be_p(ra + (num_a + i) * 8), is;

        for (j = 0; j < num_b && ldq_be_p(rb + j * 8) != id; j++) {
            continue;
        }
        is = j < num_b ? ldq_be_p(rb + (num_b + j) * 8)
                       : ldq_be_p(ra + (2 * num_a + i) * 8);
        if (is != was) {
            g_test_message("cpu: register 0x%" PRIx64 " is 0x%" PRIx64
                           ", was 0x%" PRIx64, id, is, was);
            return false;
        }
    }
    return true;
}

static bool same_sections(const char *file_a, const char *file_b,
                          const char *name, unsigned expected, bool reset,
                          bool mixed)
{
    g_autofree char *a = NULL, *b = NULL;
    char *pa, *pb;
    gsize len_a, len_b;
    unsigned count = 0;

    g_assert_true(g_file_get_contents(file_a, &a, &len_a, NULL));
    g_assert_true(g_file_get_contents(file_b, &b, &len_b, NULL));
    pa = a;
    pb = b;
    for (;;) {
        size_t la = 0, lb = 0;

        pa = aia_find_section(pa, a + len_a, name, &la);
        pb = aia_find_section(pb, b + len_b, name, &lb);
        if (!pa || !pb) {
            break;
        }
        if (aia_has_peer() && g_str_equal(name, "cpu")) {
            if (!same_on_hosts(pa, la, pb, lb)) {
                return false;
            }
            count++;
            continue;
        }
        if (mixed && g_str_equal(name, "cpu")) {
            keep_subsection(&pa, &la);
            keep_subsection(&pb, &lb);
        }
        if (la != lb) {
            g_test_message("%s is of %zu bytes, was of %zu", name, lb, la);
        }
        g_assert_cmpuint(la, ==, lb);
        if (reset && g_str_equal(name, "cpu")) {
            forget_what_survives_reset(pa, la);
            forget_what_survives_reset(pb, lb);
        }
        if (g_str_equal(name, "cpu") && aia_host_lacks_sstc()) {
            forget_timer_state(pa, la);
            forget_timer_state(pb, lb);
        }
        if (!same_section(name, pa, pb, la)) {
            return false;
        }
        count++;
    }
    g_assert_true(!pa && !pb);
    g_assert_cmpuint(count, ==, expected);
    return true;
}

static void compare_sections(const char *file_a, const char *file_b,
                             const char *name, unsigned expected, bool reset,
                             bool mixed)
{
    g_assert_true(same_sections(file_a, file_b, name, expected, reset, mixed));
}

static void compare_streams(const AIACase *c, const char *a, const char *b,
                            bool reset)
{
    unsigned sockets = aia_sockets(c);

    if (c->tcg) {
        /* One each for machine and supervisor level */
        compare_sections(a, b, "riscv_aplic", 2 * sockets, reset, false);
        compare_sections(a, b, "riscv_imsic", 2 * c->harts, reset, false);
        return;
    }
    if (g_str_equal(c->irqchip, "split")) {
        /*
         * QEMU's own, which a reset leaves as it was: docs/qemu-facts.md.
         * Once it does not, this fails.
         */
        g_assert_true(same_sections(a, b, "riscv_aplic", sockets, reset,
                                    c->mixed) == !reset);
    } else {
        /* The kernel has one only. */
        compare_sections(a, b, "riscv_aplic_kvm", 1, reset, c->mixed);
    }
    compare_sections(a, b, "riscv_imsic_kvm", c->harts, reset, c->mixed);
    compare_sections(a, b, "cpu", c->harts, reset, c->mixed);
}

void aia_compare_streams(const AIACase *c, const char *a, const char *b)
{
    compare_streams(c, a, b, false);
}

void aia_compare_reset(const AIACase *c, const char *fresh, const char *reset)
{
    compare_streams(c, fresh, reset, true);
}

/* Reads one 32-bit field of a section. */
static uint32_t get_field(char **p)
{
    uint32_t val = ldl_be_p(*p);

    *p += sizeof(val);
    return val;
}

/* Words that are not in the stream are 0. */
static void check_words(const char *what, char **p, uint32_t num_words,
                        const uint64_t *should)
{
    for (uint32_t w = 0; w < AIA_FILE_WORDS; w++) {
        uint32_t is = w < num_words ? get_field(p) : 0;
        uint32_t s = should[w / 2] >> w % 2 * 32;

        if (is != s) {
            g_test_message("%s, identities from %u on: 0x%08x, not 0x%08x",
                           what, w * 32, is, s);
        }
        g_assert_cmphex(is, ==, s);
    }
}

void aia_check_told(const char *stream, const CheckFiles *files)
{
    g_autofree char *text = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(stream, &text, &len, NULL));
    g_assert_cmpuint(files->num, <=, ARRAY_SIZE(files->file));
    for (unsigned i = 0; i < files->num; i++) {
        const CheckFile *file = &files->file[i];
        char *p = text;
        uint32_t num_words;
        size_t bytes;

        QEMU_BUILD_BUG_ON(2 * ARRAY_SIZE(file->eip) != AIA_FILE_WORDS);

        do {
            p = aia_find_section(p, text + len, "riscv_imsic_kvm", &bytes);
            g_assert_nonnull(p);
        } while (ldl_be_p(p) != file->hart);
        g_test_message("file of hart %" PRIu64 " in the stream", file->hart);
        get_field(&p);
        g_assert_cmphex(get_field(&p), ==, file->eidelivery);
        g_assert_cmphex(get_field(&p), ==, file->eithreshold);
        num_words = get_field(&p);
        g_assert_cmpuint(num_words, <=, AIA_FILE_WORDS);
        g_assert_cmpuint(bytes, ==, (4 + 2 * num_words) * sizeof(uint32_t));
        check_words("eip", &p, num_words, file->eip);
        check_words("eie", &p, num_words, file->eie);
    }
}
