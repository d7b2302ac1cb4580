/*
 * What the CPU of a guest is: the registers that configure a vCPU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "hart-config.h"
#include "vcpu-state.h"

#define REG_CLASS(id) ((id) & ~(uint64_t)KVM_REG_RISCV_INDEX_MASK)
#define REG_INDEX(id) ((uint32_t)((id) & KVM_REG_RISCV_INDEX_MASK))
#define KVM_REG_RISCV_INDEX_MASK 0xffffULL

#define CLASS(type) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | (type))
#define CLASS_CONFIG  CLASS(KVM_REG_RISCV_CONFIG)
#define CLASS_ISA_EXT CLASS(KVM_REG_RISCV_ISA_EXT | KVM_REG_RISCV_ISA_SINGLE)
#define CLASS_SBI_EXT CLASS(KVM_REG_RISCV_SBI_EXT | KVM_REG_RISCV_SBI_SINGLE)

#define CONFIG_ID(name) (CLASS_CONFIG | KVM_REG_RISCV_CONFIG_REG(name))
#define VLENB_ID (CLASS(KVM_REG_RISCV_VECTOR) | \
                  KVM_REG_RISCV_VECTOR_CSR_REG(vlenb))
/* Some are younger than the kernel's header of the oldest QEMU. */
#define ISA_ID(index) (CLASS_ISA_EXT | (index))
#define ISA_SSTC      8
#define ISA_V         15
#define ISA_ZICBOM    11
#define ISA_ZICBOZ    12
#define ISA_SVADE     64
#define ISA_SVADU     65
#define ISA_ZICBOP    71
#define CONFIG_ZICBOP 7

/* What an extension that the guest was told of needs on the destination */
typedef enum ExtNeed {
    /* Its register: KVM has to let the guest use it. */
    NEED_REGISTER,
    /*
     * The CPU: it works whether KVM knows of it or not.  All that Linux 6.12
     * did not know yet, for what it knew its register tells.
     */
    NEED_CPU,
    /*
     * Nothing, as long as the guest has not used it, for which registers of
     * its state tell (RISCVAIAShape.used_reg).
     */
    NEED_IF_USED,
    /* Told by hardware_sets_ad(). */
    NEED_NOTHING,
} ExtNeed;

typedef struct ExtRule {
    const char *name;
    ExtNeed need;
} ExtRule;

/* KVM_RISCV_ISA_EXT_*, up to Linux 7.3 */
static const ExtRule isa_rule[] = {
    { "a" }, { "c" }, { "d" }, { "f" }, { "h" }, { "i" }, { "m" },
    { "svpbmt" }, [ISA_SSTC] = { "sstc" }, { "svinval" }, { "zihintpause" },
    [ISA_ZICBOM] = { "zicbom" }, { "zicboz" }, { "zbb" }, { "ssaia" },
    [ISA_V] = { "v" }, { "svnapot" }, { "zba" }, { "zbs" }, { "zicntr" },
    { "zicsr" }, { "zifencei" }, { "zihpm" }, { "smstateen" }, { "zicond" },
    { "zbc" }, { "zbkb" }, { "zbkc" }, { "zbkx" }, { "zknd" }, { "zkne" },
    { "zknh" }, { "zkr" }, { "zksed" }, { "zksh" }, { "zkt" }, { "zvbb" },
    { "zvbc" }, { "zvkb" }, { "zvkg" }, { "zvkned" }, { "zvknha" },
    { "zvknhb" }, { "zvksed" }, { "zvksh" }, { "zvkt" }, { "zfh" },
    { "zfhmin" }, { "zihintntl" }, { "zvfh" }, { "zvfhmin" }, { "zfa" },
    { "ztso" }, { "zacas" }, { "sscofpmf" }, { "zimop" }, { "zca" }, { "zcb" },
    { "zcd" }, { "zcf" }, { "zcmop" }, { "zawrs" },
    /* Pointer masking of the guest's kernel, which SBI FWFT switches on */
    { "smnpm", NEED_IF_USED },
    /* senvcfg, which KVM has always switched with the vCPU */
    { "ssnpm", NEED_CPU },
    [ISA_SVADE] = { "svade", NEED_CPU },
    [ISA_SVADU] = { "svadu", NEED_NOTHING },
    { "svvptc", NEED_CPU }, { "zabha", NEED_CPU }, { "ziccrse", NEED_CPU },
    { "zaamo", NEED_CPU }, { "zalrsc", NEED_CPU },
    [ISA_ZICBOP] = { "zicbop", NEED_CPU }, { "zfbfmin", NEED_CPU },
    { "zvfbfmin", NEED_CPU }, { "zvfbfwma", NEED_CPU }, { "zclsd", NEED_CPU },
    { "zilsd", NEED_CPU }, { "zalasr", NEED_CPU },
    { "zicfilp" }, { "zicfiss" },
};

