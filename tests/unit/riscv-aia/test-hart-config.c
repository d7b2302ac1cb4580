/*
 * What CPU a guest needs, and whether another host has it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * RISCV_KVM_HEADERS names headers of kernels (asm/kvm.h), separated by colons:
 * each extension in there must have its rule.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "target/riscv/kvm/hart-config.h"

#define CONFIG(index) (0x8030000001000000ULL | (index))
#define ISA(index)    (0x8030000007000000ULL | (index))
#define SBI(index)    (0x8030000008000000ULL | (index))
#define VLENB         0x8030000009000004ULL

enum { ZICBOM_BLOCK = 1, MVENDORID = 2, SATP_MODE = 6 };
enum {
    EXT_A = 0, EXT_SSTC = 8, EXT_ZICBOM = 11, EXT_ZBB = 13, EXT_V = 15,
    EXT_ZBA = 17, EXT_SMNPM = 62, EXT_SVADE = 64, EXT_SVADU = 65,
    EXT_ZAAMO = 69, EXT_ZICFISS = 79, EXT_UNKNOWN = 200,
};
enum { SBI_TIME = 1, SBI_FWFT = 12 };
enum { ON = RISCV_EXT_ON, TOLD = RISCV_EXT_ON | RISCV_EXT_TOLD };

/*
 * Rule - one source and one destination
 * @regs: id, value on the source, value on the destination; NONE if not listed
 * @all, @advice, @rest: as of riscv_hart_config_compare()
 * @off: what must have been switched off
 */
#define NONE UINT64_MAX
typedef struct Rule {
    const char *name;
    uint64_t regs[4][3];
    const char *all;
    const char *advice;
    const char *rest;
    uint64_t off;
} Rule;

static const Rule rules[] = {
    { "same", { { CONFIG(SATP_MODE), 9, 9 }, { ISA(EXT_ZBB), TOLD, TOLD },
                { SBI(SBI_TIME), TOLD, TOLD } } },
    { "lacks", { { ISA(EXT_ZBB), TOLD, 0 } },
      "zbb: on the source, not on the destination", ",zbb=off" },
    { "not-listed", { { ISA(EXT_ZBB), TOLD, NONE } },
      "zbb: on the source, not on the destination", ",zbb=off" },
    /* "-cpu host,zbb=off", which KVM cannot do */
    { "not-told", { { ISA(EXT_ZBB), ON, NONE } }, "", ",zbb=off" },
    { "more", { { ISA(EXT_ZBB), NONE, TOLD } }, "", ",zbb=off" },
    { "all-named", { { ISA(EXT_ZICBOM), TOLD, 0 }, { ISA(EXT_ZBB), TOLD, 0 },
                     { ISA(EXT_ZBA), 0, TOLD } },
      "zicbom: on the source, not on the destination; zbb: on the source, not "
      "on the destination", ",zicbom=off,zbb=off,zba=off" },
    /* No property switches A off. */
    { "letter", { { ISA(EXT_A), TOLD, 0 } },
      "a: on the source, not on the destination", "", "a" },
    { "unknown", { { ISA(EXT_UNKNOWN), TOLD, 0 } },
      "KVM register 0x80300000070000c8: on the source, not on the destination",
      "", "KVM register 0x80300000070000c8" },
    { "unknown-more", { { ISA(EXT_UNKNOWN), NONE, TOLD } },
      "", "", "", ISA(EXT_UNKNOWN) },
    { "unknown-stays", { { ISA(EXT_UNKNOWN + 1), NONE, TOLD } },
      "KVM register 0x80300000070000c9: an extension that is on the "
      "destination only, that this QEMU does not know and this kernel cannot "
      "switch off",
      "", "KVM register 0x80300000070000c9" },
    /* Only the CPU has to have it, and does. */
    { "cpu", { { ISA(EXT_ZAAMO), TOLD, NONE } } },
    { "kernel-says-no", { { ISA(EXT_ZAAMO), TOLD, 0 } },
      "zaamo: on the source, not on the destination", ",zaamo=off" },
    { "needs-kernel", { { ISA(EXT_ZICFISS), TOLD, NONE } },
      "zicfiss: on the source, not on the destination", ",zicfiss=off" },
    { "if-used", { { ISA(EXT_SMNPM), TOLD, NONE },
                   { SBI(SBI_FWFT), TOLD, NONE } } },
    { "sbi", { { SBI(SBI_TIME), TOLD, 0 } },
      "SBI TIME: on the source, not on the destination", "", "SBI TIME" },
    { "sbi-more", { { SBI(SBI_TIME), 0, TOLD } } },
    { "sstc", { { ISA(EXT_SSTC), TOLD, NONE } },
      "sstc: on the source, not on the destination", "", "sstc" },
    { "sstc-more", { { ISA(EXT_SSTC), NONE, TOLD } },
      "sstc: on the destination, where KVM can lose the timers of a guest from "
      "a host without", "", "sstc" },
    { "sstc-not-told", { { ISA(EXT_SSTC), ON, ON } } },
    { "vlenb", { { ISA(EXT_V), TOLD, TOLD }, { VLENB, 16, 32 } },
      "vlenb: 16 on the source, 32 on the destination", ",v=off" },
    { "vlenb-not-told", { { ISA(EXT_V), 0, 0 }, { VLENB, 16, 32 } } },
    { "v", { { ISA(EXT_V), TOLD, 0 }, { VLENB, 16, NONE } },
      "v: on the source, not on the destination", ",v=off" },
    { "block", { { CONFIG(ZICBOM_BLOCK), 64, 32 },
                 { ISA(EXT_ZICBOM), TOLD, TOLD } },
      "cache block size of zicbom: 64 on the source, 32 on the destination",
      ",zicbom=off" },
    { "block-not-told", { { CONFIG(ZICBOM_BLOCK), 64, 32 },
                          { ISA(EXT_ZICBOM), ON, TOLD } } },
    { "satp", { { CONFIG(SATP_MODE), 10, 8 } },
      "satp_mode: sv57 on the source, sv39 on the destination",
      ",sv48=off,sv57=off" },
    { "satp-more", { { CONFIG(SATP_MODE), 8, 9 } }, "", ",sv48=off" },
    { "vendor", { { CONFIG(MVENDORID), 0x489, 0x5b7 } },
      "mvendorid: 0x489 on the source, 0x5b7 on the destination",
      ",mvendorid=0x489" },
    { "unknown-config", { { CONFIG(99), 1, 2 } },
      "KVM register 0x8030000001000063: 0x1 on the source, 0x2 on the "
      "destination", "", "KVM register 0x8030000001000063" },
    { "unknown-config-lacks", { { CONFIG(99), 1, NONE } },
      "KVM register 0x8030000001000063: 0x1 on the source, not known to the "
      "destination's kernel", "", "KVM register 0x8030000001000063" },
    { "new-config", { { CONFIG(99), NONE, 1 } } },
    /* Both offered: the guest does without until it asks by SBI FWFT. */
    { "ad-same", { { ISA(EXT_SVADE), NONE, TOLD },
                   { ISA(EXT_SVADU), NONE, TOLD } },
      "", ",svade=off,svadu=off" },
    { "ad-more", { { ISA(EXT_SVADU), NONE, TOLD } },
      "", ",svadu=off", "", ISA(EXT_SVADU) },
    { "ad-lacks", { { ISA(EXT_SVADU), TOLD, NONE } },
      "hardware sets A and D bits (svadu without svade): yes on the source, "
      "no on the destination", ",svadu=off" },
    { "ad-svade-off", { { ISA(EXT_SVADE), 0, TOLD },
                        { ISA(EXT_SVADU), TOLD, TOLD } },
      "", ",svade=off", "", ISA(EXT_SVADE) },
};