/* KVM_RISCV_SBI_EXT_*, up to Linux 7.3 */
static const ExtRule sbi_rule[] = {
    { "SBI v0.1" }, { "SBI TIME" }, { "SBI IPI" }, { "SBI RFENCE" },
    { "SBI SRST" }, { "SBI HSM" }, { "SBI PMU" }, { "SBI experimental" },
    { "SBI vendor" }, { "SBI DBCN" }, { "SBI STA" }, { "SBI SUSP" },
    { "SBI FWFT", NEED_IF_USED }, { "SBI MPXY" },
};

typedef enum ConfigNeed {
    /* The same value */
    NEED_EQUAL,
    /* The same value, if the guest was told of the extension */
    NEED_EQUAL_WITH,
    NEED_AT_LEAST,
    /* Nothing: other registers tell the same. */
    NEED_NONE,
} ConfigNeed;

/*
 * @property: the guest can be told the source's value by it
 * @ext: the register of the extension that it belongs to, for NEED_EQUAL_WITH
 */
typedef struct ConfigRule {
    uint64_t id;
    const char *name;
    ConfigNeed need;
    const char *property;
    uint64_t ext;
} ConfigRule;

static const ConfigRule config_rule[] = {
    { CONFIG_ID(isa), "isa", NEED_NONE },
    { CONFIG_ID(zicbom_block_size), "cache block size of zicbom",
      NEED_EQUAL_WITH, NULL, ISA_ID(ISA_ZICBOM) },
    { CONFIG_ID(zicboz_block_size), "cache block size of zicboz",
      NEED_EQUAL_WITH, NULL, ISA_ID(ISA_ZICBOZ) },
    { CLASS_CONFIG | CONFIG_ZICBOP, "cache block size of zicbop",
      NEED_EQUAL_WITH, NULL, ISA_ID(ISA_ZICBOP) },
    { CONFIG_ID(mvendorid), "mvendorid", NEED_EQUAL, "mvendorid" },
    { CONFIG_ID(marchid), "marchid", NEED_EQUAL, "marchid" },
    { CONFIG_ID(mimpid), "mimpid", NEED_EQUAL, "mimpid" },
    { CONFIG_ID(satp_mode), "satp_mode", NEED_AT_LEAST },
    { VLENB_ID, "vlenb", NEED_EQUAL_WITH, NULL, ISA_ID(ISA_V) },
};

static const ConfigRule *find_config_rule(uint64_t id)
{
    static const ConfigRule unknown = { 0, NULL, NEED_EQUAL };

    for (int i = 0; i < ARRAY_SIZE(config_rule); i++) {
        if (config_rule[i].id == id) {
            return &config_rule[i];
        }
    }
    return &unknown;
}

static const ExtRule *find_ext_rule(uint64_t id)
{
    static const ExtRule unknown = { NULL, NEED_REGISTER };
    uint32_t index = REG_INDEX(id);

    if (REG_CLASS(id) == CLASS_ISA_EXT && index < ARRAY_SIZE(isa_rule)) {
        return &isa_rule[index];
    }
    if (REG_CLASS(id) == CLASS_SBI_EXT && index < ARRAY_SIZE(sbi_rule)) {
        return &sbi_rule[index];
    }
    return &unknown;
}

bool riscv_hart_config_is_ext(uint64_t id)
{
    return REG_CLASS(id) == CLASS_ISA_EXT || REG_CLASS(id) == CLASS_SBI_EXT;
}

bool riscv_hart_config_has_class(uint64_t id)
{
    return riscv_hart_config_is_ext(id) || REG_CLASS(id) == CLASS_CONFIG ||
           id == VLENB_ID;
}

const char *riscv_hart_config_name(uint64_t id)
{
    return riscv_hart_config_is_ext(id) ? find_ext_rule(id)->name :
                                         find_config_rule(id)->name;
}

const char *riscv_satp_mode_name(uint64_t mode)
{
    static const char *const names[] = { "sv39", "sv48", "sv57", "sv64" };

    if (mode < 8 || mode - 8 >= ARRAY_SIZE(names)) {
        return mode ? "unknown" : "none";
    }
    return names[mode - 8];
}

void riscv_hart_config_alloc(RISCVHartConfig *config, uint32_t num)
{
    config->num = num;
    config->id = g_new0(uint64_t, num);
    config->value = g_new0(uint64_t, num);
}

void riscv_hart_config_free(RISCVHartConfig *config)
{
    g_free(config->id);
    g_free(config->value);
    memset(config, 0, sizeof(*config));
}

bool riscv_hart_config_get(const RISCVHartConfig *config, uint64_t id,
                          uint64_t *value)
{
    uint64_t *found = config->num ? bsearch(&id, config->id, config->num,
                                            sizeof(id), riscv_reg_id_compare)
                                  : NULL;

    if (found) {
        *value = config->value[found - config->id];
    }
    return found;
}

/* The same, with 0 for what is not there */
static uint64_t value_of(const RISCVHartConfig *config, uint64_t id)
{
    uint64_t value = 0;

    riscv_hart_config_get(config, id, &value);
    return value;
}

static bool is_on(const RISCVHartConfig *config, uint64_t id)
{
    return value_of(config, id) & RISCV_EXT_ON;
}

static bool is_told(const RISCVHartConfig *config, uint64_t id)
{
    return value_of(config, id) & RISCV_EXT_TOLD;
}

bool riscv_hart_config_check(const RISCVHartConfig *config, Error **errp)
{
    for (uint32_t i = 0; i < config->num; i++) {
        uint64_t id = config->id[i], value = config->value[i];

        if (i && id <= config->id[i - 1]) {
            error_setg(errp, "KVM register 0x%016" PRIx64 " is out of order "
                       "or there twice", id);
            return false;
        }
        if (!riscv_hart_config_has_class(id)) {
            error_setg(errp, "KVM register 0x%016" PRIx64 " does not "
                       "configure a vCPU", id);
            return false;
        }
        /* What the kernel does not let it use, the guest was not told of. */
        if (riscv_hart_config_is_ext(id) &&
            (value & ~(uint64_t)(RISCV_EXT_ON | RISCV_EXT_TOLD))) {
            error_setg(errp, "KVM register 0x%016" PRIx64 " tells of an "
                       "extension, and cannot be 0x%" PRIx64, id, value);
            return false;
        }
    }
    return true;
}