static uint64_t switched_off;

static bool cpu_has(const char *name)
{
    return g_str_equal(name, "zaamo") || g_str_equal(name, "zicfiss");
}

static bool has_property(const char *name)
{
    return !g_str_has_prefix(name, "SBI");
}

static bool switch_off(uint64_t id)
{
    g_assert_cmphex(switched_off, ==, 0);
    if (id == ISA(EXT_UNKNOWN + 1)) {
        return false;
    }
    switched_off = id;
    return true;
}

static void fill(RISCVHartConfig *config, const Rule *rule, int column)
{
    riscv_hart_config_alloc(config, ARRAY_SIZE(rule->regs));
    config->num = 0;
    for (int i = 0; i < ARRAY_SIZE(rule->regs) && rule->regs[i][0]; i++) {
        if (rule->regs[i][column] != NONE) {
            config->id[config->num] = rule->regs[i][0];
            config->value[config->num] = rule->regs[i][column];
            config->num++;
        }
    }
}

static void test_rule(const void *opaque)
{
    const Rule *rule = opaque;
    g_autoptr(GString) all = g_string_new("");
    g_autoptr(GString) advice = g_string_new("");
    g_autoptr(GString) rest = g_string_new("");
    RISCVHartConfig source, ours;
    const RISCVHartConfigHost host = {
        .config = &ours,
        .cpu_has = cpu_has,
        .has_property = has_property,
        .switch_off = switch_off,
    };

    fill(&source, rule, 1);
    fill(&ours, rule, 2);
    g_assert_true(riscv_hart_config_check(&source, &error_abort));
    switched_off = 0;
    riscv_hart_config_compare(&source, &host, all, advice, rest);
    g_assert_cmpstr(all->str, ==, rule->all ?: "");
    g_assert_cmpstr(advice->str, ==, rule->advice ?: "");
    g_assert_cmpstr(rest->str, ==, rule->rest ?: "");
    g_assert_cmphex(switched_off, ==, rule->off);
    riscv_hart_config_free(&source);
    riscv_hart_config_free(&ours);
}

/* A guest that was told of zbb takes that along; of zba it was not told. */
static void test_take(void)
{
    static const Rule hosts = {
        .regs = {
            { CONFIG(SATP_MODE), 8, 9 }, { ISA(EXT_ZBB), TOLD, ON },
            { ISA(EXT_ZBA), NONE, TOLD }, { ISA(EXT_ZAAMO), TOLD, NONE },
        },
    };
    static const uint64_t expected[] = {
        8, TOLD, ON, RISCV_EXT_TOLD,
    };
    RISCVHartConfig source, ours, guest = { };

    fill(&source, &hosts, 1);
    fill(&ours, &hosts, 2);
    for (int i = 0; i < 2; i++) {
        riscv_hart_config_take(&guest, &source, &ours);
        g_assert_cmpuint(guest.num, ==, ARRAY_SIZE(expected));
        for (int reg = 0; reg < guest.num; reg++) {
            g_assert_cmphex(guest.id[reg], ==, hosts.regs[reg][0]);
            g_assert_cmphex(guest.value[reg], ==, expected[reg]);
        }
        g_assert_true(riscv_hart_config_check(&guest, &error_abort));
    }
    riscv_hart_config_free(&source);
    riscv_hart_config_free(&ours);
    riscv_hart_config_free(&guest);
}

static void test_check(void)
{
    static const struct {
        uint64_t id[2];
        uint64_t value;
        const char *words;
    } bad[] = {
        { { ISA(2), ISA(1) }, 1, "out of order or there twice" },
        { { ISA(2), ISA(2) }, 1, "out of order or there twice" },
        { { 0, ISA(2) }, 1, "does not configure a vCPU" },
        /* Of 32 bits, of another class, of a class of several, of ARM */
        { { 0x8020000007000001ULL, UINT64_MAX }, 1, "does not configure" },
        { { 0x8030000003000000ULL, UINT64_MAX }, 1, "does not configure" },
        { { 0x8030000007010000ULL, UINT64_MAX }, 1, "does not configure" },
        { { 0x6030000007000001ULL, UINT64_MAX }, 1, "does not configure" },
        { { VLENB + 1, UINT64_MAX }, 1, "does not configure" },
        { { ISA(1), ISA(2) }, 4, "cannot be 0x4" },
        { { SBI(1), SBI(2) }, UINT64_MAX, "cannot be 0xffffffffffffffff" },
    };

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        uint64_t id[] = { bad[i].id[0], bad[i].id[1] };
        uint64_t value[] = { bad[i].value, bad[i].value };
        RISCVHartConfig config = { .num = 2, .id = id, .value = value };
        Error *err = NULL;

        g_assert_false(riscv_hart_config_check(&config, &err));
        if (!strstr(error_get_pretty(err), bad[i].words)) {
            g_error("'%s' does not say '%s'", error_get_pretty(err),
                    bad[i].words);
        }
        error_free(err);
    }
}

/* Sees that each constant of an enum has its own name here, in its place. */
static void check_names(const char *header, const char *prefix, uint64_t base,
                        bool same)
{
    g_autofree char *text = NULL;
    g_autofree char *pattern = g_strdup_printf("\\b%s(\\w+?)(?: = 0)?,\n",
                                               prefix);
    g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    uint64_t n = 0;

    g_assert_true(g_file_get_contents(header, &text, NULL, NULL));
    g_regex_match(regex, text, 0, &match);
    for (; g_match_info_matches(match); g_match_info_next(match, NULL)) {
        g_autofree char *word = g_match_info_fetch(match, 1);
        g_autofree char *lower = g_ascii_strdown(word, -1);
        const char *name = riscv_hart_config_name(base + n);

        if (g_str_equal(word, "MAX")) {
            break;
        }
        if (!name) {
            g_error("%s: %s%s, number %" PRIu64 ", has no rule", header,
                    prefix, word, n);
        }
        if (same) {
            g_assert_cmpstr(name, ==, lower);
        }
        n++;
    }
    g_test_message("%s: %" PRIu64 " of %s", header, n, prefix);
    g_assert_cmpuint(n, >, 10);
}

static void test_every_id(void)
{
    const char *headers = g_getenv("RISCV_KVM_HEADERS");
    g_auto(GStrv) list = g_strsplit(headers ?: "", ":", 0);

    g_assert_nonnull(list[0]);
    for (char **header = list; *header; header++) {
        check_names(*header, "KVM_RISCV_ISA_EXT_", ISA(0), true);
        check_names(*header, "KVM_RISCV_SBI_EXT_", SBI(0), false);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (int i = 0; i < ARRAY_SIZE(rules); i++) {
        g_autofree char *path =
            g_strdup_printf("/riscv-aia/hart-config/rule/%s", rules[i].name);

        g_test_add_data_func(path, &rules[i], test_rule);
    }
    g_test_add_func("/riscv-aia/hart-config/take", test_take);
    g_test_add_func("/riscv-aia/hart-config/check", test_check);
    g_test_add_func("/riscv-aia/hart-config/every-id", test_every_id);
    return g_test_run();
}