static void append(GString *list, const char *separator, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

static void append(GString *list, const char *separator, const char *fmt, ...)
{
    va_list ap;

    if (list->len) {
        g_string_append(list, separator);
    }
    va_start(ap, fmt);
    g_string_append_vprintf(list, fmt, ap);
    va_end(ap);
}

/* "zbb", or the register of what nobody here knows */
static char *describe(uint64_t id)
{
    const char *name = riscv_hart_config_name(id);

    return name ? g_strdup(name) :
                  g_strdup_printf("KVM register 0x%016" PRIx64, id);
}

typedef struct Comparison {
    const RISCVHartConfig *source;
    const RISCVHartConfigHost *host;
    GString *all;
    GString *advice;
    GString *rest;
} Comparison;

static void advise_off(Comparison *c, const char *name)
{
    g_autofree char *word = g_strdup_printf(",%s=off", name);

    if (!strstr(c->advice->str, word)) {
        g_string_append(c->advice, word);
    }
}

/*
 * Of the extensions of one letter, KVM switches off only these.  A guest
 * without Sstc is not safe on a host that has it, see compare_sstc().
 */
static bool can_advise(const Comparison *c, const char *name)
{
    return name && (name[1] || strchr("dfv", name[0])) &&
           !g_str_equal(name, "sstc") && c->host->has_property(name);
}

/* Whether code that uses the extension runs on the destination. */
static bool host_runs(const RISCVHartConfigHost *host, uint64_t id)
{
    const ExtRule *rule = find_ext_rule(id);
    uint64_t value;

    if (riscv_hart_config_get(host->config, id, &value)) {
        return value & RISCV_EXT_ON;
    }
    return rule->need == NEED_CPU && host->cpu_has(rule->name);
}

static void compare_ext(Comparison *c, uint64_t id)
{
    const ExtRule *rule = find_ext_rule(id);
    bool on = is_on(c->source, id), told = is_told(c->source, id);
    bool runs = host_runs(c->host, id);

    if (rule->need == NEED_IF_USED) {
        return;
    }
    if (told && !runs && rule->need != NEED_NOTHING) {
        g_autofree char *what = describe(id);

        append(c->all, "; ", "%s: on the source, not on the destination",
               what);
        if (!can_advise(c, rule->name)) {
            append(c->rest, ", ", "%s", what);
        }
    }
    /* Either host may be the next destination. */
    if ((on || told) != runs && can_advise(c, rule->name)) {
        advise_off(c, rule->name);
    }
    /* What QEMU does not know it has not told the guest, either. */
    if (runs && !on && !told && !rule->name &&
        REG_CLASS(id) == CLASS_ISA_EXT && !c->host->switch_off(id)) {
        append(c->all, "; ", "KVM register 0x%016" PRIx64 ": an extension "
               "that is on the destination only, that this QEMU does not know "
               "and this kernel cannot switch off", id);
        append(c->rest, ", ", "KVM register 0x%016" PRIx64, id);
    }
}

/*
 * Where a host has Sstc, KVM up to Linux 7.3 forgets a timer that was set by
 * SBI if the vCPU is preempted before it enters the guest again
 * (kvm_riscv_vcpu_update_vstimecmp()).  A guest that was safe is not to come to
 * such a host.
 */
static void compare_sstc(Comparison *c)
{
    uint64_t id = ISA_ID(ISA_SSTC);

    if (is_on(c->host->config, id) && !is_on(c->source, id)) {
        append(c->all, "; ", "sstc: on the destination, where KVM can lose "
               "the timers of a guest from a host without");
        append(c->rest, ", ", "sstc");
    }
}

/*
 * Whether the hardware sets the A and D bits of the guest's page table entries
 * where otherwise it would fault (henvcfg.ADUE).
 */
static bool hardware_sets_ad(const RISCVHartConfig *config)
{
    return is_on(config, ISA_ID(ISA_SVADU)) &&
           !is_on(config, ISA_ID(ISA_SVADE));
}

static void compare_ad(Comparison *c)
{
    bool source = hardware_sets_ad(c->source);
    bool ours = hardware_sets_ad(c->host->config);
    uint64_t off = ISA_ID(source ? ISA_SVADE : ISA_SVADU);

    if (source == ours) {
        return;
    }
    if ((!source || is_on(c->host->config, ISA_ID(ISA_SVADU))) &&
        c->host->switch_off(off)) {
        return;
    }
    append(c->all, "; ", "hardware sets A and D bits (svadu without svade): "
           "%s on the source, %s on the destination", source ? "yes" : "no",
           ours ? "yes" : "no");
    if (can_advise(c, "svadu")) {
        advise_off(c, "svadu");
    } else {
        append(c->rest, ", ", "svadu");
    }
}

static void compare_satp(Comparison *c, const char *name, uint64_t source,
                         uint64_t ours)
{
    uint64_t low = MIN(source, ours), high = MAX(source, ours);

    if (source > ours) {
        append(c->all, "; ", "%s: %s on the source, %s on the destination",
               name, riscv_satp_mode_name(source), riscv_satp_mode_name(ours));
    }
    for (uint64_t mode = low + 1; mode <= high && mode <= 10; mode++) {
        if (can_advise(c, riscv_satp_mode_name(mode))) {
            advise_off(c, riscv_satp_mode_name(mode));
        } else if (source > ours) {
            append(c->rest, ", ", "%s", riscv_satp_mode_name(mode));
        }
    }
}

static void compare_config(Comparison *c, uint64_t id)
{
    const ConfigRule *rule = find_config_rule(id);
    uint64_t source = value_of(c->source, id), ours;
    bool has = riscv_hart_config_get(c->host->config, id, &ours);
    const char *ext = rule->ext ? riscv_hart_config_name(rule->ext) : NULL;
    g_autofree char *what = describe(id);

    if (rule->need == NEED_NONE || (has && source == ours)) {
        return;
    }
    if (rule->need == NEED_AT_LEAST) {
        compare_satp(c, rule->name, source, has ? ours : 0);
        return;
    }
    /* The extension itself is compared by its own register. */
    if (ext && (!is_told(c->source, rule->ext) || !has)) {
        return;
    }
    if (!has) {
        append(c->all, "; ", "%s: 0x%" PRIx64 " on the source, not known to "
               "the destination's kernel", what, source);
        append(c->rest, ", ", "%s", what);
        return;
    }
    append(c->all, "; ", ext ? "%s: %" PRIu64 " on the source, %" PRIu64
           " on the destination" : "%s: 0x%" PRIx64 " on the source, 0x%"
           PRIx64 " on the destination", what, source, ours);
    if (ext && can_advise(c, ext)) {
        advise_off(c, ext);
    } else if (rule->property && can_advise(c, rule->property)) {
        g_string_append_printf(c->advice, ",%s=0x%" PRIx64, rule->property,
                               source);
    } else {
        append(c->rest, ", ", "%s", what);
    }
}

void riscv_hart_config_compare(const RISCVHartConfig *source,
                              const RISCVHartConfigHost *host, GString *all,
                              GString *advice, GString *rest)
{
    Comparison c = {
        .source = source,
        .host = host,
        .all = all,
        .advice = advice,
        .rest = rest,
    };
    const RISCVHartConfig *ours = host->config;

    for (uint32_t i = 0; i < source->num; i++) {
        if (riscv_hart_config_is_ext(source->id[i])) {
            compare_ext(&c, source->id[i]);
        } else {
            compare_config(&c, source->id[i]);
        }
    }
    for (uint32_t i = 0; i < ours->num; i++) {
        uint64_t value;

        if (riscv_hart_config_is_ext(ours->id[i]) &&
            !riscv_hart_config_get(source, ours->id[i], &value)) {
            compare_ext(&c, ours->id[i]);
        }
    }
    compare_sstc(&c);
    compare_ad(&c);
}

void riscv_hart_config_take(RISCVHartConfig *config,
                           const RISCVHartConfig *source,
                           const RISCVHartConfig *host)
{
    RISCVHartConfig taken;

    riscv_hart_config_alloc(&taken, source->num + host->num);
    taken.num = 0;
    for (uint32_t s = 0, h = 0; s < source->num || h < host->num; ) {
        bool from_source = s < source->num &&
            (h == host->num || source->id[s] <= host->id[h]);
        uint64_t id = from_source ? source->id[s] : host->id[h];
        uint64_t value = from_source ? source->value[s] : 0;

        if (riscv_hart_config_is_ext(id)) {
            value = (value & RISCV_EXT_TOLD) |
                    (value_of(host, id) & RISCV_EXT_ON);
        } else if (!from_source) {
            value = host->value[h];
        }
        if (h < host->num && host->id[h] == id) {
            h++;
        }
        s += from_source;
        taken.id[taken.num] = id;
        taken.value[taken.num] = value;
        taken.num++;
    }
    riscv_hart_config_free(config);
    *config = taken;
}
